import { tidy, type DeviceName, type Tensor } from "@frugal/tensor-core";
import type { DecoderModel } from "../model/decoder-model.ts";
import type { KeyValueCache } from "../model/key-value-cache.ts";
import type { ModelConfiguration } from "../weights/model-configuration.ts";
import type { ActivationCodec } from "./activation-codec.ts";

/** Bytes that crossed the split. */
export interface SplitTraffic {
  readonly messages: number;
  readonly bytes: number;
  /** What the same activations take in float16. */
  readonly float16Bytes: number;
}

/**
 * A model in two parts with a codec between them, in one process: the device part embeds and runs the first blocks, the server part the
 * rest. Generates and scores like a whole model, so that a codec's effect can be measured before anything is put on a network.
 */
export class SplitModel {
  readonly config: ModelConfiguration;
  readonly device: DeviceName;
  readonly vocabularySize: number;
  readonly splitBlock: number;
  readonly #model: DecoderModel;
  readonly #codec: ActivationCodec;
  #messages = 0;
  #bytes = 0;
  #float16Bytes = 0;

  /** @param splitBlock blocks before it run on the device */
  constructor(model: DecoderModel, { codec, splitBlock = 1 }: { readonly codec: ActivationCodec; readonly splitBlock?: number }) {
    if (!Number.isInteger(splitBlock) || splitBlock < 0 || splitBlock > model.blockCount) {
      throw new RangeError(`splitBlock ${splitBlock}; use 0 to ${model.blockCount}`);
    }
    this.config = model.config;
    this.device = model.device;
    this.vocabularySize = model.vocabularySize;
    this.splitBlock = splitBlock;
    this.#model = model;
    this.#codec = codec;
  }

  get traffic(): SplitTraffic {
    return { messages: this.#messages, bytes: this.#bytes, float16Bytes: this.#float16Bytes };
  }

  createCache(options: { readonly capacity?: number } = {}): KeyValueCache {
    return this.#model.createCache(options);
  }

  /** As `DecoderModel.forward`, for one sequence: ids [1, tokens]. */
  async forward(
    ids: Tensor, { cache, lastOnly = false }: { readonly cache?: KeyValueCache; readonly lastOnly?: boolean } = {},
  ): Promise<Tensor> {
    const tokens = ids.shape[1]!;
    const { hiddenSize } = this.config;
    const limits = { tokens: this.config.maxPositionEmbeddings, hiddenSize };
    const context = { positionOffset: cache?.length ?? 0, block: this.splitBlock, limits };
    const sent = tidy(() => this.#model.forwardBlocks(this.#model.embed(ids), 0, this.splitBlock, { cache }).reshape([tokens, hiddenSize]));
    const bytes = await this.#codec.encode(sent, context);
    sent.dispose();
    this.#messages++;
    this.#bytes += bytes.byteLength;
    this.#float16Bytes += tokens * hiddenSize * 2;
    const received = await this.#codec.decode(bytes, context, this.device);
    const logits = tidy(() => {
      const input = received.reshape([1, tokens, hiddenSize]);
      const hidden = this.#model.forwardBlocks(input, this.splitBlock, this.config.numHiddenLayers, { cache });
      return this.#model.head(lastOnly ? hidden.slice(null, [-1, null]) : hidden);
    });
    received.dispose();
    cache?.advance(tokens);
    return logits;
  }
}
