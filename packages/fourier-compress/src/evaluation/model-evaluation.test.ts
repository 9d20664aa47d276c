import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compareModels, createByteTokenizer, createModel, smallModelConfiguration, SplitModel } from "@frugal/language-model";
import { Generator, memory, tensor } from "@frugal/tensor-core";
import { calibrateModel } from "../calibration/calibrate.ts";
import type { CodecTable } from "../calibration/codec-table.ts";
import { createCodec } from "../codecs/registry.ts";
import { EvaluationDataError, SettingsError } from "../errors.ts";
import { tinyModel } from "../tiny-model.testing.ts";
import { DeviceHalf } from "./coded-model.ts";
import { LeakageProbe } from "./leakage.ts";
import { accuracyOf, compareMultipleChoice, multipleChoiceMarkdown } from "./multiple-choice.ts";
import { comparePerplexity, perplexityMarkdown } from "./perplexity-comparison.ts";

const model = tinyModel();
const ids = (length: number, start: number): number[] => [1, ...Array.from({ length }, (_, i) => 2 + ((start + i * i * 5 + i) % 58))];
const sequences = [ids(20, 1), ids(33, 7), ids(12, 30)];
let table: CodecTable;
beforeAll(async () => {
  table = await calibrateModel(model, Array.from({ length: 8 }, (_, i) => ids(30, 11 * i)), { model: "tiny", splitBlock: 2 });
});
afterAll(() => model.dispose());

describe("DeviceHalf", () => {
  it("scores as the whole model without codec, and as a split one with it", async () => {
    const half = new DeviceHalf(model, 2);
    const exact = await compareModels(model, half.through(), sequences);
    expect(exact.candidate).toEqual(exact.reference);
    const codec = createCodec("channel", { table, mode: { kind: "step", step: 0.3 } });
    const through = half.through(codec);
    const coded = await compareModels(model, through, sequences);
    const split = new SplitModel(model, { codec, splitBlock: 2 });
    expect(coded.candidate.logProbability).toBeCloseTo((await compareModels(model, split, sequences)).candidate.logProbability, 3);
    expect(coded.candidate.logProbability).not.toBe(coded.reference.logProbability);
    expect(through.traffic).toMatchObject({ messages: 3, tokens: 65, bytes: split.traffic.bytes });
  });

  it("computes the device's part once", async () => {
    let calls = 0;
    const spied = new Proxy(model, {
      get(target, name) {
        if (name === "embed") return (input: Parameters<typeof model.embed>[0]) => (calls++, target.embed(input));
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
    await comparePerplexity(spied, 2, sequences, { table, codecs: ["int8", "klt", "top-k"], ratios: [2, 4] });
    expect(calls).toBe(sequences.length);
  });

  it("counts messages as often as they are sent", async () => {
    const half = new DeviceHalf(model, 2);
    await compareModels(model, half.through(), [...sequences, sequences[0]!]);
    const tokens = (at: number): number => sequences[at]!.length - 1;
    expect(half.messages().map((message) => message.tokens)).toEqual([tokens(0), tokens(1), tokens(2), tokens(0)]);
  });

  it("computes anew what it may not keep", async () => {
    const half = new DeviceHalf(model, 2, { keptBytes: 0 });
    expect(await half.activations(sequences[0]!)).toEqual(await new DeviceHalf(model, 2).activations(sequences[0]!));
    expect(half.messages()).toEqual([]);
  });

  it("refuses splits outside the model, batches and caches", async () => {
    expect(() => new DeviceHalf(model, 5)).toThrow(SettingsError);
    using two = tensor(Int32Array.of(1, 2, 3, 4), [2, 2]);
    await expect(new DeviceHalf(model, 1).through().forward(two)).rejects.toThrow("one whole sequence");
  });
});

describe("comparePerplexity", () => {
  it("gives perplexity, agreement and ratios, at equal bytes", async () => {
    const before = memory().allocations;
    const rows: string[] = [];
    const comparison = await comparePerplexity(model, 2, sequences, {
      table, codecs: ["float32", "klt", "top-k", "fourier-hermitian:elements", "fwsvd"], ratios: [3], leakageTokens: 40,
      onRow: (row) => void rows.push(row.codec),
    });
    expect(memory().allocations).toBe(before);
    expect(rows).toEqual(["float32", "klt", "top-k", "fourier-hermitian:elements", "fwsvd"]);
    const [exact, klt, topK, , fwsvd] = comparison.results;
    expect(exact).toMatchObject({ perplexity: comparison.perplexity, perplexityRise: 0, agreement: 1 });
    expect(klt!.traffic!.byteRatioFloat16).toBeGreaterThanOrEqual(3);
    expect(klt!.traffic!.byteRatioFloat16).toBeLessThan(3.3);
    expect(klt!.traffic!.relativeError).toBeLessThan(topK!.traffic!.relativeError);
    expect(klt!.agreement).toBeGreaterThan(0);
    for (const row of [exact!, klt!]) expect(row.leakage).toBeGreaterThanOrEqual(0);
    expect(fwsvd!.unavailable).toContain("Fisher");
    // Begin rows cost nothing and are not counted.
    expect(klt!.traffic!.tokens).toBe(65 - (table.beginRow === undefined ? 0 : 3));
    expect(comparison).toMatchObject({ tokens: 65, sequences: 3, splitBlock: 2, tableHash: table.hash, complete: true });
    expect(perplexityMarkdown(comparison)).toContain("Compression is no privacy");
  });

  it("takes a word that sequences happen to begin with for no begin token", async () => {
    const { results } = await comparePerplexity(model, 0, [[5, 5, 5, 5], [6, 5, 6]], { codecs: ["float32"], leakageTokens: 3 });
    expect(results).toMatchObject([{ leakage: expect.any(Number) as number }]);
  });

  it("refuses a table of another split", async () => {
    await expect(comparePerplexity(model, 1, sequences, { table })).rejects.toThrow("the codec table is for block 2");
  });

  it("ends with what there is", async () => {
    const controller = new AbortController();
    const options = { table, codecs: ["int8", "top-k"], ratios: [3], signal: controller.signal };
    const comparison = await comparePerplexity(model, 2, sequences, { ...options, onRow: () => controller.abort() });
    expect([comparison.results.length, comparison.complete]).toEqual([1, false]);
    await expect(comparePerplexity(model, 2, sequences, options)).rejects.toThrow("abort");
  });
});

describe("compareMultipleChoice", () => {
  const tokenizer = createByteTokenizer();
  const configuration = smallModelConfiguration({
    vocabularySize: tokenizer.vocabularySize, hiddenSize: 16, numHiddenLayers: 2, numAttentionHeads: 2, maxPositionEmbeddings: 64,
  });
  const byteModel = createModel(configuration, { generator: new Generator(2) });
  afterAll(() => byteModel.dispose());
  const questions = [
    { id: "a", question: "1?", choices: ["x", "yes, it is"], answer: 1 },
    { id: "b", question: "2?", choices: ["no", "maybe", "x"], answer: 0 },
  ];

  it("scores choices as continuations, whole and by character", async () => {
    const set = { name: "mine", questions };
    const comparison = await compareMultipleChoice(byteModel, tokenizer, 1, set, { codecs: ["float32", "int4", "klt"], ratios: [3] });
    expect(comparison.chance).toBeCloseTo((1 / 2 + 1 / 3) / 2, 12);
    const [exact, int4, klt] = comparison.results;
    expect(exact!.score).toEqual(comparison.reference);
    expect(exact!.agreement).toBe(1);
    expect(int4!.score!.answerPerplexity).not.toBe(comparison.reference.answerPerplexity);
    expect(klt!.unavailable).toContain("table");
    // The reference, from scores of whole sequences.
    const half = new DeviceHalf(byteModel, 1);
    const { choiceSequences } = await import("./questions.ts");
    const { tokenLogProbabilities } = await import("@frugal/language-model");
    let [right, normalized, loss, tokens] = [0, 0, 0, 0];
    for (const question of questions) {
      const scores = [];
      for (const { ids: choice, from } of choiceSequences(question, tokenizer)) {
        scores.push([...(await tokenLogProbabilities(half.through(), choice))].slice(from - 1));
      }
      const sums = scores.map((values) => values.reduce((sum, value) => sum + value, 0));
      const perCharacter = sums.map((sum, i) => sum / question.choices[i]!.length);
      right += sums.indexOf(Math.max(...sums)) === question.answer ? 1 : 0;
      normalized += perCharacter.indexOf(Math.max(...perCharacter)) === question.answer ? 1 : 0;
      loss -= sums[question.answer]!;
      tokens += scores[question.answer]!.length;
    }
    const expected = { questions: 2, accuracy: accuracyOf(right, 2), normalizedAccuracy: accuracyOf(normalized, 2) };
    expect(comparison.reference).toMatchObject(expected);
    expect(comparison.reference.answerPerplexity).toBeCloseTo(Math.exp(loss / tokens), 3);
    expect(multipleChoiceMarkdown(comparison)).toContain("| no codec |");
  });

  it("gives the binomial standard error", () => {
    expect(accuracyOf(64, 100)).toEqual({ share: 0.64, standardError: 0.048 });
    expect(accuracyOf(0, 7).standardError).toBe(0);
  });

  it("refuses questions longer than the context", async () => {
    const long = { name: "long", questions: [{ id: "q", question: "why ".repeat(30), choices: ["a", "b"], answer: 0 }] };
    await expect(compareMultipleChoice(byteModel, tokenizer, 1, long)).rejects.toThrow(EvaluationDataError);
  });
});

describe("LeakageProbe", () => {
  it("recovers all tokens from embeddings and none from nothing", async () => {
    const before = memory().allocations;
    const probe = new LeakageProbe(model);
    const sent = ids(40, 3);
    using input = tensor(Int32Array.from(sent), [1, sent.length]);
    using embedded = model.embed(input);
    const rows = await embedded.data("float32");
    expect(await probe.recoveredShare([{ ids: sent, rows }])).toBeGreaterThan(0.9);
    expect(await probe.recoveredShare([{ ids: sent, rows }], { skip: [1] })).toBeGreaterThan(0.9);
    const shuffled = [...sent.slice(7), ...sent.slice(0, 7)];
    expect(await probe.recoveredShare([{ ids: shuffled, rows }])).toBeLessThan(0.4);
    await expect(probe.recoveredShare([{ ids: sent, rows: rows.slice(1) }])).rejects.toThrow(SettingsError);
    await expect(probe.recoveredShare([{ ids: [1], rows: rows.slice(0, model.hiddenSize) }], { skip: [1] })).rejects.toThrow("no row");
    input.dispose();
    embedded.dispose();
    expect(memory().allocations).toBe(before);
  });
});
