import { tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { CodecTargetError } from "../errors.ts";
import { rawCoder } from "./raw.ts";
import { expectHardened, randomValues, relativeError, throughCoder } from "./row-coder.testing.ts";

const none = { kind: "none" } as const;

describe("rawCoder", () => {
  it("gives float32 back bit by bit", async () => {
    const values = Float32Array.from([0, -0, 1e-45, 3.4028234e38, -1.5, Math.PI]);
    const message = await throughCoder(rawCoder("float32"), values, [2, 3], none);
    expect(message.bytes.length).toBe(24);
    expect(message.elements).toBe(6);
    message.values.forEach((value, i) => expect(Object.is(value, values[i])).toBe(true));
  });

  it.each([
    ["float16", 2 ** -11],
    ["bfloat16", 2 ** -8],
  ] as const)("keeps the precision of %s", async (format, precision) => {
    const values = randomValues(5 * 33);
    const message = await throughCoder(rawCoder(format), values, [5, 33], none);
    expect(message.bytes.length).toBe(2 * values.length);
    values.forEach((value, i) => expect(Math.abs(message.values[i]! - value)).toBeLessThanOrEqual(precision * Math.abs(value) + 2 ** -25));
    expect(relativeError(message.values, values)).toBeGreaterThan(precision / 10);
    // What has been rounded once stays as it is.
    expect((await throughCoder(rawCoder(format), message.values, [5, 33], none)).values).toEqual(message.values);
  });

  it("rounds bfloat16 to the nearest, ties to even", async () => {
    const values = Float32Array.from([1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20, -(1 + 2 ** -8)]);
    const message = await throughCoder(rawCoder("bfloat16"), values, [1, 4], none);
    expect([...message.values]).toEqual([1, 1 + 2 ** -6, 1 + 2 ** -7, -1]);
  });

  it.each([
    ["float16", 65504, 65520],
    ["bfloat16", 3.38e38, 3.4e38],
  ] as const)("refuses what %s rounds to infinity", async (format, largest, tooLarge) => {
    await throughCoder(rawCoder(format), Float32Array.from([largest, 1]), [1, 2], none);
    await expect(throughCoder(rawCoder(format), Float32Array.from([1, 1, 1, -tooLarge]), [2, 2], none)).rejects.toThrow(CodecTargetError);
    await expect(throughCoder(rawCoder(format), Float32Array.from([1, 1, 1, -tooLarge]), [2, 2], none)).rejects.toThrow("row 1, channel 1");
  });

  it.each(["float32", "float16", "bfloat16"] as const)("refuses what is no message of %s", async (format) => {
    using rows = tensor(randomValues(24), [4, 6]);
    await expectHardened(rawCoder(format), rows, none);
  });
});
