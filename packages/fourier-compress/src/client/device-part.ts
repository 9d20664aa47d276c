import type { ActivationContext, DecoderCache, StagedModel } from "@frugal/language-model";
import { ShapeError, square, subtract, sum, tensor, tidy, type Tensor } from "@frugal/tensor-core";
import type { CompressionCodec } from "../codecs/compression-codec.ts";
import type { StreamMessage } from "./kept-messages.ts";
import type { TrafficMeter } from "./traffic.ts";

/** What a device computes and encodes with. */
export interface DevicePartSettings {
  readonly model: StagedModel;
  readonly splitBlock: number;
  readonly codec: CompressionCodec;
  readonly meter: TrafficMeter;
  /** Every so many messages one is decoded here, to see what the codec loses; 0 never. */
  readonly errorSampling: number;
}

/** The half of a split model that runs on the device: token ids in, messages out. */
export class DevicePart {
  readonly model: StagedModel;
  readonly splitBlock: number;
  readonly codec: CompressionCodec;
  readonly #meter: TrafficMeter;
  readonly #errorSampling: number;
  #streams = 0;
  #encoded = 0;

  constructor({ model, splitBlock, codec, meter, errorSampling }: DevicePartSettings) {
    this.model = model;
    this.splitBlock = splitBlock;
    this.codec = codec;
    this.#meter = meter;
    this.#errorSampling = errorSampling;
  }

  /** A cache for the device's blocks. */
  createCache(capacity: number): DecoderCache {
    return this.model.createCache({ capacity, blockRange: [0, this.splitBlock] });
  }

  /** Name for the messages of one stream. */
  newStream(): string {
    return String(this.#streams++);
  }

  /**
   * Runs tokens through the device's blocks and encodes what comes out. The cache takes them in, but does not count them yet: the caller
   * advances it, or the tokens are as if they had not been.
   */
  async message(ids: readonly number[], cache: DecoderCache, streamId: string, flags: number): Promise<StreamMessage> {
    const { model, splitBlock } = this;
    const tokens = ids.length;
    const position = cache.length;
    const context: ActivationContext = {
      kind: "activation", block: splitBlock, streamId, sequences: [{ positionOffset: position, tokens }],
      limits: { tokens, hiddenSize: model.hiddenSize },
    };
    using hidden = tidy(() => {
      const input = tensor(Int32Array.from(ids), [1, tokens], { device: model.device });
      return model.forwardBlocks(model.embed(input), 0, splitBlock, { cache }).reshape([tokens, model.hiddenSize]);
    });
    const started = performance.now();
    const { bytes, elements } = await this.codec.compress(hidden, context);
    this.#meter.encodeMilliseconds += performance.now() - started;
    if (this.#errorSampling > 0 && this.#encoded++ % this.#errorSampling === 0) await this.#sample(hidden, bytes, context);
    return { position, tokens, payload: bytes, elements, flags };
  }

  async #sample(hidden: Tensor, bytes: Uint8Array, context: ActivationContext): Promise<void> {
    const started = performance.now();
    using decoded = await this.codec.decode(bytes, context, this.model.device);
    this.#meter.decodeMilliseconds += performance.now() - started;
    if (decoded.shape.join() !== hidden.shape.join()) {
      throw new ShapeError(`codec ${this.codec.name}: decoded [${decoded.shape.join(", ")}], encoded [${hidden.shape.join(", ")}]`);
    }
    using error = tidy(() => sum(square(subtract(decoded, hidden))));
    using energy = tidy(() => sum(square(hidden)));
    this.#meter.sampledError(await error.item(), await energy.item());
  }
}
