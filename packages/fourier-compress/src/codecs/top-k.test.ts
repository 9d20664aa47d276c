import { memory, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { CodecTargetError } from "../errors.ts";
import { expectHardened, randomValues, relativeError, throughCoder } from "./row-coder.testing.ts";
import { topKCoder } from "./top-k.ts";

const coder = topKCoder();
const [tokens, hiddenSize] = [20, 60];
/** Few large values among many small ones. */
const values = randomValues(tokens * hiddenSize, 3).map((value) => value ** 5);

/** The k largest magnitudes by sorting, the others zero. */
function largestOnly(count: number): Float32Array {
  const order = Array.from(values, (_, i) => i).sort((a, b) => Math.abs(values[b]!) - Math.abs(values[a]!) || a - b);
  const kept = new Float32Array(values.length);
  for (const place of order.slice(0, count)) kept[place] = values[place]!;
  return kept;
}

describe("topKCoder", () => {
  it.each([1, 2, 100, 600, 1199, 1200])("keeps the %i largest values in float16 at their places", async (count) => {
    const message = await throughCoder(coder, values, [tokens, hiddenSize], { kind: "elements", elements: count });
    expect(message.elements).toBe(count);
    largestOnly(count).forEach((value, i) =>
      expect(Math.abs(message.values[i]! - value)).toBeLessThanOrEqual(2 ** -11 * Math.abs(value) + 2 ** -39),
    );
  });

  it.each([14, 40, 100, 333, 1000, 2000])("fills %i bytes", async (bytes) => {
    const message = await throughCoder(coder, values, [tokens, hiddenSize], { kind: "bytes", bytes });
    const more = await throughCoder(coder, values, [tokens, hiddenSize], { kind: "elements", elements: message.elements + 3 });
    expect(more.bytes.length).toBeGreaterThan(bytes);
  });

  it("keeps all values when there is room", async () => {
    const message = await throughCoder(coder, values, [tokens, hiddenSize], { kind: "bytes", bytes: 2 * values.length + 400 });
    expect(message.elements).toBe(values.length);
    expect(relativeError(message.values, values)).toBeLessThan(2 ** -11);
  });

  it.each([0.9, 0.5, 0.1, 0.01, 0.001])("meets a relative error of %d with the fewest values", async (wanted) => {
    const message = await throughCoder(coder, values, [tokens, hiddenSize], { kind: "relativeError", relativeError: wanted });
    expect(relativeError(message.values, values)).toBeLessThanOrEqual(wanted);
    expect(relativeError(largestOnly(message.elements - 1), values)).toBeGreaterThan(
      wanted * (1 - 0.2 * (2 ** -11 / wanted) ** 2) - 2 ** -11,
    );
  });

  it("refuses what it cannot reach", async () => {
    await expect(throughCoder(coder, values, [tokens, hiddenSize], { kind: "relativeError", relativeError: 1e-5 })).rejects.toThrow(
      CodecTargetError,
    );
    await expect(throughCoder(coder, values, [tokens, hiddenSize], { kind: "bytes", bytes: 4 })).rejects.toThrow(CodecTargetError);
    await expect(throughCoder(coder, values, [tokens, hiddenSize], { kind: "elements", elements: 0 })).rejects.toThrow(CodecTargetError);
  });

  it("takes single rows, zeros and numbers of any size", async () => {
    const zero = await throughCoder(coder, new Float32Array(9), [1, 9], { kind: "relativeError", relativeError: 0.1 });
    expect([zero.bytes.length, zero.elements]).toEqual([1, 0]);
    for (const [factor, size] of [
      [1e-25, 1],
      [1e25, 288],
    ] as const) {
      const row = randomValues(size).map((value) => value * factor);
      const message = await throughCoder(coder, row, [1, size], { kind: "elements", elements: size });
      expect(relativeError(message.values, row)).toBeLessThan(2 ** -11);
    }
  });

  it("refuses what is no message, and leaves no tensor behind", async () => {
    using rows = tensor(values, [tokens, hiddenSize]);
    const before = memory().allocations;
    await expectHardened(coder, rows, { kind: "bytes", bytes: 150 });
    expect(memory().allocations).toBe(before);
  });
});
