import { ShapeError, tidy, type DeviceName, type Tensor } from "@frugal/tensor-core";
import { SettingsError } from "../errors.ts";
import type { DecoderCache } from "../model/decoder-cache.ts";
import type { ForwardOptions, StagedModel } from "../model/staged-model.ts";
import type { ActivationCodec, ActivationContext } from "./activation-codec.ts";

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
export class SplitModel<Model extends StagedModel = StagedModel> {
  readonly config: Model["config"];
  readonly device: DeviceName;
  readonly vocabularySize: number;
  readonly splitBlock: number;
  readonly #model: Model;
  readonly #codec: ActivationCodec;
  readonly #streams = new WeakMap<DecoderCache, string>();
  #streamCount = 0;
  #messages = 0;
  #bytes = 0;
  #float16Bytes = 0;

  /**
   * @param splitBlock blocks before it run on the device
   * @throws SettingsError for a splitBlock outside the model
   */
  constructor(model: Model, { codec, splitBlock = 1 }: { readonly codec: ActivationCodec; readonly splitBlock?: number }) {
    if (!Number.isInteger(splitBlock) || splitBlock < 0 || splitBlock > model.blockCount) {
      throw new SettingsError(`splitBlock ${splitBlock}; use 0 to ${model.blockCount}`);
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

  createCache(options: { readonly capacity?: number; readonly batch?: number } = {}): DecoderCache {
    return this.#model.createCache(options);
  }

  /** A cache's tokens are one stream; without cache every message is. */
  #streamOf(cache: DecoderCache | undefined): string {
    const known = cache && this.#streams.get(cache);
    if (known !== undefined) return known;
    const stream = String(this.#streamCount++);
    if (cache !== undefined) this.#streams.set(cache, stream);
    return stream;
  }

  /** As `StagedModel.forward`: ids [batch, tokens], sent in one message. @throws ShapeError when the codec changes the shape */
  async forward(ids: Tensor, { cache, lastOnly = false }: ForwardOptions = {}): Promise<Tensor> {
    const model = this.#model;
    const [batch, tokens] = ids.shape as readonly [number, number];
    const { hiddenSize } = model;
    const rows = batch * tokens;
    const positionOffset = cache?.length ?? 0;
    const context: ActivationContext = {
      kind: "activation", block: this.splitBlock, streamId: this.#streamOf(cache),
      sequences: Array.from({ length: batch }, () => ({ positionOffset, tokens })),
      limits: { tokens: rows, hiddenSize },
    };
    const sent = tidy(() => model.forwardBlocks(model.embed(ids), 0, this.splitBlock, { cache }).reshape([rows, hiddenSize]));
    let bytes: Uint8Array;
    try {
      bytes = await this.#codec.encode(sent, context);
    } finally {
      sent.dispose();
    }
    this.#messages++;
    this.#bytes += bytes.byteLength;
    this.#float16Bytes += rows * hiddenSize * 2;
    const received = await this.#codec.decode(bytes, context, this.device);
    let logits: Tensor;
    try {
      if (received.shape.join() !== [rows, hiddenSize].join()) {
        throw new ShapeError(`codec ${this.#codec.name}: decoded [${received.shape.join(", ")}], sent [${rows}, ${hiddenSize}]`);
      }
      logits = tidy(() => {
        const hidden = model.forwardBlocks(received.reshape([batch, tokens, hiddenSize]), this.splitBlock, model.blockCount, { cache });
        return model.head(lastOnly ? hidden.slice(null, [-1, null]) : hidden);
      });
    } finally {
      received.dispose();
    }
    cache?.advance(tokens);
    return logits;
  }
}
