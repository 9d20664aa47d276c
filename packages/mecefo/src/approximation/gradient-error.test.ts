import { Generator } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { averageGradient, expectedAveragingError, relativeSquaredError } from "./gradient-error.ts";

describe("gradient errors", () => {
  it("are squared, relative, and over all tensors together", () => {
    expect(relativeSquaredError([[[1, 2], [1, 2]], [[3], [3]]])).toBe(0);
    expect(relativeSquaredError([[[0, 0], [3, 4]], [[0], [0]]])).toBe(1);
    expect(relativeSquaredError([[[2], [1]], [[0], [1]]])).toBe(1);
    expect(relativeSquaredError([[[0], [0]]])).toBe(0);
    expect(relativeSquaredError([[[1], [0]]])).toBe(Infinity);
    expect(() => relativeSquaredError([[[1], [1, 2]]])).toThrow(SettingsError);
  });

  it("averages over those that have a gradient", () => {
    expect(averageGradient([[2, 4], undefined, [4, 8]])).toEqual(Float64Array.of(3, 6));
    expect(averageGradient([undefined, undefined])).toBeUndefined();
  });

  it.each([[4, 3, 0.333], [4, 2, 1], [4, 1, 3], [8, 7, 0.143]] as const)(
    "of noise averaged over fewer: %i pipelines, %i active", async (pipelines, active, printed) => {
      using noise = new Generator(11).normal([pipelines, 20_000]);
      const values = await noise.data();
      const gradients = Array.from({ length: pipelines }, (_, i) => values.subarray(i * 20_000, (i + 1) * 20_000));
      const all = averageGradient(gradients)!;
      const fewer = averageGradient(gradients.map((gradient, i) => (i < active ? gradient : undefined)))!;
      const error = relativeSquaredError([[fewer, all]]);
      expect(expectedAveragingError(pipelines, active)).toBeCloseTo(printed, 3);
      expect(Math.abs(error - printed) / printed).toBeLessThan(0.05);
    },
  );
});
