/** Transforms of contiguous rows whose (complex) length is smooth, divisible by 4 and at least 16. */
import { runPasses } from "./fft-block";
import { firstRowPassComplex, firstRowPassInterleaved } from "./fft-passes";
import { realTwiddleImaginary, realTwiddleReal } from "./fft-real";

/** Offset of a plan's vector twiddles of the first row pass. */
const rowTable: usize = 12;

/**
 * One complex row. The target serves as the second buffer: passes write to it and to scratch (8 bytes a point) in turn, the last one to the
 * target.
 */
export function complexRow(
  plan: usize, sourceReal: usize, sourceImaginary: usize, targetReal: usize, targetImaginary: usize, scale: f32, scratch: usize,
): void {
  const length = load<i32>(plan), passes = load<i32>(plan, 8), size = <usize>length << 2;
  const toTarget = (passes & 1) != 0;
  const aReal = toTarget ? targetReal : scratch, aImaginary = toTarget ? targetImaginary : scratch + size;
  const bReal = toTarget ? scratch : targetReal, bImaginary = toTarget ? scratch + size : targetImaginary;
  firstRowPassComplex(sourceReal, sourceImaginary, aReal, aImaginary, length >> 2, plan + <usize>load<i32>(plan, rowTable));
  runPasses(
    plan, 1, length >> 2, 16, aReal, aImaginary, 16, targetReal, targetImaginary, 16, 16, scale, bReal, bImaginary, aReal, aImaginary,
  );
}

/** One real row of 2h numbers to h + 1 frequencies, as a complex row of h. Scratch: 8 h bytes. */
export function realRow(plan: usize, source: usize, targetReal: usize, targetImaginary: usize, scale: f32, scratch: usize): void {
  const inside = plan + <usize>load<i32>(plan, 4);
  const half = load<i32>(inside), passes = load<i32>(inside, 8), size = <usize>half << 2;
  const toTarget = (passes & 1) != 0;
  const aReal = toTarget ? targetReal : scratch, aImaginary = toTarget ? targetImaginary : scratch + size;
  const bReal = toTarget ? scratch : targetReal, bImaginary = toTarget ? scratch + size : targetImaginary;
  firstRowPassInterleaved(source, aReal, aImaginary, half >> 2, inside + <usize>load<i32>(inside, rowTable));
  runPasses(
    inside, 1, half >> 2, 16, aReal, aImaginary, 16, targetReal, targetImaginary, 16, 16, scale * 0.5, bReal, bImaginary, aReal,
    aImaginary,
  );
  rowRealUnpack(plan, half, targetReal, targetImaginary);
}

/** h + 1 frequencies to a real row of 2h. Scratch: 16 h bytes. */
export function inverseRealRow(plan: usize, sourceReal: usize, sourceImaginary: usize, target: usize, scale: f32, scratch: usize): void {
  const inside = plan + <usize>load<i32>(plan, 4);
  const half = load<i32>(inside), passes = load<i32>(inside, 8), size = <usize>half << 2;
  // The result has to be in a before it is interleaved into the target, which until then is the place for the packed spectrum.
  const aReal = scratch, aImaginary = aReal + size, bReal = aImaginary + size, bImaginary = bReal + size;
  const packedReal = target, packedImaginary = target + size;
  rowHermitianPack(plan, half, sourceReal, sourceImaginary, packedReal, packedImaginary);
  const toA = (passes & 1) != 0;
  const firstReal = toA ? aReal : bReal, firstImaginary = toA ? aImaginary : bImaginary;
  const secondReal = toA ? bReal : aReal, secondImaginary = toA ? bImaginary : aImaginary;
  // Real and imaginary parts change places for the inverse.
  firstRowPassComplex(packedImaginary, packedReal, firstImaginary, firstReal, half >> 2, inside + <usize>load<i32>(inside, rowTable));
  runPasses(
    inside, 1, half >> 2, 16, firstImaginary, firstReal, 16, aImaginary, aReal, 16, 16, scale, secondImaginary, secondReal, firstImaginary,
    firstReal,
  );
  for (let p: usize = 0; p < size; p += 16) {
    const re = v128.load(aReal + p), im = v128.load(aImaginary + p), to = target + (p << 1);
    v128.store(to, v128.shuffle<f32>(re, im, 0, 4, 1, 5));
    v128.store(to, v128.shuffle<f32>(re, im, 2, 6, 3, 7), 16);
  }
}

// @ts-ignore: decorator
@inline
function reverse(v: v128): v128 {
  return v128.shuffle<f32>(v, v, 3, 2, 1, 0);
}

/** `blockRealUnpack` along a row: four frequencies and their four mirror images at a time, what is left in the middle one by one. */
function rowRealUnpack(plan: usize, half: i32, real: usize, imaginary: usize): void {
  const twiddleReal = plan + <usize>load<i32>(plan, realTwiddleReal),
    twiddleImaginary = plan + <usize>load<i32>(plan, realTwiddleImaginary);
  const re0 = load<f32>(real) * 2, im0 = load<f32>(imaginary) * 2;
  const end = <usize>half << 2;
  store<f32>(real, re0 + im0);
  store<f32>(imaginary, 0);
  store<f32>(real + end, re0 - im0);
  store<f32>(imaginary + end, 0);
  let near: usize = 4;
  for (; near + 12 < end - near - 12; near += 16) {
    const far = end - near - 12;
    const ar = v128.load(real + near), ai = v128.load(imaginary + near);
    const br = reverse(v128.load(real + far)), bi = reverse(v128.load(imaginary + far));
    const wr = v128.load(twiddleReal + near), wi = v128.load(twiddleImaginary + near);
    const er = f32x4.add(ar, br), ei = f32x4.sub(ai, bi), or = f32x4.add(ai, bi), oi = f32x4.sub(br, ar);
    const tr = f32x4.sub(f32x4.mul(or, wr), f32x4.mul(oi, wi)), ti = f32x4.add(f32x4.mul(oi, wr), f32x4.mul(or, wi));
    v128.store(real + near, f32x4.add(er, tr));
    v128.store(imaginary + near, f32x4.add(ei, ti));
    v128.store(real + far, reverse(f32x4.sub(er, tr)));
    v128.store(imaginary + far, reverse(f32x4.sub(ti, ei)));
  }
  for (; near <= end - near; near += 4) {
    const far = end - near;
    const ar = load<f32>(real + near), ai = load<f32>(imaginary + near), br = load<f32>(real + far), bi = load<f32>(imaginary + far);
    const wr = load<f32>(twiddleReal + near), wi = load<f32>(twiddleImaginary + near);
    const er = ar + br, ei = ai - bi, or = ai + bi, oi = br - ar;
    const tr = or * wr - oi * wi, ti = oi * wr + or * wi;
    store<f32>(real + near, er + tr);
    store<f32>(imaginary + near, ei + ti);
    store<f32>(real + far, er - tr);
    store<f32>(imaginary + far, ti - ei);
  }
}

/** `blockHermitianPack` along a row. */
function rowHermitianPack(
  plan: usize, half: i32, sourceReal: usize, sourceImaginary: usize, targetReal: usize, targetImaginary: usize,
): void {
  const twiddleReal = plan + <usize>load<i32>(plan, realTwiddleReal),
    twiddleImaginary = plan + <usize>load<i32>(plan, realTwiddleImaginary);
  const end = <usize>half << 2;
  const first = load<f32>(sourceReal), last = load<f32>(sourceReal + end);
  store<f32>(targetReal, first + last);
  store<f32>(targetImaginary, first - last);
  let near: usize = 4;
  for (; near + 12 < end - near - 12; near += 16) {
    const far = end - near - 12;
    const ar = v128.load(sourceReal + near), ai = v128.load(sourceImaginary + near);
    const br = reverse(v128.load(sourceReal + far)), bi = reverse(v128.load(sourceImaginary + far));
    const wr = v128.load(twiddleReal + near), wi = v128.load(twiddleImaginary + near);
    const sr = f32x4.add(ar, br), si = f32x4.sub(ai, bi), dr = f32x4.sub(ar, br), di = f32x4.add(ai, bi);
    const ur = f32x4.add(f32x4.mul(dr, wr), f32x4.mul(di, wi)), ui = f32x4.sub(f32x4.mul(di, wr), f32x4.mul(dr, wi));
    v128.store(targetReal + near, f32x4.sub(sr, ui));
    v128.store(targetImaginary + near, f32x4.add(si, ur));
    v128.store(targetReal + far, reverse(f32x4.add(sr, ui)));
    v128.store(targetImaginary + far, reverse(f32x4.sub(ur, si)));
  }
  for (; near <= end - near; near += 4) {
    const far = end - near;
    const ar = load<f32>(sourceReal + near), ai = load<f32>(sourceImaginary + near), br = load<f32>(sourceReal + far),
      bi = load<f32>(sourceImaginary + far);
    const wr = load<f32>(twiddleReal + near), wi = load<f32>(twiddleImaginary + near);
    const sr = ar + br, si = ai - bi, dr = ar - br, di = ai + bi;
    const ur = dr * wr + di * wi, ui = di * wr - dr * wi;
    store<f32>(targetReal + near, sr - ui);
    store<f32>(targetImaginary + near, si + ur);
    store<f32>(targetReal + far, sr + ui);
    store<f32>(targetImaginary + far, ur - si);
  }
}
