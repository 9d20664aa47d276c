import { memory, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { CODEC_TABLE_VERSION, type CodecTable } from "../calibration/codec-table.ts";
import { CodecTableError } from "../errors.ts";
import { lowRankCoder } from "./low-rank.ts";
import { expectHardened, randomValues, relativeError, throughCoder } from "./row-coder.testing.ts";
import { weightedLowRankCoder, type WeightedLowRankKind } from "./weighted-low-rank.ts";

const [tokens, hiddenSize] = [16, 24];
const values = randomValues(tokens * hiddenSize, 2);
const rank = 4;
const target = { kind: "elements", elements: rank * (tokens + hiddenSize) } as const;

function tableOf(parts: Partial<CodecTable>): CodecTable {
  const ones = new Float32Array(hiddenSize).fill(1);
  return {
    model: "test",
    block: 1,
    hiddenSize,
    rows: 100,
    mean: new Float32Array(hiddenSize),
    channelScale: ones,
    spikeNorm: 1e9,
    secondMoment: ones,
    fourierTokenShare: 0.2,
    rates: {},
    hash: String(CODEC_TABLE_VERSION),
    ...parts,
  };
}

/** Channel weights that differ by a factor of 30. */
const weights = Float32Array.from({ length: hiddenSize }, (_, d) => (d % 3 === 0 ? 3 : 0.1));

/** Lower triangular, well conditioned. */
const triangle = randomValues(hiddenSize ** 2, 6).map((value, i) => {
  const [row, column] = [Math.floor(i / hiddenSize), i % hiddenSize];
  return row === column ? 1 + weights[row]! : column < row ? value : 0;
});

/** ‖(A′ - A)·M‖ by definition. */
function weightedError(after: Float32Array, metric: (from: number, to: number) => number): number {
  let sum = 0;
  for (let row = 0; row < tokens; row++) {
    for (let to = 0; to < hiddenSize; to++) {
      let entry = 0;
      for (let from = 0; from < hiddenSize; from++) {
        const place = row * hiddenSize + from;
        entry += (after[place]! - values[place]!) * metric(from, to);
      }
      sum += entry ** 2;
    }
  }
  return Math.sqrt(sum);
}

const diagonal = (of: (d: number) => number) => (from: number, to: number) => (from === to ? of(from) : 0);

const kinds: readonly { kind: WeightedLowRankKind; table: CodecTable; metric: (from: number, to: number) => number }[] = [
  { kind: "fwsvd", table: tableOf({ fisher: weights.map((weight) => weight ** 2) }), metric: diagonal((d) => weights[d]!) },
  { kind: "asvd", table: tableOf({ secondMoment: weights.map((weight) => weight ** 4) }), metric: diagonal((d) => weights[d]!) },
  { kind: "svd-llm", table: tableOf({ consumerFactor: triangle }), metric: (from, to) => triangle[from * hiddenSize + to]! },
];

describe.each(kinds)("weightedLowRankCoder $kind", ({ kind, table, metric }) => {
  const coder = weightedLowRankCoder(kind, table);

  it("is better than the plain decomposition in its own norm, and worse in the plain one", async () => {
    const weighted = await throughCoder(coder, values, [tokens, hiddenSize], target);
    const plain = await throughCoder(lowRankCoder("svd"), values, [tokens, hiddenSize], target);
    expect(weighted.bytes.length).toBe(plain.bytes.length);
    expect(weightedError(weighted.values, metric)).toBeLessThan(0.95 * weightedError(plain.values, metric));
    expect(relativeError(weighted.values, values)).toBeGreaterThan(1.01 * relativeError(plain.values, values));
  });

  it("is the best of its rank: no other of that rank has less error in its norm", async () => {
    // The truncated singular value decomposition of A·M, taken from the plain coder at float32-like precision, bounds it from below.
    const product = new Float32Array(tokens * hiddenSize);
    for (let row = 0; row < tokens; row++) {
      for (let to = 0; to < hiddenSize; to++) {
        for (let from = 0; from < hiddenSize; from++)
          product[row * hiddenSize + to]! += values[row * hiddenSize + from]! * metric(from, to);
      }
    }
    const best = await throughCoder(lowRankCoder("svd"), product, [tokens, hiddenSize], target);
    const bound = relativeError(best.values, product) * Math.sqrt(product.reduce((sum, value) => sum + value ** 2, 0));
    const weighted = await throughCoder(coder, values, [tokens, hiddenSize], target);
    expect(weightedError(weighted.values, metric) / bound).toBeCloseTo(1, 2);
  });

  it("meets plain relative errors, refuses what is no message, and leaves no tensor behind", async () => {
    const message = await throughCoder(coder, values, [tokens, hiddenSize], { kind: "relativeError", relativeError: 0.2 });
    expect(relativeError(message.values, values)).toBeLessThanOrEqual(0.2);
    using rows = tensor(values, [tokens, hiddenSize]);
    const before = memory().allocations;
    await expectHardened(coder, rows, target);
    using other = tensor(values, [hiddenSize, tokens]);
    await expect(coder.encode(other, target)).rejects.toThrow(CodecTableError);
    expect(memory().allocations).toBe(before + 1);
  });
});

describe("weightedLowRankCoder", () => {
  it("needs what the table has to hold", () => {
    expect(() => weightedLowRankCoder("fwsvd", tableOf({}))).toThrow("Fisher");
    expect(() => weightedLowRankCoder("svd-llm", tableOf({}))).toThrow(CodecTableError);
    expect(() => weightedLowRankCoder("asvd", tableOf({ secondMoment: new Float32Array(hiddenSize) }))).toThrow(CodecTableError);
  });
});
