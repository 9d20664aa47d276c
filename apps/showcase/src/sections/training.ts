import {
  createModel,
  createTokenDataset,
  generateText,
  loadMobyDick,
  smallModelConfiguration,
  splitText,
  trainBytePairEncoding,
  Trainer,
  validationLoss,
} from "@frugal/language-model";
import { Generator } from "@frugal/tensor-core";
import { lineChart } from "../report/charts.ts";
import type { Section } from "../section.ts";

const totalSteps = 220;
const sequenceLength = 128;
const batchSize = 8;
/** A slow machine stops here and says so. */
const maximumSeconds = 120;
const prompt = "The whale";

/** A small model learns real text from nothing. */
export const trainingSection: Section = {
  title: "A small model learns Moby-Dick",
  packageName: "language-model",
  async run({ progress, signal }) {
    const { train, validation } = splitText(await loadMobyDick(), 0.05);
    progress.line("  training a tokenizer …");
    const tokenizer = trainBytePairEncoding(train, { vocabularySize: 2048 });
    const trainIds = tokenizer.encode(train);
    const dataset = createTokenDataset(trainIds, { sequenceLength, batchSize, seed: 1 });
    const heldOut = createTokenDataset(tokenizer.encode(validation), { sequenceLength, batchSize, shuffle: false });
    const config = smallModelConfiguration({
      vocabularySize: tokenizer.vocabularySize,
      hiddenSize: 192,
      numHiddenLayers: 6,
      numAttentionHeads: 6,
      maxPositionEmbeddings: 256,
    });
    using model = createModel(config, { generator: new Generator(1) });
    const write = async (): Promise<string> =>
      prompt + (await generateText(model, tokenizer, prompt, { maxNewTokens: 60, temperature: 0.8, topK: 40, seed: 3 })).text;
    const before = await write();
    using trainer = new Trainer(model, dataset, { totalSteps, learningRate: 3e-3 });
    const losses: [number, number][] = [];
    const validationLosses: [number, number][] = [[0, await validationLoss(model, heldOut, 4)]];
    const started = performance.now();
    let tokens = 0;
    let stoppedBy = "";
    progress.start(`training ${(model.parameterCount / 1e6).toFixed(1)} M parameters`, totalSteps);
    while (trainer.optimizer.stepCount < totalSteps) {
      if (signal.aborted) stoppedBy = "interrupted";
      else if (performance.now() - started > maximumSeconds * 1000) stoppedBy = `stopped after ${maximumSeconds} s`;
      if (stoppedBy) break;
      const { step, loss, tokens: count } = await trainer.step();
      tokens += count;
      losses.push([step, loss]);
      if (step % 44 === 0) validationLosses.push([step, await validationLoss(model, heldOut, 4)]);
      progress.update(step, `loss ${loss.toFixed(2)}`);
    }
    progress.stop();
    const seconds = (performance.now() - started) / 1000;
    const after = await write();
    progress.line(`  before: ${before.replaceAll(/\s+/g, " ").slice(0, 100)} …`);
    progress.line(`  after:  ${after.replaceAll(/\s+/g, " ").slice(0, 100)} …`);
    return [
      {
        kind: "paragraph",
        text:
          `${(model.parameterCount / 1e6).toFixed(1)} million parameters, ${config.numHiddenLayers} Llama blocks of width ${config.hiddenSize}, from random weights; ` +
          `a byte-pair vocabulary of ${tokenizer.vocabularySize} learnt from the same text; the last 5 % of the book is held out.${stoppedBy ? ` The run was ${stoppedBy}.` : ""}`,
      },
      {
        kind: "figures",
        figures: [
          {
            label: "Training speed",
            value: `${(tokens / seconds).toFixed(0)} tokens/s`,
            note: `${trainer.optimizer.stepCount} steps in ${seconds.toFixed(0)} s`,
          },
          {
            label: "Training loss",
            value: `${losses[0]?.[1].toFixed(2) ?? "–"} → ${losses.at(-1)?.[1].toFixed(2) ?? "–"}`,
            note: "nats per token",
          },
          {
            label: "Held-out loss",
            value: `${validationLosses[0]![1].toFixed(2)} → ${validationLosses.at(-1)![1].toFixed(2)}`,
            note: `a uniform guess is ${Math.log(tokenizer.vocabularySize).toFixed(2)}`,
          },
        ],
      },
      {
        kind: "chart",
        title: "Loss by step",
        svg: lineChart(
          [
            { name: "training", points: losses },
            { name: "held out", points: validationLosses, marks: true },
          ],
          { x: "step", y: "nats per token" },
        ),
      },
      { kind: "quote", label: "Before training", text: before },
      { kind: "quote", label: "After training", text: after },
    ];
  },
};
