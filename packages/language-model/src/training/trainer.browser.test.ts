import { Generator } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { createTokenDataset } from "../datasets/token-dataset.ts";
import { generateText } from "../generation/generate.ts";
import { createModel, smallModelConfiguration } from "../model/create-model.ts";
import { trainBytePairEncoding } from "../tokenizer/byte-pair-training.ts";
import { RECORDED_RUN, trainRecordedRun } from "./recorded-run.testing.ts";
import { Trainer } from "./trainer.ts";

describe("training in the browser", () => {
  it("takes the recorded steps, to the bit, as it does in Node", async () => {
    expect(await trainRecordedRun()).toEqual(RECORDED_RUN);
  });

  it("learns a repeated sentence by heart", async () => {
    const text = "the quick brown fox jumps over the lazy dog. ".repeat(30);
    const tokenizer = trainBytePairEncoding(text, { vocabularySize: 280 });
    const dataset = createTokenDataset(tokenizer.encode(text), { sequenceLength: 16, batchSize: 4, seed: 2 });
    const config = smallModelConfiguration({
      vocabularySize: tokenizer.vocabularySize, hiddenSize: 32, numHiddenLayers: 2, numAttentionHeads: 4, numKeyValueHeads: 2,
    });
    using model = createModel(config, { generator: new Generator(7) });
    using trainer = new Trainer(model, dataset, { totalSteps: 80, learningRate: 1e-2 });
    const losses: number[] = [];
    for (let i = 0; i < 80; i++) losses.push((await trainer.step()).loss);
    expect(losses[0]).toBeCloseTo(Math.log(tokenizer.vocabularySize), 0);
    expect(losses.at(-1)).toBeLessThan(0.2);
    const { text: written } = await generateText(model, tokenizer, "the quick", { maxNewTokens: 12 });
    expect("the quick brown fox jumps over the lazy dog. the quick brown fox").toContain(`the quick${written}`.slice(0, 40));
  });
});
