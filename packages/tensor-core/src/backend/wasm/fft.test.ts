import { afterAll, describe, expect, it } from "vitest";
import fc from "fast-check";
import FFT from "fft.js";
import { referenceFft } from "../../fft/reference-fft.ts";
import type { TensorView } from "../backend.ts";
import { createFft } from "./fft.ts";
import { createWasmRuntime } from "./runtime-instance.ts";

const runtime = createWasmRuntime();
const kernels = createFft(runtime);
afterAll(() => runtime.pool.stop());

/** Deterministic numbers in [-1, 1). */
function noise(count: number, seed: number): Float32Array<ArrayBuffer> {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/**
 * Runs `use` with device copies of the inputs and room for the outputs (filled with NaN, so that what is not written shows); gives the
 * outputs.
 */
function onDevice(inputs: readonly Float32Array[], outputCounts: readonly number[], use: (views: TensorView[]) => void): Float32Array[] {
  const { heap } = runtime;
  const counts = [...inputs.map((input) => input.length), ...outputCounts];
  const buffers = counts.map((count) => heap.allocate(count * 4 + 4));
  // An odd element offset: views may start anywhere.
  const views = buffers.map((buffer, i): TensorView => ({ buffer, dtype: "float32", shape: [counts[i]!], strides: [1], offset: 1 }));
  inputs.forEach((input, i) => heap.float32.set(input, buffers[i]!.pointer / 4 + 1));
  for (let i = inputs.length; i < buffers.length;
  i++) heap.float32.fill(NaN, buffers[i]!.pointer / 4, buffers[i]!.pointer / 4 + counts[i]! + 1);
  use(views);
  const outputs = outputCounts.map((count, i) => {
    const start = buffers[inputs.length + i]!.pointer / 4 + 1;
    return heap.float32.slice(start, start + count);
  });
  for (const buffer of buffers) heap.free(buffer);
  return outputs;
}

interface Layout { readonly outer: number; readonly length: number; readonly inner: number }

function complex(re: Float32Array, im: Float32Array, layout: Layout, inverse = false, scale = 1): Float32Array[] {
  return onDevice([re, im], [re.length, im.length], ([inputReal, inputImaginary, outputReal, outputImaginary]) =>
    kernels.fft({
      inputReal: inputReal!, inputImaginary: inputImaginary!, outputReal: outputReal!, outputImaginary: outputImaginary!, ...layout,
      inverse, scale,
    }));
}

function bins(length: number): number {
  return Math.floor(length / 2) + 1;
}

function real(input: Float32Array, layout: Layout, scale = 1): Float32Array[] {
  const count = layout.outer * bins(layout.length) * layout.inner;
  return onDevice([input], [count, count], ([view, outputReal, outputImaginary]) =>
    kernels.realFft({ input: view!, outputReal: outputReal!, outputImaginary: outputImaginary!, ...layout, scale }));
}

function inverseReal(re: Float32Array, im: Float32Array, layout: Layout, scale = 1): Float32Array {
  return onDevice([re, im], [layout.outer * layout.length * layout.inner], ([inputReal, inputImaginary, output]) =>
    kernels.inverseRealFft({ inputReal: inputReal!, inputImaginary: inputImaginary!, output: output!, ...layout, scale }))[0]!;
}

/** Line (o, i) of [outer, length, inner]. */
function line(data: Float32Array, { length, inner }: Layout, o: number, i: number): Float64Array {
  return Float64Array.from({ length }, (_, j) => data[(o * length + j) * inner + i]!);
}

/** Largest error over the root mean square of the exact values, of line (o, i). */
function lineError(actual: readonly Float32Array[], layout: Layout, o: number, i: number, exact: readonly Float64Array[]): number {
  let square = 0;
  let worst = 0;
  actual.forEach((part, p) => {
    const values = line(part, layout, o, i);
    for (let j = 0; j < values.length; j++) {
      const error = Math.abs(values[j]! - exact[p]![j]!);
      // NaN must not pass for small.
      worst = error <= worst ? worst : Number.isNaN(error) ? Infinity : error;
      square += exact[p]![j]! ** 2;
    }
  });
  return worst / Math.sqrt(square / layout.length);
}

/** Worst line error of all three transforms in one layout. */
function worstError(layout: Layout, seed: number): number {
  const { outer, length, inner } = layout;
  const half = { ...layout, length: bins(length) };
  const re = noise(outer * length * inner, seed);
  const im = noise(outer * length * inner, seed + 1);
  const spectrum = complex(re, im, layout);
  const backward = complex(re, im, layout, true, 0.5);
  const realSpectrum = real(re, layout, 2);
  const again = inverseReal(realSpectrum[0]!, realSpectrum[1]!, layout, 0.5 / length);
  let worst = 0;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const x = line(re, layout, o, i);
      const y = line(im, layout, o, i);
      const exact = referenceFft(x, y, false);
      const exactBackward = referenceFft(x, y, true);
      const exactReal = referenceFft(x, new Float64Array(length), false);
      worst = Math.max(
        worst,
        lineError(spectrum, layout, o, i, [exact.real, exact.imaginary]),
        lineError(backward, layout, o, i, [exactBackward.real.map((v) => v / 2), exactBackward.imaginary.map((v) => v / 2)]),
        lineError(realSpectrum, half, o, i, [exactReal.real.map((v) => v * 2), exactReal.imaginary.map((v) => v * 2)]),
        lineError([again], layout, o, i, [x]),
      );
    }
  }
  return worst;
}

/** Rounding grows with the passes; Bluestein runs three times as many over numbers of its own making. */
const tolerance = 2e-6;

describe("fft, realFft and inverseRealFft on the CPU device", () => {
  it("agree with double precision for every length from 1 to 64, in rows and in columns", () => {
    for (let length = 1; length <= 64; length++) {
      for (const [outer, inner] of [[1, 1], [5, 1], [2, 3], [1, 4], [2, 21]] as const) {
        expect(worstError({ outer, length, inner }, length), `[${outer}, ${length}, ${inner}]`).toBeLessThan(tolerance);
      }
    }
  });

  it.each([
    96, 100, 127, 128, 144, 210, 211, 256, 288, 343, 360, 480, 512, 625, 729, 896, 1000, 1001, 1021, 1024, 1152, 1536, 2048, 2053, 2187,
    2560, 3072, 3584, 4096,
  ])("agree with double precision at length %i", (length) => {
    for (const [outer, inner] of [[3, 1], [1, 2], [1, 17]] as const) {
      expect(worstError({ outer, length, inner }, length), `[${outer}, ${length}, ${inner}]`).toBeLessThan(tolerance);
    }
  });

  it.each([4099, 10007, 65536, 65537, 98304])("agree with double precision at the long length %i", (length) => {
    expect(worstError({ outer: 1, length, inner: 1 }, length)).toBeLessThan(tolerance);
  });

  it.each([2, 4, 8, 16, 64, 256, 1024, 4096])("agree with fft.js at %i points", (length) => {
    const oracle = new FFT(length);
    const re = noise(length, 5);
    const im = noise(length, 6);
    // Plain arrays only: fft.js slows down for good once it has seen several kinds of array.
    const input = Array.from({ length: 2 * length }, (_, i) => (i % 2 === 0 ? re[i >> 1]! : im[i >> 1]!));
    const output = oracle.createComplexArray() as number[];
    oracle.transform(output, input);
    const exact = [0, 1].map((part) => Float64Array.from({ length }, (_, j) => output[2 * j + part]!));
    const layout = { outer: 1, length, inner: 1 };
    expect(lineError(complex(re, im, layout), layout, 0, 0, exact)).toBeLessThan(tolerance);
  });

  it("is linear, preserves energy and is undone by its inverse, for any layout", () => {
    const layouts = fc.record({ outer: fc.integer({ min: 1, max: 6 }), length: fc.integer({ min: 1, max: 130 }),
      inner: fc.integer({ min: 1, max: 37 }) });
    fc.assert(
      fc.property(layouts, fc.integer({ min: 0, max: 1000 }), fc.float({ min: -4, max: 4, noNaN: true }), (layout, seed, factor) => {
        const count = layout.outer * layout.length * layout.inner;
        const parts = [0, 1, 2, 3].map((k) => noise(count, seed + k));
        const [ar, ai, br, bi] = parts as [Float32Array, Float32Array, Float32Array, Float32Array];
        const a = complex(ar, ai, layout);
        const b = complex(br, bi, layout);
        const sum = complex(ar.map((v, i) => v + factor * br[i]!), ai.map((v, i) => v + factor * bi[i]!), layout);
        const limit = 4e-5 * Math.sqrt(layout.length);
        const largest = (error: (i: number) => number): number => {
          let worst = 0;
          for (let i = 0; i < count; i++) worst = Math.abs(error(i)) <= worst ? worst : (Math.abs(error(i)) || Infinity);
          return worst;
        };
        for (const part of [0, 1]) expect(largest((i) => sum[part]![i]! - a[part]![i]! - factor * b[part]![i]!)).toBeLessThan(limit);
        const energy = (re: Float32Array, im: Float32Array): number => re.reduce((total, v, i) => total + v * v + im[i]! ** 2, 0);
        const before = energy(ar, ai);
        expect(Math.abs(energy(a[0]!, a[1]!) / layout.length - before)).toBeLessThan(1e-5 * before);
        const back = complex(a[0]!, a[1]!, layout, true, 1 / layout.length);
        expect(largest((i) => back[0]![i]! - ar[i]!)).toBeLessThan(1e-5);
        expect(largest((i) => back[1]![i]! - ai[i]!)).toBeLessThan(1e-5);
      }),
      { numRuns: 60 },
    );
  });

  it("ignores the imaginary parts of frequency 0 and of the middle frequency", () => {
    for (const [length, inner] of [[8, 1], [64, 1], [64, 5], [9, 4], [30, 8]] as const) {
      const layout = { outer: 2, length, inner };
      const [re, im] = real(noise(2 * length * inner, 3), layout) as [Float32Array, Float32Array];
      const plain = inverseReal(re, im, layout);
      const disturbed = im.slice();
      for (let o = 0; o < 2; o++) {
        for (let i = 0; i < inner; i++) {
          disturbed[o * bins(length) * inner + i] = 7;
          if (length % 2 === 0) disturbed[(o * bins(length) + length / 2) * inner + i] = -9;
        }
      }
      expect(inverseReal(re, disturbed, layout)).toEqual(plain);
    }
  });

  it("keeps lines apart: a NaN or a huge value in one row changes no bit of another", () => {
    for (const [length, inner] of [[64, 1], [128, 1], [30, 1], [31, 1], [15, 6], [22, 7]] as const) {
      const layout = { outer: 3, length, inner };
      const input = noise(3 * length * inner, 9);
      const disturbed = input.slice();
      disturbed[length * inner] = NaN;
      disturbed[length * inner + inner] = 1e30;
      const zeros = new Float32Array(input.length);
      for (const [clean, dirty] of [[real(input, layout), real(disturbed, layout)],
        [complex(input, zeros, layout), complex(disturbed, zeros, layout)]] as const) {
        const rows = clean[0]!.length / 3;
        for (const part of [0, 1]) {
          // Column 0 of matrix 1 is the disturbed line.
          for (const outer of [0, 2]) {
            expect(
              dirty[part]!.subarray(outer * rows, (outer + 1) * rows)).toEqual(clean[part]!.subarray(outer * rows, (outer + 1) * rows),
            );
          }
          for (let i = 0; i < rows; i++) if (i % inner !== 0) expect(dirty[part]![rows + i]).toBe(clean[part]![rows + i]);
        }
      }
    }
  });

  it("gives the same bits for one and for several threads", () => {
    for (const layout of [
      { outer: 67, length: 1024, inner: 1 }, { outer: 203, length: 105, inner: 1 }, { outer: 2, length: 128, inner: 1025 },
      { outer: 3, length: 131, inner: 77 }, { outer: 41, length: 201, inner: 3 },
    ]) {
      const count = layout.outer * layout.length * layout.inner;
      const re = noise(count, 1);
      const im = noise(count, 2);
      const run = (): Float32Array[] => {
        const spectrum = real(re, layout);
        return [...complex(re, im, layout), ...complex(re, im, layout, true), ...spectrum, inverseReal(spectrum[0]!, spectrum[1]!, layout)];
      };
      runtime.pool.setThreadCount(1);
      const alone = run();
      for (const threads of [2, 3]) {
        runtime.pool.setThreadCount(threads);
        expect(run()).toEqual(alone);
      }
      runtime.pool.setThreadCount(1);
    }
  });

  it("keeps a bounded number of plans", () => {
    const before = runtime.heap.usage().allocatedBytes;
    for (let length = 2000; length < 2200; length++) complex(noise(length, 1), noise(length, 2), { outer: 1, length, inner: 1 });
    expect(runtime.heap.usage().allocatedBytes - before).toBeLessThan(40 * 2 ** 20);
  });

  it("does nothing for empty shapes", () => {
    for (const layout of [{ outer: 0, length: 8, inner: 1 }, { outer: 1, length: 0, inner: 4 }, { outer: 2, length: 8, inner: 0 }]) {
      expect(complex(new Float32Array(0), new Float32Array(0), layout)[0]!.length).toBe(0);
    }
  });
});
