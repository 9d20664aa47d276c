import type { ActivationContext } from "@frugal/language-model";
import { memory, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import type { CodecTable } from "../calibration/codec-table.ts";
import { CodecMessageError, CodecTargetError } from "../errors.ts";
import { compressionRatios } from "./compression-codec.ts";
import { createCodecOf } from "./create-codec.ts";
import type { RowCoder, RowTarget } from "./row-coder.ts";

const HIDDEN = 4;
const seen: { readonly rows: number[]; readonly target: RowTarget }[] = [];

/** Sends every value as a float32 and notes what it was asked. */
const plain: RowCoder = {
  name: "plain", id: 60, targets: ["bytes", "elements", "relativeError", "step"],
  async encode(rows, target) {
    const values = await rows.data("float32");
    seen.push({ rows: [...values], target });
    if (target.kind === "bytes" && target.bytes < 4 * values.length) throw new CodecTargetError("too few bytes");
    return { bytes: new Uint8Array(values.slice().buffer), elements: values.length };
  },
  async decode(reader, tokens, hiddenSize, device) {
    return tensor(reader.float32Array(tokens * hiddenSize), [tokens, hiddenSize], { device });
  },
};

const beginRow = Float32Array.of(9, 8, 7, 6);
const vector = (value: number): Float32Array => new Float32Array(HIDDEN).fill(value);
const table: CodecTable = {
  model: "test", block: 1, hiddenSize: HIDDEN, rows: 1, mean: vector(0), channelScale: vector(1), secondMoment: vector(1), beginRow,
  spikeNorm: 100, fourierTokenShare: 0.2, rates: {}, hash: "0".repeat(64),
};

function contextOf(...tokens: readonly number[]): ActivationContext {
  const total = tokens.reduce((sum, count) => sum + count, 0);
  return {
    kind: "activation", block: 1, streamId: "0", limits: { tokens: total, hiddenSize: HIDDEN },
    sequences: tokens.map((count) => ({ positionOffset: 0, tokens: count })),
  };
}

async function roundTrip(values: readonly number[], tokens: readonly number[], frame: Parameters<typeof createCodecOf>[1]): Promise<{
  readonly bytes: Uint8Array; readonly elements: number; readonly decoded: number[];
}> {
  seen.length = 0;
  const codec = createCodecOf(plain, frame);
  const context = contextOf(...tokens);
  const before = memory().allocations;
  let result;
  {
    using hidden = tensor(Float32Array.from(values), [values.length / HIDDEN, HIDDEN]);
    const { bytes, elements } = await codec.compress(hidden, context);
    using decoded = await codec.decode(bytes, context, "cpu");
    result = { bytes, elements, decoded: [...(await decoded.data("float32"))] };
  }
  expect(memory().allocations).toBe(before);
  return result;
}

describe("createCodecOf", () => {
  const ordinary = [1, 2, 3, 4, 5, 6, 7, 8];

  it("puts four bytes before a short message", async () => {
    const { bytes, decoded, elements } = await roundTrip(ordinary, [2], { mode: { kind: "step", step: 1 } });
    expect(decoded).toEqual(ordinary);
    expect([...bytes.subarray(0, 3)]).toEqual([60, 2, 4]);
    expect([bytes.length, elements]).toEqual([3 + 32, 8]);
    expect(compressionRatios(8, { bytes: bytes.length, elements })).toEqual({
      elementRatio: 1, byteRatioFloat16: 16 / 35, byteRatioFloat32: 32 / 35,
    });
  });

  it("keeps sequences apart", async () => {
    await roundTrip(ordinary, [1, 1], { mode: { kind: "step", step: 1 } });
    expect(seen.map(({ rows }) => rows)).toEqual([[1, 2, 3, 4], [5, 6, 7, 8]]);
  });

  it("sends the begin row as one bit, and spikes beside the coder, in float16 or float32", async () => {
    const spike = [1000, 0, 0, 0.5];
    const wide = [1e6, 0, 0, 0];
    const frame = { mode: { kind: "step", step: 1 }, table } as const;
    const mixed = await roundTrip([...beginRow, 1, 2, 3, 4, ...spike, 5, 6, 7, 8], [4], frame);
    expect(mixed.decoded).toEqual([...beginRow, 1, 2, 3, 4, ...spike, 5, 6, 7, 8]);
    expect(seen.map(({ rows }) => rows)).toEqual([[1, 2, 3, 4, 5, 6, 7, 8]]);
    expect(mixed.bytes.length).toBe(3 + 1 + 1 + 1 + 8 + 32);
    expect(mixed.elements).toBe(16);
    expect((await roundTrip(wide, [1], frame)).decoded).toEqual(wide);
    const alone = await roundTrip([...beginRow], [1], frame);
    expect([alone.decoded, alone.bytes.length, seen.length]).toEqual([[...beginRow], 4, 0]);
    // Not the begin row when it is not at the start.
    await roundTrip([1, 2, 3, 4, ...beginRow], [2], frame);
    expect(seen[0]!.rows).toEqual([1, 2, 3, 4, ...beginRow]);
  });

  it("keeps a relative error in exact rows too", async () => {
    const close = [9 * (1 + 5e-5), 8, 7, 6];
    const spike = [1000.3, 0.1, 0, 0];
    const frame = (relativeError: number) => ({ mode: { kind: "relativeError", relativeError }, table }) as const;
    const errorOf = async (values: readonly number[], relativeError: number): Promise<{ error: number; bytes: number }> => {
      const { decoded, bytes } = await roundTrip(values, [values.length / HIDDEN], frame(relativeError));
      const norm = (row: readonly number[]): number => Math.hypot(...row);
      return { error: norm(decoded.map((value, i) => value - values[i]!)) / norm(values), bytes: bytes.length };
    };
    const loose = await errorOf(spike, 0.01);
    expect(loose.error).toBeLessThan(2 ** -11);
    expect(loose.error).toBeGreaterThan(1e-4);
    const tight = await errorOf(spike, 1e-4);
    expect([tight.error < 1e-7, tight.bytes - loose.bytes]).toEqual([true, 8]);
    expect((await errorOf(close, 1e-3)).bytes).toBe(4);
    expect((await errorOf(close, 1e-6)).error).toBeLessThan(1e-6);
    // Float16 has hardly a digit of numbers this small.
    const small: CodecTable = { ...table, spikeNorm: 1e-8 };
    const { decoded } = await roundTrip([3e-7, 0, 1e-7, 0], [1], { mode: { kind: "step", step: 1 }, table: small });
    expect(decoded).toEqual([Math.fround(3e-7), 0, Math.fround(1e-7), 0]);
  });

  it.each([NaN, Infinity, -Infinity])("refuses activations that hold %f, spike or not", async (broken) => {
    for (const frame of [{ mode: { kind: "step", step: 1 } }, { mode: { kind: "step", step: 1 }, table }] as const) {
      const codec = createCodecOf(plain, frame);
      using hidden = tensor(Float32Array.of(1, 2, 3, 4, 5, broken, 7, 8), [2, HIDDEN]);
      const before = memory().allocations;
      await expect(codec.encode(hidden, contextOf(2))).rejects.toThrow("overflowed before the split");
      expect(memory().allocations).toBe(before);
    }
  });

  it("shares the budget of a ratio among the sequences, header included, exact rows on top", async () => {
    await roundTrip(ordinary, [1, 1], { mode: { kind: "ratio", ratio: 0.4 } });
    // 2 bytes · 8 values / 0.4 = 40, less 3 of the header; the second sequence has what the first left.
    expect(seen.map(({ target }) => target)).toEqual([{ kind: "bytes", bytes: 17 }, { kind: "bytes", bytes: 21 }]);
    await roundTrip([...ordinary, 500, 0, 0, 0], [3], { mode: { kind: "ratio", ratio: 0.4 }, table });
    expect(seen.map(({ target }) => target)).toEqual([{ kind: "bytes", bytes: 37 }]);
    await roundTrip(ordinary, [2], { mode: { kind: "ratio", ratio: 2, of: "elements" } });
    expect(seen[0]!.target).toEqual({ kind: "elements", elements: 4 });
  });

  it("pads to the same size for every content", async () => {
    const { bytes, decoded } = await roundTrip([...beginRow, ...ordinary], [3], { mode: { kind: "bytesPerToken", bytes: 30 }, table });
    expect([bytes.length, decoded]).toEqual([90, [...beginRow, ...ordinary]]);
    await expect(roundTrip(ordinary, [2], { mode: { kind: "bytesPerToken", bytes: 10 } })).rejects.toThrow(CodecTargetError);
    // What the header and the begin row's flag leave of 2 · 21 bytes: everything is within them.
    await roundTrip([...beginRow, ...ordinary.slice(0, 4)], [2], { mode: { kind: "bytesPerToken", bytes: 21 }, table });
    expect(seen.map(({ target }) => target)).toEqual([{ kind: "bytes", bytes: 42 - 3 - 2 }]);
    await expect(roundTrip([...beginRow], [1], { mode: { kind: "bytesPerToken", bytes: 3 }, table })).rejects.toThrow(CodecTargetError);
  });

  it("refuses modes that the coder does not have", async () => {
    const few: RowCoder = { ...plain, targets: ["bytes", "elements", "step"] };
    expect(() => createCodecOf(few, { mode: { kind: "relativeError", relativeError: 0.1 } })).toThrow("can aim for bytes, elements, step");
    expect(() => createCodecOf(plain, { mode: { kind: "ratio", ratio: 0 } })).toThrow("ratio 0");
    expect(() => createCodecOf({ ...plain, targets: [] }, { mode: { kind: "step", step: 1 } })).toThrow("rate is fixed");
    using hidden = tensor(Float32Array.from(ordinary), [2, HIDDEN]);
    await expect(createCodecOf(plain, {}).encode(hidden, contextOf(2))).rejects.toThrow("without a mode");
  });

  it("refuses messages that are not due, before it allocates for them", async () => {
    const codec = createCodecOf(plain, { mode: { kind: "step", step: 1 } });
    using hidden = tensor(Float32Array.from(ordinary), [2, HIDDEN]);
    const good = await codec.encode(hidden, contextOf(2));
    const decode = (bytes: Uint8Array, context = contextOf(2)): Promise<unknown> => codec.decode(bytes, context, "cpu");
    const before = memory().allocations;
    await expect(decode(new Uint8Array(0))).rejects.toThrow(CodecMessageError);
    await expect(decode(Uint8Array.of(61, ...good.subarray(1)))).rejects.toThrow("of codec 61, not 60");
    await expect(decode(good, contextOf(1))).rejects.toThrow("[2, 4] is not the [1, 4]");
    await expect(decode(good.subarray(0, -1))).rejects.toThrow("32 bytes were announced, 31 are left");
    await expect(decode(Uint8Array.of(...good, 0))).rejects.toThrow("1 bytes are left over");
    await expect(decode(Uint8Array.of(60, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01))).rejects.toThrow("32 bits");
    await expect(decode(Uint8Array.of(60, 0xff, 0xff, 0xff, 0xff, 0x0f, 4))).rejects.toThrow("4294967295");
    await expect(decode(Uint8Array.of(60 | 0x40, ...good.subarray(1)))).rejects.toThrow("needs the codec table");
    const broken = good.slice();
    new DataView(broken.buffer).setFloat32(7, NaN, true);
    await expect(decode(broken)).rejects.toThrow("not finite");
    expect(memory().allocations).toBe(before);
  });

  it("refuses exact rows out of order or outside the sequence", async () => {
    const codec = createCodecOf(plain, { table });
    const rest = [...new Uint8Array(Float32Array.from(ordinary).buffer)];
    const decode = (...exact: readonly number[]): Promise<unknown> =>
      codec.decode(Uint8Array.of(60 | 0x40, 2, 4, ...exact, ...rest), contextOf(2), "cpu");
    await expect(decode(8)).rejects.toThrow("unknown flags 8");
    await expect(decode(0, 3)).rejects.toThrow("3 exact rows of 2");
    await expect(decode(0, 1, 2)).rejects.toThrow("exact row 2 of 2");
    await expect(decode(1, 1, 0)).rejects.toThrow("out of order");
    const withoutBegin = createCodecOf(plain, { table: { ...table, beginRow: undefined } as unknown as CodecTable });
    await expect(withoutBegin.decode(Uint8Array.of(60 | 0x40, 2, 4, 1, 0), contextOf(2), "cpu")).rejects.toThrow("no begin row");
  });
});
