import { memory, tensor, type DeviceName, type Tensor } from "@frugal/tensor-core";
import fc from "fast-check";
import { expect } from "vitest";
import { CodecMessageError } from "../errors.ts";
import { ByteReader } from "./byte-reader.ts";
import type { CompressedActivation } from "./compression-codec.ts";
import type { RowCoder, RowTarget } from "./row-coder.ts";

/** Numbers in (-1, 1) that are the same in every run. */
export function randomValues(count: number, seed = 1): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** ‖after - before‖ / ‖before‖. */
export function relativeError(after: Float32Array, before: Float32Array): number {
  let [difference, total] = [0, 0];
  before.forEach((value, i) => {
    difference += (after[i]! - value) ** 2;
    total += value ** 2;
  });
  return Math.sqrt(difference / total);
}

/** What the other side makes of rows, and the message between. Checks that it is read to its end, and that it keeps to its target. */
export async function throughCoder(
  coder: RowCoder,
  values: Float32Array,
  [tokens, hiddenSize]: readonly [number, number],
  target: RowTarget,
  device: DeviceName = "cpu",
): Promise<CompressedActivation & { readonly values: Float32Array }> {
  using rows = tensor(values, [tokens, hiddenSize], { device });
  const message = await coder.encode(rows, target);
  if (target.kind === "bytes") expect(message.bytes.length).toBeLessThanOrEqual(target.bytes);
  if (target.kind === "elements") expect(message.elements).toBeLessThanOrEqual(target.elements);
  const reader = new ByteReader(coder.name, message.bytes);
  using decoded = await coder.decode(reader, tokens, hiddenSize, device);
  expect(reader.remaining).toBe(0);
  expect(decoded.shape).toEqual([tokens, hiddenSize]);
  return { ...message, values: await decoded.data("float32") };
}

/**
 * Cuts and flips a good message in many ways: each time the decoder has to refuse it by CodecMessageError, or give finite rows of the right
 * shape, and leave no tensor behind.
 */
export async function expectHardened(coder: RowCoder, rows: Tensor, target: RowTarget): Promise<void> {
  const [tokens, hiddenSize] = rows.shape as [number, number];
  const { bytes } = await coder.encode(rows, target);
  const before = memory().allocations;
  const attempt = async (message: Uint8Array): Promise<void> => {
    let decoded: Tensor | undefined;
    try {
      decoded = await coder.decode(new ByteReader(coder.name, message), tokens, hiddenSize, "cpu");
    } catch (error) {
      if (!(error instanceof CodecMessageError)) throw error;
    }
    if (decoded === undefined) return;
    expect(decoded.shape).toEqual([tokens, hiddenSize]);
    expect((await decoded.data("float32")).every(Number.isFinite)).toBe(true);
    decoded.dispose();
  };
  for (let length = 0; length < bytes.length; length += Math.max(1, Math.floor(bytes.length / 40))) await attempt(bytes.slice(0, length));
  const byte = fc.oneof(fc.nat(Math.min(15, bytes.length - 1)), fc.nat(bytes.length - 1));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(byte, fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 4 }), async (flips) => {
      const message = bytes.slice();
      for (const [place, flip] of flips) message[place]! ^= flip;
      await attempt(message);
    }),
    { numRuns: 200 },
  );
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), attempt), { numRuns: 200 });
  expect(memory().allocations).toBe(before);
}
