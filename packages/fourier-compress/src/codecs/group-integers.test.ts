import { tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { groupIntegerCoder } from "./group-integers.ts";
import { expectHardened, randomValues, throughCoder } from "./row-coder.testing.ts";

const none = { kind: "none" } as const;

describe("groupIntegerCoder", () => {
  it.each([
    ["int8", 127],
    ["int4", 7],
  ] as const)("keeps %s within half a step of each group", async (format, largestCode) => {
    for (const [tokens, hiddenSize, groupSize] of [
      [3, 64, 32],
      [4, 37, 8],
      [1, 5, 64],
      [5, 7, 1],
    ] as const) {
      const values = randomValues(tokens * hiddenSize).map((value, i) => value * 10 ** (i % 5));
      const { values: after } = await throughCoder(groupIntegerCoder(format, { groupSize }), values, [tokens, hiddenSize], none);
      for (let row = 0; row < values.length; row += hiddenSize) {
        for (let from = row; from < row + hiddenSize; from += groupSize) {
          const to = Math.min(from + groupSize, row + hiddenSize);
          const largest = Math.max(...values.subarray(from, to).map(Math.abs));
          // Half a step, and the scale's own rounding to float16.
          const bound = largest / largestCode / 2 + largest * 2 ** -10;
          for (let i = from; i < to; i++) expect(Math.abs(after[i]! - values[i]!)).toBeLessThanOrEqual(bound);
        }
      }
    }
  });

  it("takes the bytes that it says", async () => {
    const bytes = async (format: "int8" | "int4", groupSize: number): Promise<number> => {
      using rows = tensor(randomValues(10 * 2048), [10, 2048]);
      return (await groupIntegerCoder(format, { groupSize }).encode(rows, none)).bytes.length;
    };
    expect((2 * 20480) / (await bytes("int8", 64))).toBeCloseTo(1.94, 2);
    expect((2 * 20480) / (await bytes("int4", 32))).toBeCloseTo(3.56, 2);
    expect((2 * 20480) / (await bytes("int4", 64))).toBeCloseTo(3.76, 2);
  });

  it("keeps zeros and numbers of any size", async () => {
    const coder = groupIntegerCoder("int8", { groupSize: 4 });
    expect((await throughCoder(coder, new Float32Array(8), [1, 8], none)).values).toEqual(new Float32Array(8));
    for (const factor of [1e-30, 1e25]) {
      const values = randomValues(8).map((value) => value * factor);
      const { values: after } = await throughCoder(coder, values, [1, 8], none);
      values.forEach((value, i) => expect(Math.abs(after[i]! - value)).toBeLessThan(factor / 200));
    }
  });

  it("refuses what is no message", async () => {
    using rows = tensor(randomValues(26), [2, 13]);
    await expectHardened(groupIntegerCoder("int8", { groupSize: 4 }), rows, none);
    await expectHardened(groupIntegerCoder("int4", { groupSize: 5 }), rows, none);
    expect(() => groupIntegerCoder("int8", { groupSize: 0 })).toThrow(SettingsError);
  });
});
