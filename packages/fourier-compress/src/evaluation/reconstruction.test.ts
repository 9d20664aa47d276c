import { beforeAll, describe, expect, it } from "vitest";
import { memory } from "@frugal/tensor-core";
import type { CodecTable } from "../calibration/codec-table.ts";
import { createCodec } from "../codecs/registry.ts";
import { SettingsError } from "../errors.ts";
import { calibrateActivations } from "./calibrate-activations.ts";
import { comparedCodec, COMPARED_CODECS } from "./compared-codecs.ts";
import { syntheticActivations, SYNTHETIC_WIDTH } from "./evaluation.testing.ts";
import { measureReconstruction, type MessageRows } from "./reconstruction.ts";
import { compareReconstruction, messagesOf, reconstructionMarkdown, type ReconstructionRow } from "./reconstruction-comparison.ts";

const set = syntheticActivations();
const options = { hiddenSize: SYNTHETIC_WIDTH };
let table: CodecTable;
beforeAll(async () => void (table = await calibrateActivations(set)));

describe("measureReconstruction", () => {
  it("counts bytes with headers, and errors over all rows together", async () => {
    const messages: MessageRows[] = [
      { rows: Float32Array.of(1, 2, 3, 4), tokens: 2, positionOffset: 0 }, { rows: Float32Array.of(0.1, 0), tokens: 1, positionOffset: 0 },
    ];
    const exact = await measureReconstruction(createCodec("float32"), messages, { hiddenSize: 2 });
    expect(exact).toMatchObject({ relativeError: 0, messages: 2, tokens: 3, elementRatio: 1 });
    expect(exact.bytes).toBeGreaterThan(24);
    expect(exact.byteRatioFloat32).toBeCloseTo(24 / exact.bytes, 12);
    expect(exact.byteRatioFloat16).toBeCloseTo(12 / exact.bytes, 12);
    const half = await measureReconstruction(createCodec("float16"), messages, { hiddenSize: 2 });
    const lost = 0.1 - 0.0999755859375;
    expect(half.relativeError).toBeCloseTo(lost / Math.sqrt(30.01), 9);
  });

  it("refuses messages that do not fit", async () => {
    const codec = createCodec("float32");
    await expect(measureReconstruction(codec, [], options)).rejects.toThrow(SettingsError);
    const broken = [{ rows: new Float32Array(5), tokens: 1, positionOffset: 0 }];
    await expect(measureReconstruction(codec, broken, options)).rejects.toThrow("5 values");
  });
});

describe("comparedCodec", () => {
  it("reads what a ratio counts, and which shapes there are", () => {
    expect(comparedCodec("klt")).toEqual({ key: "klt", label: "KLT + quantiser + rANS", name: "klt", of: "bytes" });
    expect(comparedCodec("fourier-hermitian:elements")).toMatchObject({
      name: "fourier-hermitian", of: "elements", tokenShares: [0.15, 0.25, 0.5, 1],
    });
    expect(comparedCodec("cosine:any-shape").tokenShares![0]).toBe(0.02);
    for (const key of ["nothing", "klt:bytes", "int8:elements", "klt:any-shape", "top-k:elements:elements"]) {
      expect(() => comparedCodec(key)).toThrow(SettingsError);
    }
    for (const key of COMPARED_CODECS) expect(comparedCodec(key).key).toBe(key);
  });
});

describe("compareReconstruction", () => {
  it("measures all codecs at equal bytes, begin rows out and in", async () => {
    const before = memory().allocations;
    const comparison = await compareReconstruction(set, table, { ratios: [2.5] });
    expect(memory().allocations).toBe(before);
    expect(comparison).toMatchObject({ activations: "synthetic", block: 2, rows: 95, prompts: 3, complete: true });
    const result = (codec: string): ReconstructionRow => comparison.results.find((row) => row.codec === codec)!;
    for (const codec of ["channel", "klt", "hadamard", "top-k", "pca-float16"]) {
      const row = result(codec);
      expect([codec, row.unavailable]).toEqual([codec, undefined]);
      expect(row.result!.byteRatioFloat16).toBeGreaterThanOrEqual(2.5);
      expect(row.result!.byteRatioFloat16).toBeLessThan(3);
      // The begin rows, with most of the energy, cost a bit and come back exactly.
      expect(row.withBeginRows!.relativeError).toBeLessThan(row.result!.relativeError);
    }
    expect(result("klt").result!.relativeError).toBeLessThan(result("channel").result!.relativeError);
    expect(result("channel").result!.relativeError).toBeLessThan(result("fourier-hermitian").result!.relativeError);
    const once = result("fourier-hermitian:elements").result!;
    expect(once.elementRatio).toBeGreaterThanOrEqual(2.5);
    expect(once.byteRatioFloat16).toBeLessThan(0.7 * once.elementRatio);
    expect(result("float16").result!.relativeError).toBe(0);
    expect(result("fwsvd").unavailable).toContain("Fisher");
    const markdown = reconstructionMarkdown(comparison);
    expect(markdown).toContain("| KLT + quantiser + rANS |");
    expect(markdown).toContain("FWSVD-style: fwsvd codec");
  });

  it("leaves every message its own ratio where that is asked for", async () => {
    const { results } = await compareReconstruction(set, table, { codecs: ["channel"], ratios: [2], allocation: "each-message" });
    expect(results[0]!.mode).toEqual({ kind: "ratio", ratio: 2, of: "bytes" });
    expect(results[0]!.result!.byteRatioFloat16).toBeGreaterThanOrEqual(2);
  });

  it("does not measure again what is there, and ends with what there is", async () => {
    const controller = new AbortController();
    const seen: string[] = [];
    const first = await compareReconstruction(set, table, {
      codecs: ["int8", "top-k", "klt"], ratios: [3], signal: controller.signal,
      onRow: (row) => (seen.push(row.codec), row.codec === "top-k" ? controller.abort() : undefined),
    });
    expect([seen, first.complete]).toEqual([["int8", "top-k"], false]);
    const second = await compareReconstruction(set, table, {
      codecs: ["int8", "top-k", "klt"], ratios: [3], done: first.results, onRow: (row) => void seen.push(row.codec),
    });
    expect([seen, second.complete]).toEqual([["int8", "top-k", "klt"], true]);
    expect(second.results[1]).toBe(first.results[1]);
  });

  it("keeps begin rows where the set has none to leave out", () => {
    const { beginRow: _, ...without } = set;
    expect(messagesOf(without).map(({ tokens, positionOffset }) => [tokens, positionOffset])).toEqual([[25, 0], [32, 0], [41, 0]]);
    expect(messagesOf(set).map(({ tokens, positionOffset }) => [tokens, positionOffset])).toEqual([[24, 1], [31, 1], [40, 1]]);
  });
});
