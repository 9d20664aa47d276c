import { memory, tensor } from "@frugal/tensor-core";
import { svd } from "@frugal/tensor-core/linalg";
import { describe, expect, it } from "vitest";
import { CodecMessageError, CodecTargetError } from "../errors.ts";
import { ByteReader } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import { pivotedQr } from "./low-rank-qr.ts";
import { lowRankCoder } from "./low-rank.ts";
import { expectHardened, randomValues, relativeError, throughCoder } from "./row-coder.testing.ts";

const sizes = [
  [1, 1],
  [1, 9],
  [9, 1],
  [6, 6],
  [5, 12],
  [12, 5],
  [17, 40],
] as const;

/** Rows of falling singular values. */
function fading(tokens: number, hiddenSize: number): Float32Array {
  const [left, right] = [randomValues(tokens * 8, 3), randomValues(8 * hiddenSize, 4)];
  return Float32Array.from({ length: tokens * hiddenSize }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < 8; k++) sum += left[Math.floor(i / hiddenSize) * 8 + k]! * 0.5 ** k * right[k * hiddenSize + (i % hiddenSize)]!;
    return sum;
  });
}

const coders = [
  { label: "svd", coder: lowRankCoder("svd") },
  { label: "qr by channels", coder: lowRankCoder("qr") },
  { label: "qr by tokens", coder: lowRankCoder("qr", { pivots: "tokens" }) },
];

describe.each(coders)("lowRankCoder $label", ({ coder }) => {
  it.each(sizes)("carries all of %i × %i rows at full rank", async (tokens, hiddenSize) => {
    const values = randomValues(tokens * hiddenSize);
    const full = Math.min(tokens, hiddenSize) * (tokens + hiddenSize);
    const message = await throughCoder(coder, values, [tokens, hiddenSize], { kind: "bytes", bytes: 2 * full + 3 });
    expect(message.elements).toBe(full);
    expect(relativeError(message.values, values)).toBeLessThan(1.5 * 2 ** -11);
  });

  it("keeps to bytes, elements and errors", async () => {
    const values = fading(17, 40);
    for (const rank of [1, 2, 5]) {
      const byBytes = await throughCoder(coder, values, [17, 40], { kind: "bytes", bytes: 2 * 57 * rank + 3 + 100 });
      const byElements = await throughCoder(coder, values, [17, 40], { kind: "elements", elements: 57 * rank + 56 });
      expect(byBytes.elements).toBe(57 * rank);
      expect(byElements.bytes).toEqual(byBytes.bytes);
      const error = relativeError(byBytes.values, values);
      const byError = await throughCoder(coder, values, [17, 40], { kind: "relativeError", relativeError: 1.0001 * error });
      expect(byError.elements).toBe(byBytes.elements);
      const finer = await throughCoder(coder, values, [17, 40], { kind: "relativeError", relativeError: 0.999 * error });
      expect(finer.elements).toBe(57 * (rank + 1));
      expect(relativeError(finer.values, values)).toBeLessThan(error);
    }
    await expect(throughCoder(coder, values, [17, 40], { kind: "bytes", bytes: 2 * 57 + 2 })).rejects.toThrow("rank 1 for 17 rows");
    await expect(throughCoder(coder, values, [17, 40], { kind: "relativeError", relativeError: 1e-5 })).rejects.toThrow(CodecTargetError);
  });

  it("takes zeros and numbers of any size", async () => {
    const zero = await throughCoder(coder, new Float32Array(60), [6, 10], { kind: "relativeError", relativeError: 0.1 });
    expect([zero.bytes.length, zero.elements]).toEqual([1, 0]);
    for (const factor of [1e-25, 1e22]) {
      const values = fading(6, 10).map((value) => value * factor);
      const message = await throughCoder(coder, values, [6, 10], { kind: "relativeError", relativeError: 0.01 });
      expect(relativeError(message.values, values)).toBeLessThan(0.01);
    }
  });

  it("sends equal rows as one", async () => {
    const row = randomValues(30);
    const values = Float32Array.from({ length: 240 }, (_, i) => row[i % 30]!);
    const message = await throughCoder(coder, values, [8, 30], { kind: "relativeError", relativeError: 0.001 });
    expect(message.elements).toBe(38);
  });

  it("refuses what is no message, and leaves no tensor behind", async () => {
    using rows = tensor(fading(9, 14), [9, 14]);
    const before = memory().allocations;
    await expectHardened(coder, rows, { kind: "elements", elements: 2 * 23 });
    await coder.encode(rows, { kind: "relativeError", relativeError: 0.05 });
    const huge = new ByteWriter();
    huge.varint(9);
    await expect(coder.decode(new ByteReader(coder.name, huge.finish()), 9, 14, "cpu")).rejects.toThrow(CodecMessageError);
    expect(memory().allocations).toBe(before);
    using many = tensor(new Float32Array(1025), [1025, 1]);
    await expect(coder.encode(many, { kind: "bytes", bytes: 9999 })).rejects.toThrow("1024 at most");
  });
});

describe("lowRankCoder svd", () => {
  it("loses the singular values that it leaves out", async () => {
    for (const [tokens, hiddenSize] of [
      [17, 40],
      [40, 17],
    ] as const) {
      const values = fading(tokens, hiddenSize);
      using rows = tensor(values, [tokens, hiddenSize]);
      const parts = await svd(rows);
      const singular = await parts.singularValues.data("float32");
      for (const part of [parts.u, parts.vh, parts.singularValues]) part.dispose();
      const energy = (from: number): number => singular.slice(from).reduce((sum, value) => sum + value ** 2, 0);
      for (const rank of [1, 3, 6]) {
        const message = await throughCoder(lowRankCoder("svd"), values, [tokens, hiddenSize], { kind: "elements", elements: rank * 57 });
        const expected = Math.sqrt(energy(rank) / energy(0));
        expect(Math.abs(relativeError(message.values, values) - expected)).toBeLessThan(0.01 * expected + 2 ** -11);
      }
    }
  });
});

describe("pivotedQr", () => {
  it.each(sizes)("gives an orthonormal basis of the columns of %i × %i values", (rows, columns) => {
    const values = randomValues(rows * columns, 8);
    const full = Math.min(rows, columns);
    const basis = pivotedQr(values, rows, columns, full);
    const rank = basis.length / rows;
    expect(rank).toBe(full);
    for (let a = 0; a < rank; a++) {
      for (let b = 0; b < rank; b++) {
        let product = 0;
        for (let row = 0; row < rows; row++) product += basis[row * rank + a]! * basis[row * rank + b]!;
        expect(product).toBeCloseTo(a === b ? 1 : 0, 6);
      }
    }
  });

  it("begins with the longest column, and each time with the longest rest", () => {
    // Columns 2, 0 and 1 by length; what column 0 has outside of column 2 is short.
    const columns = [
      [3, 0.1, 0],
      [0, 0, 2],
      [4, 0, 0],
    ];
    const values = Float32Array.from({ length: 9 }, (_, i) => columns[i % 3]![Math.floor(i / 3)]!);
    const basis = pivotedQr(values, 3, 3, 3);
    expect([...basis].map((value) => Math.round(Math.abs(value)))).toEqual([1, 0, 0, 0, 0, 1, 0, 1, 0]);
  });

  it("stops where the matrix ends", () => {
    const row = randomValues(12);
    const values = Float32Array.from({ length: 60 }, (_, i) => row[i % 12]! * (1 + Math.floor(i / 12)));
    expect(pivotedQr(values, 5, 12, 5).length).toBe(5);
  });
});
