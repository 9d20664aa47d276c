import * as draw from "../arbitrary.ts";
import { denseLayouts, seeds, small } from "../arbitraries.ts";
import type { KernelTests, Tolerance } from "../kernel-test.ts";
import { outputSpec, tensorSpec } from "../tensor-spec.ts";
import { normals } from "../values.ts";

/** Each radix, products of them, primes past every radix, and twice a prime. */
const lengths = draw.oneof(
  { arbitrary: small(70), weight: 4 },
  { arbitrary: draw.constantFrom(64, 81, 125, 128, 210, 240, 256, 343, 512, 896, 1000, 1024), weight: 2 },
  { arbitrary: draw.constantFrom(67, 97, 101, 202, 251, 509, 521, 11 * 13, 17 * 4), weight: 1 },
);

const transforms = draw
  .record({
    outer: draw.oneof(small(4), draw.constant(0)),
    length: lengths,
    inner: draw.oneof(draw.constant(1), small(9), small(40)),
    inverse: draw.boolean(),
    normalized: draw.boolean(),
    layout: denseLayouts,
    seed: seeds,
  })
  .filter(({ outer, length, inner }) => outer * length * inner <= 12000);

function tolerance({ length, scale }: { length: number; scale: number }): Tolerance {
  return { absolute: 3e-6 * Math.sqrt(length) * scale, relative: 2e-6 };
}

/** Tests of Fourier transforms. */
export const fftTests: KernelTests<"fft" | "realFft" | "inverseRealFft"> = {
  fft: {
    outputs: ["outputReal", "outputImaginary"],
    tolerance,
    cases: transforms.map(({ outer, length, inner, inverse, normalized, layout, seed }) => ({
      inputReal: tensorSpec("float32", [outer, length, inner], normals(seed), layout),
      inputImaginary: tensorSpec("float32", [outer, length, inner], normals(seed + 1), layout),
      outputReal: outputSpec("float32", [outer, length, inner], layout),
      outputImaginary: outputSpec("float32", [outer, length, inner], layout),
      outer,
      length,
      inner,
      inverse,
      scale: normalized ? 1 / length : 1,
    })),
  },

  realFft: {
    outputs: ["outputReal", "outputImaginary"],
    tolerance,
    cases: transforms.map(({ outer, length, inner, normalized, layout, seed }) => ({
      input: tensorSpec("float32", [outer, length, inner], normals(seed), layout),
      outputReal: outputSpec("float32", [outer, Math.floor(length / 2) + 1, inner], layout),
      outputImaginary: outputSpec("float32", [outer, Math.floor(length / 2) + 1, inner], layout),
      outer,
      length,
      inner,
      scale: normalized ? 1 / Math.sqrt(length) : 1,
    })),
  },

  inverseRealFft: {
    outputs: ["output"],
    tolerance,
    cases: transforms.map(({ outer, length, inner, normalized, layout, seed }) => ({
      inputReal: tensorSpec("float32", [outer, Math.floor(length / 2) + 1, inner], normals(seed), layout),
      inputImaginary: tensorSpec("float32", [outer, Math.floor(length / 2) + 1, inner], normals(seed + 1), layout),
      output: outputSpec("float32", [outer, length, inner], layout),
      outer,
      length,
      inner,
      scale: normalized ? 1 / length : 1,
    })),
  },
};
