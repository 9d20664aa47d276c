/** Transforms of blocks: `width` bytes (a multiple of 16) of neighbouring lines at a time. */
import { lastPass, middlePass } from "./fft-passes";

/**
 * Words of a plan's header: length, kind, number of passes, row table, then (radix, table) of every pass. Tables are byte offsets from the
 * plan.
 */
export const passTable: usize = 16;
/** Place of the butterflies' constants in the header, see `fft-passes.ts`. */
const constantTable: usize = 192;

/**
 * Runs passes `pass` … of a plan over data that the earlier passes have left at `sourceReal` and `sourceImaginary`, rows `sourceRow` bytes
 * apart, as groups of `legs` rows. Middle passes write to (firstReal, firstImaginary) and (secondReal, secondImaginary) in turn; the last
 * one writes rows `targetRow` bytes apart.
 */
export function runPasses(
  plan: usize, pass: i32, legs: i32, run: usize, sourceReal: usize, sourceImaginary: usize, sourceRow: usize,
  targetReal: usize, targetImaginary: usize, targetRow: usize, width: usize, scale: f32,
  firstReal: usize, firstImaginary: usize, secondReal: usize, secondImaginary: usize,
): void {
  const passes = load<i32>(plan, 8), constants = plan + constantTable;
  for (; pass < passes - 1; pass++) {
    const entry = plan + passTable + (<usize>pass << 3);
    const radix = load<i32>(entry), twiddles = plan + <usize>load<i32>(entry, 4);
    legs /= radix;
    middlePass(
      radix, sourceReal, sourceImaginary, firstReal, firstImaginary, legs, run,
      sourceRow, <usize>legs * sourceRow, <usize>radix * run, run, twiddles, constants,
    );
    sourceReal = firstReal; sourceImaginary = firstImaginary;
    firstReal = secondReal; firstImaginary = secondImaginary;
    secondReal = sourceReal; secondImaginary = sourceImaginary;
    run *= <usize>radix;
    sourceRow = run;
  }
  const radix = load<i32>(plan + passTable + (<usize>pass << 3));
  if (targetRow == width) {
    lastPass(radix, sourceReal, sourceImaginary, targetReal, targetImaginary, 1, run, 0, sourceRow, 0, run, scale, constants);
  } else {
    const groups = run / width;
    lastPass(
      radix, sourceReal, sourceImaginary, targetReal, targetImaginary, <i32>groups, width, width, sourceRow, targetRow, groups * targetRow,
      scale, constants,
    );
  }
}

/**
 * The whole transform of a block by a complex plan of any kind. The target may be the source when both have rows `width` bytes apart: every
 * pass loads all legs of a vector before it stores any. Scratch: 4 * work * width bytes, work = the convolution length, or the length.
 */
export function transformBlock(
  plan: usize, sourceReal: usize, sourceImaginary: usize, sourceRow: usize, targetReal: usize, targetImaginary: usize, targetRow: usize,
  width: usize, scale: f32, scratch: usize,
): void {
  const length = load<i32>(plan);
  if (load<i32>(plan, 4) != 0) {
    bluesteinBlock(plan, sourceReal, sourceImaginary, sourceRow, targetReal, targetImaginary, targetRow, width, scale, scratch);
    return;
  }
  const size = <usize>length * width;
  runPasses(
    plan, 0, length, width, sourceReal, sourceImaginary, sourceRow, targetReal, targetImaginary, targetRow, width, scale,
    scratch, scratch + size, scratch + 2 * size, scratch + 3 * size,
  );
}

/**
 * Bluestein: X[k] = c[k] Σ (x[j] c[j]) conj(c[k - j]), c[j] = exp(-πi j² / length), the sum as a circular convolution of a longer, smooth
 * length. Plan header: length, 1, convolution length, chirp, spectrum of conj(c) over the convolution length, inner plan.
 */
function bluesteinBlock(
  plan: usize, sourceReal: usize, sourceImaginary: usize, sourceRow: usize, targetReal: usize, targetImaginary: usize, targetRow: usize,
  width: usize, scale: f32, scratch: usize,
): void {
  const length = load<i32>(plan), padded = load<i32>(plan, 8);
  const chirp = plan + <usize>load<i32>(plan, 12), spectrum = plan + <usize>load<i32>(plan, 16), inside = plan + <usize>load<i32>(plan, 20);
  const size = <usize>padded * width;
  const aReal = scratch, aImaginary = aReal + size, bReal = aImaginary + size, bImaginary = bReal + size;
  for (let j = 0; j < length; j++) {
    multiplyRow(sourceReal, sourceImaginary, aReal + <usize>j * width, aImaginary + <usize>j * width, width, chirp + (<usize>j << 3), 1);
    sourceReal += sourceRow; sourceImaginary += sourceRow;
  }
  memory.fill(aReal + <usize>length * width, 0, <usize>(padded - length) * width);
  memory.fill(aImaginary + <usize>length * width, 0, <usize>(padded - length) * width);
  // With one pass the result is in b, and with every further pass on the other side.
  const odd = (load<i32>(inside, 8) & 1) != 0;
  const middleReal = odd ? bReal : aReal, middleImaginary = odd ? bImaginary : aImaginary;
  const otherReal = odd ? aReal : bReal, otherImaginary = odd ? aImaginary : bImaginary;
  runPasses(
    inside, 0, padded, width, aReal, aImaginary, width, middleReal, middleImaginary, width, width, 1, bReal, bImaginary, aReal, aImaginary,
  );
  for (let j = 0; j < padded; j++) {
    const at = <usize>j * width;
    multiplyRow(middleReal + at, middleImaginary + at, middleReal + at, middleImaginary + at, width, spectrum + (<usize>j << 3), 1);
  }
  // Inverse: real and imaginary parts change places. After as many passes again the result is back in a.
  runPasses(
    inside, 0, padded, width, middleImaginary, middleReal, width, aImaginary, aReal, width, width, 1, otherImaginary, otherReal,
    middleImaginary, middleReal,
  );
  for (let j = 0; j < length; j++) {
    multiplyRow(
      aReal + <usize>j * width, aImaginary + <usize>j * width, targetReal, targetImaginary, width, chirp + (<usize>j << 3), scale,
    );
    targetReal += targetRow; targetImaginary += targetRow;
  }
}

/** target = source * factor * scale over one row; factor is a (re, im) pair. */
function multiplyRow(
  sourceReal: usize, sourceImaginary: usize, targetReal: usize, targetImaginary: usize, width: usize, factor: usize, scale: f32,
): void {
  const wr = f32x4.splat(load<f32>(factor) * scale), wi = f32x4.splat(load<f32>(factor, 4) * scale);
  for (let q: usize = 0; q < width; q += 16) {
    const re = v128.load(sourceReal + q), im = v128.load(sourceImaginary + q);
    v128.store(targetReal + q, f32x4.sub(f32x4.mul(re, wr), f32x4.mul(im, wi)));
    v128.store(targetImaginary + q, f32x4.add(f32x4.mul(re, wi), f32x4.mul(im, wr)));
  }
}
