import type { StagedModel } from "@frugal/language-model";
import { argmax, max, tensor, tidy } from "@frugal/tensor-core";
import { SettingsError } from "../errors.ts";
import { turnOfEventLoop } from "./reconstruction.ts";

/** Decoded activations, and the tokens that they were made of. */
export interface DecodedRows {
  readonly ids: readonly number[];
  /** [ids.length, hiddenSize]. */
  readonly rows: Float32Array;
}

/** Embeddings compared at a time. */
const CHUNK = 2048;

/** Takes the mean row off, in place. */
function removeMean(rows: Float32Array, hiddenSize: number): void {
  const count = rows.length / hiddenSize;
  const mean = new Float64Array(hiddenSize);
  for (const [i, value] of rows.entries()) mean[i % hiddenSize]! += value / count;
  for (let i = 0; i < rows.length; i++) rows[i]! -= mean[i % hiddenSize]!;
}

/** All rows of the embedding with their mean taken off and length 1: [vocabularySize, hiddenSize]. */
async function directions(model: StagedModel): Promise<Float32Array> {
  const { vocabularySize, hiddenSize, device } = model;
  const table = new Float32Array(vocabularySize * hiddenSize);
  for (let from = 0; from < vocabularySize; from += CHUNK) {
    const count = Math.min(CHUNK, vocabularySize - from);
    using ids = tensor(Int32Array.from({ length: count }, (_, i) => from + i), [1, count], { device });
    using embedded = model.embed(ids);
    table.set(await embedded.data("float32"), from * hiddenSize);
    await turnOfEventLoop();
  }
  removeMean(table, hiddenSize);
  for (let row = 0; row < vocabularySize; row++) {
    const values = table.subarray(row * hiddenSize, (row + 1) * hiddenSize);
    let squares = 0;
    for (const value of values) squares += value * value;
    const scale = squares === 0 ? 0 : 1 / Math.sqrt(squares);
    for (let i = 0; i < values.length; i++) values[i]! *= scale;
  }
  return table;
}

/**
 * An eavesdropper with the model's public embedding, and nothing else: for every decoded row the token whose input embedding is nearest by
 * cosine, the mean row taken off on both sides. A lower bound of what can be recovered; attacks that run the model recover more
 * (arXiv 2503.09022, 2605.23158). Compression is no privacy.
 */
export class LeakageProbe {
  readonly #model: StagedModel;
  #directions: Float32Array | undefined;

  /** @param model with its embedding */
  constructor(model: StagedModel) {
    this.#model = model;
  }

  /**
   * Share of tokens recovered.
   * @param options `skip`: ids to leave out, as the begin token, which is no secret; `signal` ends it with its reason
   * @throws SettingsError for rows that do not fit, or none
   */
  async recoveredShare(
    decoded: readonly DecodedRows[], options: { readonly skip?: readonly number[]; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<number> {
    const { hiddenSize, vocabularySize, device } = this.#model;
    const { skip = [], signal } = options;
    const ids: number[] = [];
    const parts: Float32Array[] = [];
    for (const message of decoded) {
      if (message.rows.length !== message.ids.length * hiddenSize) {
        throw new SettingsError(`leakage: ${message.rows.length} values are not rows of ${hiddenSize} for ${message.ids.length} tokens`);
      }
      for (const [row, id] of message.ids.entries()) {
        if (skip.includes(id)) continue;
        ids.push(id);
        parts.push(message.rows.subarray(row * hiddenSize, (row + 1) * hiddenSize));
      }
    }
    if (ids.length === 0) throw new SettingsError("leakage: there is no row to recover a token from");
    const rows = new Float32Array(ids.length * hiddenSize);
    for (const [index, part] of parts.entries()) rows.set(part, index * hiddenSize);
    removeMean(rows, hiddenSize);
    const table = (this.#directions ??= await directions(this.#model));
    const best = new Float32Array(ids.length).fill(-Infinity);
    const guesses = new Int32Array(ids.length).fill(-1);
    using payload = tensor(rows, [ids.length, hiddenSize], { device });
    for (let from = 0; from < vocabularySize; from += CHUNK) {
      signal?.throwIfAborted();
      await turnOfEventLoop();
      const count = Math.min(CHUNK, vocabularySize - from);
      using chunk = tensor(table.slice(from * hiddenSize, (from + count) * hiddenSize), [count, hiddenSize], { device });
      using scores = tidy(() => payload.matmul(chunk.transpose()));
      using nearest = argmax(scores, -1);
      using highest = max(scores, -1);
      const [places, values] = [await nearest.data("int32"), await highest.data("float32")];
      for (let i = 0; i < ids.length; i++) {
        if (!(values[i]! > best[i]!)) continue;
        best[i] = values[i]!;
        guesses[i] = from + places[i]!;
      }
    }
    return ids.filter((id, i) => guesses[i] === id).length / ids.length;
  }
}
