/**
 * A codec of one's own for `codec-on-links.ts`: each token's row as int8 with a scale, a quarter of the bytes. What comes from a peer is
 * checked before anything is allocated for it.
 */
import { LanguageModelError, type ActivationCodec } from "@frugal/language-model";
import { tensor } from "@frugal/tensor-core";

const HEADER_BYTES = 8;

const codec: ActivationCodec = {
  name: "int8-rows",
  async encode(hidden) {
    const [tokens, hiddenSize] = hidden.shape as readonly [number, number];
    const values = await hidden.data("float32");
    const bytes = new Uint8Array(HEADER_BYTES + tokens * (4 + hiddenSize));
    const view = new DataView(bytes.buffer);
    view.setUint32(0, tokens, true);
    view.setUint32(4, hiddenSize, true);
    for (let token = 0; token < tokens; token++) {
      const row = values.subarray(token * hiddenSize, (token + 1) * hiddenSize);
      const at = HEADER_BYTES + token * (4 + hiddenSize);
      const scale = row.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) / 127 || 1;
      view.setFloat32(at, scale, true);
      for (const [i, value] of row.entries()) view.setInt8(at + 4 + i, Math.round(value / scale));
    }
    return bytes;
  },
  async decode(bytes, { limits }, device) {
    if (bytes.byteLength < HEADER_BYTES) throw new LanguageModelError(`int8-rows: ${bytes.byteLength} bytes are no message`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const [tokens, hiddenSize] = [view.getUint32(0, true), view.getUint32(4, true)];
    const fits = tokens <= limits.tokens && hiddenSize === limits.hiddenSize;
    if (!fits || bytes.byteLength !== HEADER_BYTES + tokens * (4 + hiddenSize)) {
      throw new LanguageModelError(`int8-rows: ${bytes.byteLength} bytes do not hold ${tokens} tokens of ${hiddenSize}`);
    }
    const values = new Float32Array(tokens * hiddenSize);
    for (let token = 0; token < tokens; token++) {
      const at = HEADER_BYTES + token * (4 + hiddenSize);
      const scale = view.getFloat32(at, true);
      for (let i = 0; i < hiddenSize; i++) values[token * hiddenSize + i] = view.getInt8(at + 4 + i) * scale;
    }
    return tensor(values, [tokens, hiddenSize], { device });
  },
};

export default codec;
