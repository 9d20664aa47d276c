import type { ForwardOptions, ScoringModel, StagedModel } from "@frugal/language-model";
import { tensor, tidy, type DeviceName, type Tensor } from "@frugal/tensor-core";
import { startsWithRow } from "../codecs/begin-row.ts";
import { compressionRatios, type CompressionCodec } from "../codecs/compression-codec.ts";
import { SettingsError } from "../errors.ts";
import type { MessageRows, Reconstruction } from "./reconstruction.ts";

/** Default for the activations that are kept. */
const KEPT_BYTES = 2 ** 30;

/** Activations of a token sequence where the model is split. */
interface SplitActivations {
  readonly ids: readonly number[];
  readonly values: Float32Array;
}

/**
 * The device's part of a split model, computed once for each sequence, for any number of codecs after it. Each call of the models it gives
 * sends whole sequences from position 0, as scoring does.
 */
export class DeviceHalf {
  readonly model: StagedModel;
  readonly splitBlock: number;
  readonly #known = new Map<string, SplitActivations>();
  /** As the model without codec was asked for them, repeated ones repeated. */
  readonly #scored: SplitActivations[] = [];
  readonly #keptBytes: number;
  #bytes = 0;

  /**
   * @param options `keptBytes` bounds what is kept; beyond it sequences are computed anew for each codec. Default 1 GiB
   * @throws SettingsError for a split outside the model
   */
  constructor(model: StagedModel, splitBlock: number, { keptBytes = KEPT_BYTES }: { readonly keptBytes?: number } = {}) {
    if (!Number.isInteger(splitBlock) || splitBlock < 0 || splitBlock > model.blockCount) {
      throw new SettingsError(`split ${splitBlock}; use 0 to the model's ${model.blockCount} blocks`);
    }
    this.model = model;
    this.splitBlock = splitBlock;
    this.#keptBytes = keptBytes;
  }

  /**
   * Activations of a sequence, [tokens, hiddenSize].
   * @param isScored whether it is one of `messages`: the model without codec says so of what it scores. Default false
   */
  async activations(ids: readonly number[], isScored: boolean = false): Promise<Float32Array> {
    const key = ids.join();
    const known = this.#known.get(key);
    if (known !== undefined) {
      if (isScored) this.#scored.push(known);
      return known.values;
    }
    const { model, splitBlock } = this;
    using input = tensor(Int32Array.from(ids), [1, ids.length], { device: model.device });
    using hidden = tidy(() => model.forwardBlocks(model.embed(input), 0, splitBlock));
    const values = await hidden.data("float32");
    if (this.#bytes + values.byteLength <= this.#keptBytes) {
      const kept = { ids: [...ids], values };
      this.#known.set(key, kept);
      if (isScored) this.#scored.push(kept);
      this.#bytes += values.byteLength;
    }
    return values;
  }

  /** What the model without codec has scored, as far as it is kept, one message a sequence. */
  messages(): (MessageRows & { readonly ids: readonly number[] })[] {
    return this.#scored.map(({ ids, values }) => ({ ids, rows: values, tokens: ids.length, positionOffset: 0 }));
  }

  /** The model with a codec between its halves; without one, the whole model. */
  through(codec?: CompressionCodec, options: CodedModelOptions = {}): CodedModel {
    return new CodedModel(this, codec, options);
  }
}

/** What crossed the split: its rows are those that are counted; begin rows that the table holds cost nothing and are not. */
export type CodedTraffic = Reconstruction;

/** Options of `DeviceHalf.through`. */
export interface CodedModelOptions {
  /** [hiddenSize]: rows at position 0 that are this one are left out of ratios and error. */
  readonly beginRow?: Float32Array | undefined;
  /** Sees what the server sees: the decoded rows, [tokens, hiddenSize]. */
  readonly onDecoded?: (ids: readonly number[], rows: Float32Array) => void;
}

/** A model whose activations pass through a codec at the split, for scoring; made by `DeviceHalf.through`. */
export class CodedModel implements ScoringModel {
  readonly config: StagedModel["config"];
  readonly device: DeviceName;
  readonly vocabularySize: number;
  readonly #half: DeviceHalf;
  readonly #codec: CompressionCodec | undefined;
  readonly #options: CodedModelOptions;
  #messages = 0;
  #tokens = 0;
  #bytes = 0;
  #elements = 0;
  #difference = 0;
  #energy = 0;
  #encodeMilliseconds = 0;
  #decodeMilliseconds = 0;

  constructor(half: DeviceHalf, codec: CompressionCodec | undefined, options: CodedModelOptions) {
    this.config = half.model.config;
    this.device = half.model.device;
    this.vocabularySize = half.model.vocabularySize;
    this.#half = half;
    this.#codec = codec;
    this.#options = options;
  }

  /** Of all messages so far. */
  get traffic(): CodedTraffic {
    const [bytes, tokens] = [this.#bytes, this.#tokens];
    return {
      relativeError: this.#energy === 0 ? 0 : Math.sqrt(this.#difference / this.#energy), messages: this.#messages, tokens, bytes,
      encodeMilliseconds: this.#encodeMilliseconds, decodeMilliseconds: this.#decodeMilliseconds,
      ...compressionRatios(tokens * this.#half.model.hiddenSize, { bytes, elements: this.#elements }),
    };
  }

  createCache(options: Parameters<StagedModel["createCache"]>[0] = {}): ReturnType<StagedModel["createCache"]> {
    return this.#half.model.createCache(options);
  }

  /** ids [1, tokens] from position 0. @throws SettingsError for a batch or a cache, which whole sequences do not need */
  async forward(ids: Tensor, { cache, lastOnly = false }: ForwardOptions = {}): Promise<Tensor> {
    const [batch, tokens] = ids.shape as readonly [number, number];
    if (batch !== 1 || cache !== undefined) throw new SettingsError("a coded model scores one whole sequence at a time, without a cache");
    const { model, splitBlock } = this.#half;
    const { hiddenSize, device } = model;
    const known = [...(await ids.data("int32"))];
    const values = await this.#half.activations(known, this.#codec === undefined);
    let received = tensor(values, [tokens, hiddenSize], { device });
    try {
      if (this.#codec !== undefined) {
        const sent = received;
        try {
          received = await this.#send(this.#codec, sent, known, values);
        } finally {
          sent.dispose();
        }
      }
      return tidy(() => {
        const hidden = model.forwardBlocks(received.reshape([1, tokens, hiddenSize]), splitBlock, model.blockCount);
        return model.head(lastOnly ? hidden.slice(null, [-1, null]) : hidden);
      });
    } finally {
      received.dispose();
    }
  }

  async #send(codec: CompressionCodec, sent: Tensor, ids: readonly number[], values: Float32Array): Promise<Tensor> {
    const { model, splitBlock } = this.#half;
    const { hiddenSize, device } = model;
    const tokens = ids.length;
    const context = {
      kind: "activation" as const, block: splitBlock, streamId: String(this.#messages),
      sequences: [{ positionOffset: 0, tokens }], limits: { tokens, hiddenSize },
    };
    const start = performance.now();
    const message = await codec.compress(sent, context);
    const between = performance.now();
    const received = await codec.decode(message.bytes, context, device);
    const decoded = await received.data("float32");
    this.#decodeMilliseconds += performance.now() - between;
    this.#encodeMilliseconds += between - start;
    const { beginRow, onDecoded } = this.#options;
    const isBegun = beginRow !== undefined && startsWithRow(values, beginRow);
    this.#messages++;
    this.#tokens += tokens - (isBegun ? 1 : 0);
    this.#bytes += message.bytes.length;
    this.#elements += message.elements - (isBegun ? hiddenSize : 0);
    for (let i = isBegun ? hiddenSize : 0; i < values.length; i++) {
      this.#difference += (decoded[i]! - values[i]!) ** 2;
      this.#energy += values[i]! ** 2;
    }
    onDecoded?.(ids, decoded);
    return received;
  }
}
