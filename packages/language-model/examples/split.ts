/**
 * Splits a model after its first block, as between a device and a server, sends the activations through a codec that rounds them to eight
 * bits a value, and measures what that costs: `node examples/split.ts`.
 */
import {
  generateText, loadModel, openPretrained, rawActivationCodec, scoreSequences, SplitModel, type ActivationCodec,
} from "@frugal/language-model";
import { tensor } from "@frugal/tensor-core";

/** Each token as a scale (float32) and one signed byte a value. */
const int8Codec: ActivationCodec = {
  name: "int8",
  async encode(hidden) {
    const [tokens, hiddenSize] = hidden.shape as readonly [number, number];
    const values = await hidden.data("float32");
    const message = new Uint8Array(tokens * (4 + hiddenSize));
    const view = new DataView(message.buffer);
    for (let token = 0; token < tokens; token++) {
      const row = values.subarray(token * hiddenSize, (token + 1) * hiddenSize);
      const scale = row.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) / 127;
      view.setFloat32(token * (4 + hiddenSize), scale, true);
      row.forEach((value, i) => view.setInt8(token * (4 + hiddenSize) + 4 + i, scale === 0 ? 0 : Math.round(value / scale)));
    }
    return message;
  },
  async decode(message, { limits: { tokens: most, hiddenSize } }, device) {
    const tokens = message.byteLength / (4 + hiddenSize);
    if (!Number.isInteger(tokens) || tokens > most) throw new Error(`${message.byteLength} bytes are not a message`);
    const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
    const values = new Float32Array(tokens * hiddenSize);
    for (let token = 0; token < tokens; token++) {
      const start = token * (4 + hiddenSize);
      const scale = view.getFloat32(start, true);
      for (let i = 0; i < hiddenSize; i++) values[token * hiddenSize + i] = scale * view.getInt8(start + 4 + i);
    }
    return tensor(values, [tokens, hiddenSize], { device });
  },
};

const { source, loadTokenizer } = await openPretrained("stories15M");
const tokenizer = await loadTokenizer();
const model = await loadModel(source);
await source.close();
const story = tokenizer.encode("Once upon a time, there was a little girl named Lily. She loved to play outside in the sunshine.");

for (const codec of [rawActivationCodec("float32"), rawActivationCodec("float16"), int8Codec]) {
  const split = new SplitModel(model, { codec, splitBlock: 1 });
  const { perplexity } = await scoreSequences(split, [story]);
  const { text } = await generateText(split, tokenizer, "Once upon a time", { maxNewTokens: 16 });
  const { messages, bytes, float16Bytes } = split.traffic;
  const share = (bytes / float16Bytes).toFixed(2);
  console.log(`${codec.name.padEnd(8)} perplexity ${perplexity.toFixed(4)}, ${messages} messages, ${bytes} bytes = ${share} x float16`);
  console.log(`         Once upon a time${text}`);
}
model.dispose();
