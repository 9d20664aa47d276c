import { Generator, type DeviceName } from "@frugal/tensor-core";
import { createTokenDataset } from "../datasets/token-dataset.ts";
import { createModel, smallModelConfiguration } from "../model/create-model.ts";
import { trainBytePairEncoding } from "../tokenizer/byte-pair-training.ts";
import { Trainer } from "./trainer.ts";

/** Loss and gradient norm of each step of `trainRecordedRun`: float32 numbers, written in full, the same bits wherever it runs. */
export const RECORDED_RUN: readonly (readonly [loss: number, gradientNorm: number])[] = [
  [5.637118816375732, 2.381107807159424],
  [4.928246021270752, 3.1355836391448975],
  [4.4818902015686035, 7.637677192687988],
  [3.9770126342773438, 1.5186840295791626],
  [3.5399982929229736, 2.407839775085449],
  [3.3943841457366943, 4.110830783843994],
  [3.037557363510132, 2.563706159591675],
  [2.8501691818237305, 1.867648959159851],
];

/** A few steps of a small model, all from seeds. */
export async function trainRecordedRun(device: DeviceName = "cpu"): Promise<[loss: number, gradientNorm: number][]> {
  const text = "the quick brown fox jumps over the lazy dog. ".repeat(30);
  const tokenizer = trainBytePairEncoding(text, { vocabularySize: 280 });
  const dataset = createTokenDataset(tokenizer.encode(text), { sequenceLength: 24, batchSize: 4, seed: 2 });
  const config = smallModelConfiguration({
    vocabularySize: tokenizer.vocabularySize, hiddenSize: 48, numHiddenLayers: 2, numAttentionHeads: 4, numKeyValueHeads: 2,
  });
  using model = createModel(config, { generator: new Generator(7), device });
  using trainer = new Trainer(model, dataset, { totalSteps: 8, learningRate: 1e-2 });
  const taken: [number, number][] = [];
  for (let i = 0; i < 8; i++) {
    const { loss, gradientNorm } = await trainer.step();
    taken.push([loss, gradientNorm]);
  }
  return taken;
}
