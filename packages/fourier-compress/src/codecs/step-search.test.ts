import { memory, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { CodecMessageError, CodecTableError, CodecTargetError, FourierCompressError } from "../errors.ts";
import { ByteReader } from "./byte-reader.ts";
import { channelCoder } from "./channel.ts";
import { hadamardCoder } from "./hadamard.ts";
import { karhunenLoeveCoder } from "./karhunen-loeve.ts";
import { activationLikeRows, activationLikeTable, relativeError } from "./karhunen-loeve.testing.ts";
import { principalComponentsCoder } from "./principal-components.ts";
import type { RowCoder, RowTarget } from "./row-coder.ts";

const tables = new Map(await Promise.all([1, 5, 48, 288].map(async (width) => [width, await activationLikeTable(width)] as const)));

const coders: readonly (readonly [string, (width: number) => RowCoder])[] = [
  ["channel", (width) => channelCoder(tables.get(width)!)],
  ["klt", (width) => karhunenLoeveCoder(tables.get(width)!)],
  ["hadamard", () => hadamardCoder()],
  ["pca-float16", (width) => principalComponentsCoder(tables.get(width)!, "float16")],
  ["pca-int8", (width) => principalComponentsCoder(tables.get(width)!, "int8")],
];
const quantizers = coders.slice(0, 3);

async function roundTrip(
  coder: RowCoder, values: Float32Array, tokens: number, target: RowTarget,
): Promise<{ bytes: Uint8Array; decoded: Float32Array }> {
  const width = values.length / tokens;
  using rows = tensor(values, [tokens, width]);
  const { bytes, elements } = await coder.encode(rows, target);
  expect(elements).toBeGreaterThan(0);
  expect(elements).toBeLessThanOrEqual(values.length);
  const reader = new ByteReader(coder.name, bytes);
  using decoded = await coder.decode(reader, tokens, width, "cpu");
  expect(reader.remaining).toBe(0);
  expect(decoded.shape).toEqual([tokens, width]);
  return { bytes, decoded: (await decoded.data("float32")).slice() };
}

describe.each(coders)("%s", (name, coderFor) => {
  it.each([
    [1, 1], [3, 1], [1, 48], [3, 48], [40, 48], [1, 288], [6, 288], [90, 288],
  ])("keeps its promises for %i rows of %i", async (tokens, width) => {
    const { allocations } = memory();
    const coder = coderFor(width);
    const values = activationLikeRows(tokens, width, 5);
    for (const ratio of [1.5, 4, 7.6, 16]) {
      const bytes = Math.floor((2 * values.length) / ratio);
      if (bytes < 24 + tokens * (name === "pca-int8" ? 3 : 2)) continue;
      const message = await roundTrip(coder, values, tokens, { kind: "bytes", bytes });
      expect(message.bytes.length).toBeLessThanOrEqual(bytes);
      if (!name.startsWith("pca")) expect(message.bytes.length).toBeGreaterThan(0.99 * bytes - 16);
    }
    for (const error of [0.5, 0.1, 0.02]) {
      const message = await roundTrip(coder, values, tokens, { kind: "relativeError", relativeError: error });
      expect(relativeError(message.decoded, values)).toBeLessThanOrEqual(error);
    }
    expect(memory().allocations).toBe(allocations);
  });

  it("refuses targets out of reach", async () => {
    using rows = tensor(activationLikeRows(4, 48, 3), [4, 48]);
    const coder = coderFor(48);
    await expect(coder.encode(rows, { kind: "bytes", bytes: 5 })).rejects.toThrow(CodecTargetError);
    await expect(coder.encode(rows, { kind: "bytes", bytes: -100 })).rejects.toThrow(CodecTargetError);
    await expect(coder.encode(rows, { kind: "relativeError", relativeError: 1e-12 })).rejects.toThrow(CodecTargetError);
    await expect(coder.encode(rows, { kind: "none" })).rejects.toThrow(CodecTargetError);
  });

  it("refuses or survives truncated and changed bytes", async () => {
    const coder = coderFor(48);
    const { allocations } = memory();
    using rows = tensor(activationLikeRows(7, 48, 3), [7, 48]);
    const { bytes } = await coder.encode(rows, { kind: "bytes", bytes: 260 });
    const decode = async (body: Uint8Array): Promise<void> => {
      const reader = new ByteReader(coder.name, body);
      using decoded = await coder.decode(reader, 7, 48, "cpu");
      expect(decoded.shape).toEqual([7, 48]);
    };
    for (let length = 0; length < bytes.length; length++) {
      await expect(decode(bytes.subarray(0, length))).rejects.toThrow(CodecMessageError);
    }
    let refused = 0;
    for (let bit = 0; bit < 8 * bytes.length; bit += 3) {
      const changed = bytes.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      await decode(changed).catch((cause: unknown) => {
        expect(cause).toBeInstanceOf(CodecMessageError);
        refused++;
      });
    }
    // Without an entropy code, a changed bit is another value.
    if (!name.startsWith("pca")) expect(refused).toBeGreaterThan(0.8 * ((8 * bytes.length) / 3));
    expect(memory().allocations).toBe(allocations + 1);
  });
});

describe.each(quantizers)("%s", (name, coderFor) => {
  it("sends values to half a step where the step is fine", async () => {
    const values = activationLikeRows(9, 48, 11);
    const { decoded } = await roundTrip(coderFor(48), values, 9, { kind: "step", step: 1e-4 });
    const error = relativeError(decoded, values) * Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
    // A uniform error in ± half a step.
    expect(error).toBeLessThan(1.05e-4 / Math.sqrt(12));
    if (name === "channel") for (const [place, value] of decoded.entries()) expect(Math.abs(value - values[place]!)).toBeLessThan(0.501e-4);
  });

  it("takes a few bytes for rows of nothing but the mean", async () => {
    const mean = name === "hadamard" ? new Float32Array(288) : tables.get(288)!.mean;
    const { bytes, decoded } = await roundTrip(coderFor(288), mean, 1, { kind: "relativeError", relativeError: 0.1 });
    expect(bytes.length).toBeLessThanOrEqual(name === "klt" ? 16 : 12);
    for (const [channel, value] of decoded.entries()) expect(value).toBeCloseTo(mean[channel]!, 5);
  });

  it("codes huge, tiny and lonely values", async () => {
    const values = new Float32Array(4 * 48);
    values.set([1e30, -1e29, 3e28], 0);
    values.set([1e-30, -1e-38], 48);
    values[2 * 48 + 7] = -5;
    for (const target of [{ kind: "bytes", bytes: 400 }, { kind: "relativeError", relativeError: 0.01 }] as const) {
      const { decoded } = await roundTrip(coderFor(48), values, 4, target);
      expect(relativeError(decoded, values)).toBeLessThan(0.011);
    }
  });

  it("reaches an error where calibration saw nothing", async () => {
    if (name === "hadamard") return;
    const table = { ...tables.get(48)!, channelScale: new Float32Array(48), coefficientScale: new Float32Array(48) };
    table.channelScale[3] = table.coefficientScale[3] = 0.01;
    const coder = name === "klt" ? karhunenLoeveCoder(table) : channelCoder(table);
    const values = activationLikeRows(5, 48, 8);
    const { decoded } = await roundTrip(coder, values, 5, { kind: "relativeError", relativeError: 0.05 });
    expect(relativeError(decoded, values)).toBeLessThanOrEqual(0.05);
  });

  it("refuses values that are not finite, and steps too fine for int32", async () => {
    using broken = tensor(Float32Array.of(1, Number.NaN, 2, 3, 4), [1, 5]);
    await expect(coderFor(5).encode(broken, { kind: "step", step: 0.1 })).rejects.toThrow(FourierCompressError);
    using rows = tensor(Float32Array.of(1, 2, 3, 4, 1e20), [1, 5]);
    await expect(coderFor(5).encode(rows, { kind: "step", step: 1e-3 })).rejects.toThrow(CodecTargetError);
  });
});

it("asks for the basis that a table lacks", () => {
  const { basis: _basis, coefficientScale: _scale, ...table } = tables.get(48)!;
  expect(() => karhunenLoeveCoder(table)).toThrow(CodecTableError);
  expect(() => principalComponentsCoder(table, "int8")).toThrow(CodecTableError);
});

it("refuses a hiddenSize that is not the table's", async () => {
  for (const [, coderFor] of coders.filter(([name]) => name !== "hadamard")) {
    await expect(coderFor(48).decode(new ByteReader("test", new Uint8Array(100)), 1, 47, "cpu")).rejects.toThrow(CodecMessageError);
  }
});
