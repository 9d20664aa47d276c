import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referenceFft } from "../../../fft/reference-fft.ts";
import { checkKernelAgainstReference } from "../../../testing/kernel-suite.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import type { Kernels, TensorView } from "../../backend.ts";
import type { WebGpuBackend } from "../backend.ts";
import type { FftConfiguration } from "./fft/schedule.ts";
import { fftKernels } from "./fft.ts";

type FftKernels = Pick<Kernels, "fft" | "realFft" | "inverseRealFft">;
type Layout = readonly [outer: number, length: number, inner: number];

let backend: WebGpuBackend;
beforeAll(async () => {
  backend = await laneBackend();
});
afterAll(() => backend.destroy());

/** Deterministic numbers in [-1, 1). */
function noise(count: number, seed: number): Float32Array {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

function place(values: Float32Array): TensorView {
  const buffer = backend.allocate(values.byteLength);
  backend.write(buffer, 0, new Uint8Array(values.buffer));
  return { buffer, dtype: "float32", shape: [values.length], strides: [1], offset: 0 };
}

async function take(view: TensorView): Promise<Float32Array> {
  return new Float32Array((await backend.read(view.buffer, 0, view.buffer.byteLength)).slice().buffer);
}

const bins = (length: number): number => Math.floor(length / 2) + 1;

/** Forward and backward, complex and real, each from its own input; what is not written stays NaN. */
async function transformAll(kernels: FftKernels, [outer, length, inner]: Layout): Promise<Record<string, Float32Array>> {
  const dimensions = { outer, length, inner };
  const count = outer * length * inner;
  const halfCount = outer * bins(length) * inner;
  const views = {
    real: place(noise(count, 1)),
    imaginary: place(noise(count, 2)),
    forwardReal: place(new Float32Array(count).fill(NaN)),
    forwardImaginary: place(new Float32Array(count).fill(NaN)),
    backReal: place(new Float32Array(count).fill(NaN)),
    backImaginary: place(new Float32Array(count).fill(NaN)),
    halfReal: place(new Float32Array(halfCount).fill(NaN)),
    halfImaginary: place(new Float32Array(halfCount).fill(NaN)),
    realBack: place(new Float32Array(count).fill(NaN)),
  };
  const { real, imaginary, forwardReal, forwardImaginary, halfReal, halfImaginary } = views;
  kernels.fft({
    inputReal: real,
    inputImaginary: imaginary,
    outputReal: forwardReal,
    outputImaginary: forwardImaginary,
    ...dimensions,
    inverse: false,
    scale: 1,
  });
  kernels.fft({
    inputReal: forwardReal,
    inputImaginary: forwardImaginary,
    outputReal: views.backReal,
    outputImaginary: views.backImaginary,
    ...dimensions,
    inverse: true,
    scale: 1 / length,
  });
  kernels.realFft({ input: real, outputReal: halfReal, outputImaginary: halfImaginary, ...dimensions, scale: 1 });
  kernels.inverseRealFft({ inputReal: halfReal, inputImaginary: halfImaginary, output: views.realBack, ...dimensions, scale: 1 / length });
  const results: Record<string, Float32Array> = {};
  for (const [name, view] of Object.entries(views)) {
    results[name] = await take(view);
    backend.free(view.buffer);
  }
  return results;
}

/** Largest error over the root mean square of the values, of a few lines and of the round trips. */
async function errorOf(kernels: FftKernels, layout: Layout): Promise<number> {
  const [outer, length, inner] = layout;
  const results = await transformAll(kernels, layout);
  let worst = 0;
  const compare = (actual: number, expected: number, size: number): void => {
    worst = Math.max(worst, Math.abs(actual - expected) / size);
  };
  const size = Math.sqrt(length / 3);
  for (const o of new Set([0, outer - 1])) {
    for (const i of new Set([0, inner >> 1, inner - 1])) {
      const at = (j: number, points: number): number => (o * points + j) * inner + i;
      const line = (name: string): Float64Array => Float64Array.from({ length }, (_, j) => results[name]![at(j, length)]!);
      const expected = referenceFft(line("real"), line("imaginary"), false);
      const half = referenceFft(line("real"), new Float64Array(length), false);
      for (let k = 0; k < length; k++) {
        compare(results["forwardReal"]![at(k, length)]!, expected.real[k]!, size);
        compare(results["forwardImaginary"]![at(k, length)]!, expected.imaginary[k]!, size);
      }
      for (let k = 0; k < bins(length); k++) {
        compare(results["halfReal"]![at(k, bins(length))]!, half.real[k]!, size);
        compare(results["halfImaginary"]![at(k, bins(length))]!, half.imaginary[k]!, size);
      }
    }
  }
  for (const [back, original] of [["backReal", "real"], ["backImaginary", "imaginary"], ["realBack", "real"]] as const) {
    results[back]!.forEach((value, j) => compare(value, results[original]![j]!, Math.sqrt(1 / 3)));
  }
  return worst;
}

/** As `errorOf`, of complex forward transforms only. */
async function complexError({ fft }: FftKernels, [outer, length, inner]: Layout): Promise<number> {
  const count = outer * length * inner;
  const inputs = [place(noise(count, 1)), place(noise(count, 2))] as const;
  const outputs = [place(new Float32Array(count).fill(NaN)), place(new Float32Array(count).fill(NaN))] as const;
  const [inputReal, inputImaginary, outputReal, outputImaginary] = [...inputs, ...outputs];
  fft({ inputReal, inputImaginary, outputReal, outputImaginary, outer, length, inner, inverse: false, scale: 1 });
  const values = await Promise.all([...inputs, ...outputs].map((view) => take(view)));
  for (const { buffer } of [...inputs, ...outputs]) backend.free(buffer);
  let worst = 0;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const line = (part: number): Float64Array => Float64Array.from({ length }, (_, j) => values[part]![(o * length + j) * inner + i]!);
      const expected = referenceFft(line(0), line(1), false);
      line(2).forEach((value, k) => (worst = Math.max(worst, Math.abs(value - expected.real[k]!))));
      line(3).forEach((value, k) => (worst = Math.max(worst, Math.abs(value - expected.imaginary[k]!))));
    }
  }
  return worst / Math.sqrt(length / 3);
}

describe("Fourier transforms beside the reference", () => {
  it.each(["fft", "realFft", "inverseRealFft"] as const)("%s", async (name) => {
    await checkKernelAgainstReference(backend, name, { runs: 40 });
  });
});

describe("lengths beside double precision, and round trips", () => {
  it("1 to 40, 64 lines at once", async () => {
    for (let length = 1; length <= 40; length++) {
      expect(await errorOf(backend.kernels, [3, length, 64]), `length ${length}`).toBeLessThan(1.5e-6);
    }
  });

  it.each([64, 97, 128, 243, 251, 360, 896, 960, 1009, 1024, 1536, 2048, 3584, 4096, 8192, 65536])("%i", async (length) => {
    const before = backend.memory().allocations;
    for (const inner of length > 4096 ? [1] : [1, 3]) expect(await errorOf(backend.kernels, [2, length, inner])).toBeLessThan(2.5e-6);
    expect(backend.memory().allocations).toBe(before);
  });

  it("64 lines side by side", async () => {
    expect(await errorOf(backend.kernels, [1, 896, 64])).toBeLessThan(2.5e-6);
    expect(await errorOf(backend.kernels, [1, 1009, 64])).toBeLessThan(2.5e-6);
  });

  it("the square of a prime above every radix, in steps", async () => {
    expect(await errorOf(backend.kernels, [1, 67 * 67, 2])).toBeLessThan(2.5e-6);
  });
});

/** Software adapters do with few shaders; these run the kernels that hardware gets, at lengths that compile fast. */
describe("kernels of hardware adapters", () => {
  const limits = (workgroupMemory: number) => ({ workgroupInvocations: 256, workgroupMemory });

  it("columns, complex and real", async () => {
    expect(await errorOf(fftKernels(backend.runtime, { tiles: "all", limits: limits(2048) }), [2, 20, 19])).toBeLessThan(1.5e-6);
  });

  it.each<[string, Layout, Partial<FftConfiguration>]>([
    ["two passes, many lines", [40, 20, 1], { tiles: "all", limits: limits(2048) }],
    ["three passes", [2, 216, 1], { tiles: "all", limits: limits(4096) }],
    ["three steps", [2, 216, 2], { tiles: "all", limits: limits(256) }],
    ["Bluestein", [3, 17, 1], { tiles: "all", limits: limits(2048) }],
    ["any short length, with butterflies", [2, 840, 1], { tiles: "common" }],
  ])("complex: %s", async (_, layout, configuration) => {
    expect(await complexError(fftKernels(backend.runtime, configuration), layout)).toBeLessThan(1.5e-6);
  });
});
