import { isSmooth } from "../../fft/roots.ts";
import { OutOfMemoryError } from "../../errors.ts";
import type { Kernels } from "../backend.ts";
import { FftPlanCache } from "./fft-plans.ts";
import type { WasmRuntime } from "./runtime.ts";

/** Whether the row kernels take a complex length: radix 4 first, at least one vector of groups. */
function fitsRows(length: number): boolean {
  return length >= 16 && length % 4 === 0 && isSmooth(length);
}

/**
 * Lines that a block holds: a power of two from 4 (one vector) to 16 (one cache line), so that its scratch stays in the second-level cache.
 * Matrices of fewer than 4 columns are gathered four lines at a time.
 */
function lanesFor(workLength: number, inner: number): number {
  const widest = workLength <= 2048 ? 16 : workLength <= 8192 ? 8 : 4;
  return inner < 4 ? 4 : Math.min(widest, Math.ceil(inner / 4) * 4);
}

function blockCount(outer: number, inner: number, lanes: number): number {
  return inner < 4 ? Math.ceil((outer * inner) / lanes) : outer * Math.ceil(inner / lanes);
}

/** Above this a thread is refused its scratch memory; only long lengths with large prime factors come near. */
const maximumScratchBytes = 2 ** 29;

/** Scratch of a block kernel. @throws OutOfMemoryError */
function blockScratch(floats: number, length: number): number {
  if (floats * 4 > maximumScratchBytes) {
    throw new OutOfMemoryError(
      `fft: length ${length} needs ${Math.round(floats / 2 ** 18)} MiB of scratch memory a thread; ` +
        "pad to a multiple of 4 without prime factors above 7",
    );
  }
  return floats * 4;
}

/** Scalar operations of `lines` transforms, for the decision whether threads pay. */
function workOf(lines: number, length: number): number {
  return lines * length * 3 * Math.log2(length + 1);
}

/** Fourier transforms on the CPU device. Tables are made on the first transform of a length and kept in a bounded cache. */
export function createFft(runtime: WasmRuntime): Pick<Kernels, "fft" | "realFft" | "inverseRealFft"> {
  const plans = new FftPlanCache(runtime.heap);

  /** Both real transforms: by rows where the half length allows, else by blocks. */
  function realTransform(
    rowKernel: "realFftRows" | "inverseRealFftRows", blockKernel: "realFftBlocks" | "inverseRealFftBlocks", rowScratchBytes: number,
    pointers: readonly number[], outer: number, length: number, inner: number, scale: number,
  ): void {
    if (outer === 0 || length === 0 || inner === 0) return;
    const work = workOf(outer * inner, length) / 2;
    const rows = inner === 1 && length % 2 === 0 && fitsRows(length / 2);
    const { pointer, workLength } = plans.get("real", length, rows);
    if (rows) {
      runtime.parallel(rowKernel, [pointer, ...pointers, scale], outer, { work, scratchBytes: rowScratchBytes });
      return;
    }
    const lanes = lanesFor(workLength, inner);
    runtime.parallel(blockKernel, [pointer, ...pointers, outer, inner, lanes, scale], blockCount(outer, inner, lanes), {
      work, scratchBytes: blockScratch(lanes * (5 * length + 4 + 4 * workLength), length),
    });
  }

  return {
    fft({ inputReal, inputImaginary, outputReal, outputImaginary, outer, length, inner, inverse, scale }) {
      if (outer === 0 || length === 0 || inner === 0) return;
      const rows = inner === 1 && fitsRows(length);
      const { pointer, workLength } = plans.get("complex", length, rows);
      // The inverse transform is the forward one with real and imaginary parts in each other's place.
      const [fromReal, fromImaginary] = inverse ? [inputImaginary, inputReal] : [inputReal, inputImaginary];
      const [toReal, toImaginary] = inverse ? [outputImaginary, outputReal] : [outputReal, outputImaginary];
      const parameters = [pointer, runtime.pointer(fromReal), runtime.pointer(fromImaginary), runtime.pointer(toReal),
        runtime.pointer(toImaginary)];
      const work = workOf(outer * inner, length);
      if (rows) {
        parameters.push(scale);
        runtime.parallel("fftRows", parameters, outer, { work, scratchBytes: 8 * length });
        return;
      }
      const lanes = lanesFor(workLength, inner);
      parameters.push(outer, inner, lanes, scale);
      runtime.parallel("fftBlocks", parameters, blockCount(outer, inner, lanes), {
        work, scratchBytes: blockScratch(4 * lanes * (length + workLength), length),
      });
    },

    realFft({ input, outputReal, outputImaginary, outer, length, inner, scale }) {
      const pointers = [runtime.pointer(input), runtime.pointer(outputReal), runtime.pointer(outputImaginary)];
      realTransform("realFftRows", "realFftBlocks", 4 * length, pointers, outer, length, inner, scale);
    },

    inverseRealFft({ inputReal, inputImaginary, output, outer, length, inner, scale }) {
      const pointers = [runtime.pointer(inputReal), runtime.pointer(inputImaginary), runtime.pointer(output)];
      realTransform("inverseRealFftRows", "inverseRealFftBlocks", 8 * length, pointers, outer, length, inner, scale);
    },
  };
}
