/**
 * A codec of one's own: `node examples/custom-codec.ts`. It keeps the sign of each value and one scale a token, 1 bit a value. Header,
 * bounds, exact rows and several sequences in a message come with `createCodec`; a codec is the bytes of one sequence's rows.
 */
import { createCodec, registerCodec, type RowCoder } from "@frugal/fourier-compress";
import { loadModel, openPretrained, scoreSequences, SplitModel } from "@frugal/language-model";
import { tensor } from "@frugal/tensor-core";

const signCoder: RowCoder = {
  name: "sign",
  id: 48,
  targets: [],
  async encode(rows) {
    const [tokens, hiddenSize] = rows.shape as readonly [number, number];
    const values = await rows.data("float32");
    const width = Math.ceil(hiddenSize / 8);
    const bytes = new Uint8Array(tokens * (4 + width));
    const view = new DataView(bytes.buffer);
    for (let token = 0; token < tokens; token++) {
      const row = values.subarray(token * hiddenSize, (token + 1) * hiddenSize);
      const start = token * (4 + width);
      view.setFloat32(start, row.reduce((sum, value) => sum + Math.abs(value), 0) / hiddenSize, true);
      for (const [i, value] of row.entries()) if (value < 0) bytes[start + 4 + (i >> 3)]! |= 1 << (i & 7);
    }
    return { bytes, elements: tokens * hiddenSize };
  },
  async decode(reader, tokens, hiddenSize, device) {
    const width = Math.ceil(hiddenSize / 8);
    // Taken before anything is allocated: a message that is too short is refused here.
    const bytes = reader.bytes(tokens * (4 + width));
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const values = new Float32Array(tokens * hiddenSize);
    for (let token = 0; token < tokens; token++) {
      const start = token * (4 + width);
      const scale = view.getFloat32(start, true);
      for (let i = 0; i < hiddenSize; i++) {
        const isNegative = (bytes[start + 4 + (i >> 3)]! >> (i & 7)) & 1;
        values[token * hiddenSize + i] = isNegative === 1 ? -scale : scale;
      }
    }
    return tensor(values, [tokens, hiddenSize], { device });
  },
};

// On both ends: clients and servers find it by its name, messages by its id.
registerCodec({ name: "sign", id: 48, needsTable: false, isFixedRate: true, create: () => signCoder });

const { source, loadTokenizer } = await openPretrained("stories15M");
const tokenizer = await loadTokenizer();
const model = await loadModel(source);
await source.close();
const story = tokenizer.encode("Once upon a time, there was a little girl named Lily. She loved to play outside in the sunshine.");
for (const name of ["float32", "sign"]) {
  const split = new SplitModel(model, { codec: createCodec(name), splitBlock: 1 });
  const { perplexity } = await scoreSequences(split, [story]);
  const { bytes, float16Bytes } = split.traffic;
  console.log(`${name.padEnd(8)} ${(float16Bytes / bytes).toFixed(2)} x smaller than float16, perplexity ${perplexity.toFixed(2)}`);
}
model.dispose();
