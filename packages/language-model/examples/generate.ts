/**
 * Generates text: `node examples/generate.ts [model] [prompt]`. The model is a path, owner/name on the Hugging Face hub, stories15M or
 * tinyllama.
 */
import { loadModel, openPretrained, streamText } from "@frugal/language-model";

const [name = "stories15M", prompt = "Once upon a time"] = process.argv.slice(2);

const { source, loadTokenizer } = await openPretrained(name);
const tokenizer = await loadTokenizer();
const model = await loadModel(source, { precision: "int8" });
await source.close();

process.stdout.write(prompt);
let tokens = 0;
const started = performance.now();
for await (const piece of streamText(model, tokenizer, prompt, { maxNewTokens: 120, temperature: 0.8, topP: 0.9, seed: 42 })) {
  process.stdout.write(piece);
  tokens++;
}
const seconds = (performance.now() - started) / 1000;
console.log(`\n\n${(model.weightBytes / 1e6).toFixed(1)} MB of weights, about ${(tokens / seconds).toFixed(0)} tokens/s`);
model.dispose();
