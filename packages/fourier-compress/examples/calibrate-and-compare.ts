/**
 * Makes a codec table from text that the model writes itself, and compares codecs at the same number of bytes on other such text:
 * `node examples/calibrate-and-compare.ts [stories] [ratio]`. `fourier-compress calibrate` and `fourier-compress evaluate` do it for
 * any model.
 */
import { calibrateModel, comparePerplexity, sampleSequences } from "@frugal/fourier-compress";
import { loadModel, modelFingerprint, openPretrained } from "@frugal/language-model";

const [stories = "12", ratio = "7.6"] = process.argv.slice(2);
const splitBlock = 1;

const { source } = await openPretrained("stories15M");
const model = await loadModel(source);
const begin = source.config.bosTokenId ?? 1;
const calibration = await sampleSequences(model, begin, { count: Number(stories), maxTokens: 100, seed: 1 });
const test = await sampleSequences(model, begin, { count: 4, maxTokens: 100, seed: 1001 });

const table = await calibrateModel(model, calibration, { model: await modelFingerprint(source.config), splitBlock, source });
console.log(`table ${table.hash.slice(0, 12)} from ${table.rows} rows of ${table.hiddenSize} channels`);

const codecs = ["klt", "channel", "hadamard", "top-k", "fourier-hermitian", "int8"];
const { perplexity, results } = await comparePerplexity(model, splitBlock, test, { table, codecs, ratios: [Number(ratio)] });
console.log(`without codec: perplexity ${perplexity.toFixed(3)}`);
for (const { codec, traffic, perplexity: through, agreement, unavailable } of results) {
  if (traffic === undefined) {
    console.log(`${codec.padEnd(18)} ${unavailable}`);
    continue;
  }
  console.log(
    `${codec.padEnd(18)} ${traffic.byteRatioFloat16.toFixed(2)} x float16, relative error ${traffic.relativeError.toFixed(3)}, ` +
      `perplexity ${through!.toFixed(3)}, next-token agreement ${(100 * agreement!).toFixed(1)} %`,
  );
}
await source.close();
model.dispose();
