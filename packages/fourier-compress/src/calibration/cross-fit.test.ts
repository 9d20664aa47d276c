import { memory } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { activationLikeRows } from "../codecs/karhunen-loeve.testing.ts";
import { SettingsError } from "../errors.ts";
import { channelStatistics, covariance } from "./covariance.ts";
import { crossFittedBasis } from "./cross-fit.ts";

describe("channelStatistics", () => {
  it("gives mean, mean deviation and mean square of each channel", () => {
    const { mean, channelScale, secondMoment } = channelStatistics(Float32Array.of(1, 10, 3, -10, 2, 30), 2);
    expect([...mean]).toEqual([2, 10]);
    expect([...channelScale]).toEqual([Math.fround(2 / 3), Math.fround(40 / 3)]);
    expect(secondMoment[0]).toBeCloseTo(14 / 3, 5);
    expect(secondMoment[1]).toBeCloseTo(1100 / 3, 4);
  });

  it("refuses what is no rows", () => {
    expect(() => channelStatistics(new Float32Array(0), 4)).toThrow(SettingsError);
    expect(() => channelStatistics(new Float32Array(6), 4)).toThrow(SettingsError);
  });
});

describe("covariance", () => {
  it("is that of the rows around the mean, however many products it takes", async () => {
    const { allocations } = memory();
    const rows = activationLikeRows(9000, 6, 4);
    const { mean } = channelStatistics(rows, 6);
    using result = covariance(rows, mean);
    const values = await result.data("float32");
    for (let first = 0; first < 6; first++) {
      for (let second = 0; second < 6; second++) {
        let expected = 0;
        for (let start = 0; start < rows.length; start += 6) {
          expected += ((rows[start + first]! - mean[first]!) * (rows[start + second]! - mean[second]!)) / 9000;
        }
        expect(values[first * 6 + second]).toBeCloseTo(expected, 6);
      }
    }
    expect(memory().allocations).toBe(allocations + 1);
  });
});

describe("crossFittedBasis", () => {
  const width = 40;
  const rows = activationLikeRows(60, width, 21);

  it("is orthonormal and leaves nothing on the device", async () => {
    const { allocations } = memory();
    const { basis } = await crossFittedBasis(rows, width);
    for (let first = 0; first < width; first++) {
      for (let second = 0; second <= first; second++) {
        let product = 0;
        for (let channel = 0; channel < width; channel++) product += basis[first * width + channel]! * basis[second * width + channel]!;
        expect(Math.abs(product - Number(first === second))).toBeLessThan(1e-5);
      }
    }
    expect(memory().allocations).toBe(allocations);
  });

  it("expects of the last directions what rows of other text have in them", async () => {
    const { basis, coefficientScale } = await crossFittedBasis(rows, width);
    const { mean } = channelStatistics(rows, width);
    const magnitude = (of: Float32Array, rank: number): number => {
      let total = 0;
      for (let start = 0; start < of.length; start += width) {
        let coefficient = 0;
        for (let channel = 0; channel < width; channel++) {
          coefficient += (of[start + channel]! - mean[channel]!) * basis[rank * width + channel]!;
        }
        total += Math.abs(coefficient);
      }
      return (total * width) / of.length;
    };
    const others = activationLikeRows(2000, width, 77);
    const last = width - 1;
    // In-sample scales of the last direction are far too small; cross-fitted ones are of the right size.
    expect(magnitude(rows, last)).toBeLessThan(0.8 * magnitude(others, last));
    expect(coefficientScale[last]! / magnitude(others, last)).toBeGreaterThan(0.8);
    expect(coefficientScale[last]! / magnitude(others, last)).toBeLessThan(3);
    expect(coefficientScale[0]! / magnitude(others, 0)).toBeGreaterThan(0.4);
    expect(coefficientScale[0]).toBeGreaterThan(coefficientScale[last]!);
  });

  it("ends early on request, and refuses a single row", async () => {
    await expect(crossFittedBasis(rows, width, { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
    await expect(crossFittedBasis(rows.subarray(0, width), width)).rejects.toThrow(SettingsError);
  });
});
