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

/** The mean row, from the sum of `count` rows. */
function meanOf(sums: Float64Array, count: number): Float64Array {
  return sums.map((sum) => sum / count);
}

function addRows(sums: Float64Array, rows: Float32Array): void {
  for (const [i, value] of rows.entries()) sums[i % sums.length]! += value;
}

/** Takes a row off all rows, in place. */
function subtractRow(rows: Float32Array, row: Float64Array): void {
  for (let i = 0; i < rows.length; i++) rows[i]! -= row[i % row.length]!;
}

/** Gives each row the length 1, in place; zeros stay. */
function normalizeRows(rows: Float32Array, hiddenSize: number): void {
  for (let from = 0; from < rows.length; from += hiddenSize) {
    const row = rows.subarray(from, from + hiddenSize);
    let squares = 0;
    for (const value of row) squares += value * value;
    const scale = squares === 0 ? 0 : 1 / Math.sqrt(squares);
    for (let i = 0; i < hiddenSize; i++) row[i]! *= scale;
  }
}

/**
 * An eavesdropper with the model's public embedding, and nothing else: for every decoded row the token whose input embedding is nearest by
 * cosine, the mean row taken off on both sides. A lower bound of what can be recovered; attacks that run the model recover more
 * (arXiv 2503.09022, 2605.23158). Compression is no privacy.
 */
export class LeakageProbe {
  readonly #model: StagedModel;
  #mean: Float64Array | undefined;

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
    const sums = new Float64Array(hiddenSize);
    addRows(sums, rows);
    subtractRow(rows, meanOf(sums, ids.length));
    const mean = (this.#mean ??= await this.#embeddingMean(signal));
    const best = new Float32Array(ids.length).fill(-Infinity);
    const guesses = new Int32Array(ids.length).fill(-1);
    using payload = tensor(rows, [ids.length, hiddenSize], { device });
    for (let from = 0; from < vocabularySize; from += CHUNK) {
      signal?.throwIfAborted();
      const embeddings = await this.#embeddings(from);
      const count = embeddings.length / hiddenSize;
      subtractRow(embeddings, mean);
      normalizeRows(embeddings, hiddenSize);
      using chunk = tensor(embeddings, [count, hiddenSize], { device });
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
  /** A chunk of the embedding, [tokens, hiddenSize], to keep. All of it may take gigabytes. */
  async #embeddings(from: number): Promise<Float32Array> {
    const { vocabularySize, device } = this.#model;
    await turnOfEventLoop();
    const count = Math.min(CHUNK, vocabularySize - from);
    using ids = tensor(Int32Array.from({ length: count }, (_, i) => from + i), [1, count], { device });
    using embedded = this.#model.embed(ids);
    return await embedded.data("float32");
  }

  async #embeddingMean(signal: AbortSignal | undefined): Promise<Float64Array> {
    const { vocabularySize, hiddenSize } = this.#model;
    const sums = new Float64Array(hiddenSize);
    for (let from = 0; from < vocabularySize; from += CHUNK) {
      signal?.throwIfAborted();
      addRows(sums, await this.#embeddings(from));
    }
    return meanOf(sums, vocabularySize);
  }
}
