import { memory, tensor, tidy } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { FourierBins, halfWidth, largestBlock, type FourierMode, type GridSize } from "./fourier-bins.ts";
import { FourierEnergy } from "./fourier-energy.ts";
import type { BlockShape } from "./fourier-shape.ts";
import { directBlock, directTransform, squaredNorm } from "./fourier.testing.ts";
import { randomValues } from "./row-coder.testing.ts";
import { fourierBlock, fromFourierBlock, halfSpectrum } from "./fourier-transform.ts";

const modes: readonly FourierMode[] = ["literal", "hermitian", "lowpass"];
const sizes: readonly GridSize[] = [
  [1, 1],
  [1, 2],
  [1, 9],
  [2, 1],
  [5, 1],
  [2, 2],
  [4, 6],
  [5, 7],
  [3, 8],
  [8, 5],
  [7, 13],
  [12, 10],
].map(([tokens, hiddenSize]) => ({ tokens: tokens!, hiddenSize: hiddenSize! }));

function blocks(mode: FourierMode, grid: GridSize): BlockShape[] {
  const largest = largestBlock(mode, grid);
  const sides = (whole: number): number[] => {
    const half = Math.ceil(whole / 2);
    return [...new Set([1, 2, half, half + 1, whole - 1, whole])].filter((side) => side >= 1 && side <= whole);
  };
  return sides(largest.tokens).flatMap((tokens) => sides(largest.channels).map((channels) => ({ tokens, channels })));
}

function reconstruct(values: Float32Array, { tokens, hiddenSize }: GridSize, shape: BlockShape, mode: FourierMode): Float32Array {
  return tidy(() => {
    const rows = tensor(values, [tokens, hiddenSize]);
    return fromFourierBlock(fourierBlock(rows, shape, mode), shape, mode, hiddenSize).dataSync("float32");
  });
}

describe.each(sizes)("the Fourier block of $tokens × $hiddenSize rows", (grid) => {
  const values = randomValues(grid.tokens * grid.hiddenSize, 7);
  const spectrum = directTransform(values, grid);

  it("has the energy of the rows (Parseval)", () => {
    const columns = halfWidth(grid.hiddenSize);
    using rows = tensor(values, [grid.tokens, grid.hiddenSize]);
    const { real, imaginary } = halfSpectrum(rows, columns);
    const host = { real: real.dataSync("float32"), imaginary: imaginary.dataSync("float32"), stride: columns };
    real.dispose();
    imaginary.dispose();
    const energy = squaredNorm(values);
    expect(new FourierEnergy(host, grid).total / energy).toBeCloseTo(1, 6);
    expect(spectrum.energy / (grid.tokens * grid.hiddenSize) / energy).toBeCloseTo(1, 10);
  });

  it.each(modes)("is what a direct transform in float64 gives, %s", (mode) => {
    for (const shape of blocks(mode, grid)) {
      const expected = directBlock(spectrum, grid, shape, mode);
      const actual = reconstruct(values, grid, shape, mode);
      const difference = Math.max(...actual.map((value, i) => Math.abs(value - expected.values[i]!)));
      expect(difference, `${mode} ${shape.tokens} × ${shape.channels}`).toBeLessThan(2e-6);
    }
  });

  it.each(modes)("loses just the energy that the identities say, %s", async (mode) => {
    using rows = tensor(values, [grid.tokens, grid.hiddenSize]);
    const columns = halfWidth(grid.hiddenSize);
    const { real, imaginary } = halfSpectrum(rows, columns);
    const energy = new FourierEnergy(
      { real: await real.data("float32"), imaginary: await imaginary.data("float32"), stride: columns },
      grid,
    );
    real.dispose();
    imaginary.dispose();
    const total = squaredNorm(values);
    for (const shape of blocks(mode, grid)) {
      const { outside, halved } = directBlock(spectrum, grid, shape, mode);
      const after = reconstruct(values, grid, shape, mode);
      const error = squaredNorm(after.map((value, i) => value - values[i]!)) / total;
      // Literal mode: the error of Hermitian mode, and a quarter of each pair of which one alone is in the block.
      const predicted = (outside + (mode === "literal" ? halved / 4 : 0)) / (grid.tokens * grid.hiddenSize) / total;
      expect(Math.abs(error - predicted), `${mode} ${shape.tokens} × ${shape.channels}`).toBeLessThan(1e-6);
      expect(Math.abs(energy.lost(new FourierBins(mode, shape, grid)) / total - predicted)).toBeLessThan(1e-6);
    }
  });

  it.each(modes)("is the whole when it holds all frequencies, %s", (mode) => {
    const after = reconstruct(values, grid, largestBlock(mode, grid), mode);
    expect(Math.max(...after.map((value, i) => Math.abs(value - values[i]!)))).toBeLessThan(1e-5);
  });

  it.each(modes)("sends as many numbers as it has degrees of freedom, %s", (mode) => {
    for (const shape of blocks(mode, grid)) {
      const bins = new FourierBins(mode, shape, grid);
      expect(bins.sentNumbers).toBe(directBlock(spectrum, grid, shape, mode).freedoms);
      if (mode === "lowpass" && 2 * shape.tokens - 1 <= grid.tokens && 2 * shape.channels - 1 <= grid.hiddenSize) {
        expect(bins.sentNumbers).toBe((2 * shape.tokens - 1) * (2 * shape.channels - 1));
      }
    }
    expect(new FourierBins(mode, largestBlock(mode, grid), grid).sentNumbers).toBe(grid.tokens * grid.hiddenSize);
  });
});

/** One cosine of frequency (u, v). */
function wave({ tokens, hiddenSize }: GridSize, u: number, v: number): Float32Array {
  const angle = (i: number): number => (u * Math.floor(i / hiddenSize)) / tokens + (v * (i % hiddenSize)) / hiddenSize;
  return Float32Array.from({ length: tokens * hiddenSize }, (_, i) => Math.cos(2 * Math.PI * angle(i)));
}

describe("fourierBlock", () => {
  it("halves a single interior cosine in literal mode and keeps it in Hermitian mode", () => {
    const grid = { tokens: 16, hiddenSize: 32 };
    const cosine = wave(grid, 3, 5);
    const shape = { tokens: 5, channels: 8 };
    const [half, whole] = [reconstruct(cosine, grid, shape, "literal"), reconstruct(cosine, grid, shape, "hermitian")];
    cosine.forEach((value, i) => {
      expect(half[i]).toBeCloseTo(value / 2, 5);
      expect(whole[i]).toBeCloseTo(value, 5);
    });
  });

  it("takes the corner of negative token frequencies only in low-pass mode", () => {
    const grid = { tokens: 16, hiddenSize: 32 };
    const cosine = wave(grid, -3, 5);
    const shape = { tokens: 5, channels: 8 };
    expect(Math.max(...reconstruct(cosine, grid, shape, "hermitian").map(Math.abs))).toBeLessThan(1e-5);
    reconstruct(cosine, grid, shape, "lowpass").forEach((value, i) => expect(value).toBeCloseTo(cosine[i]!, 5));
  });

  it("refuses blocks that the rows do not have", () => {
    using rows = tensor(randomValues(40), [5, 8]);
    expect(() => fourierBlock(rows, { tokens: 6, channels: 2 }, "literal")).toThrow("sides of 1..5 and 1..8");
    expect(() => fourierBlock(rows, { tokens: 4, channels: 2 }, "lowpass")).toThrow("sides of 1..3 and 1..5");
    expect(() => fourierBlock(rows, { tokens: 2, channels: 0 }, "literal")).toThrow("2 × 0");
    const block = fourierBlock(rows, { tokens: 2, channels: 2 }, "literal");
    expect(() => fromFourierBlock(block, { tokens: 2, channels: 3 }, "literal", 8)).toThrow("2 columns");
    block.real.dispose();
    block.imaginary.dispose();
  });

  it("leaves no tensor behind", () => {
    const before = memory().allocations;
    reconstruct(randomValues(35), { tokens: 5, hiddenSize: 7 }, { tokens: 2, channels: 3 }, "literal");
    expect(memory().allocations).toBe(before);
  });
});
