import type { ActivationContext } from "@frugal/language-model";
import { tensor, type DeviceName, type Tensor } from "@frugal/tensor-core";
import { compressionRatios, type CompressionCodec, type CompressionRatios } from "../codecs/compression-codec.ts";
import { SettingsError } from "../errors.ts";

/** The rows of one message. */
export interface MessageRows {
  /** [tokens, hiddenSize]. */
  readonly rows: Float32Array;
  readonly tokens: number;
  /** Position of the first token in its sequence: 1 where the begin row is left out. */
  readonly positionOffset: number;
}

/** What a codec made of some messages. */
export interface Reconstruction extends CompressionRatios {
  /** ‖A′ - A‖ / ‖A‖ over all rows together. */
  readonly relativeError: number;
  readonly messages: number;
  /** Rows of all messages. */
  readonly tokens: number;
  /** Of all messages, headers included. */
  readonly bytes: number;
  /** Milliseconds for all messages. */
  readonly encodeMilliseconds: number;
  readonly decodeMilliseconds: number;
}

/** Where the rows are from, and who is to be told of the progress. */
export interface MeasureOptions {
  readonly hiddenSize: number;
  /** The block that the rows are the input of. Default 1. */
  readonly block?: number;
  /** Default "cpu". */
  readonly device?: DeviceName;
  /** Ends the measurement with its reason, before the next message. */
  readonly signal?: AbortSignal | undefined;
}

function contextOf({ tokens, positionOffset }: MessageRows, { hiddenSize, block = 1 }: MeasureOptions, index: number): ActivationContext {
  return {
    kind: "activation", block, streamId: String(index), sequences: [{ positionOffset, tokens }], limits: { tokens, hiddenSize },
  };
}

function tensorOf({ rows, tokens }: MessageRows, { hiddenSize, device = "cpu" }: MeasureOptions): Tensor {
  return tensor(rows, [tokens, hiddenSize], { device });
}

function checkMessages(messages: readonly MessageRows[], { hiddenSize }: MeasureOptions): void {
  if (messages.length === 0) throw new SettingsError("there is no message to measure a codec on");
  const broken = messages.find(({ rows, tokens }) => tokens < 1 || rows.length !== tokens * hiddenSize);
  if (broken !== undefined) throw new SettingsError(`a message of ${broken.rows.length} values is not [${broken.tokens}, ${hiddenSize}]`);
}

/** Lets timers and signals have their turn: coding on the CPU never waits for anything. */
export function turnOfEventLoop(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** Bytes of all messages, without decoding them. */
export async function measureBytes(codec: CompressionCodec, messages: readonly MessageRows[], options: MeasureOptions): Promise<number> {
  checkMessages(messages, options);
  let bytes = 0;
  for (const [index, message] of messages.entries()) {
    if (index % 8 === 0) await turnOfEventLoop();
    options.signal?.throwIfAborted();
    using rows = tensorOf(message, options);
    bytes += (await codec.compress(rows, contextOf(message, options, index))).bytes.length;
  }
  return bytes;
}

/**
 * Codes and decodes messages one by one and compares. Times are of this process as it is: run the codec once before where they matter.
 * @throws whatever the codec throws; SettingsError for no messages; the signal's reason
 */
export async function measureReconstruction(
  codec: CompressionCodec, messages: readonly MessageRows[], options: MeasureOptions,
): Promise<Reconstruction> {
  checkMessages(messages, options);
  const { device = "cpu" } = options;
  let [bytes, elements, tokens, difference, energy, encodeMilliseconds, decodeMilliseconds] = [0, 0, 0, 0, 0, 0, 0];
  for (const [index, message] of messages.entries()) {
    if (index % 8 === 0) await turnOfEventLoop();
    options.signal?.throwIfAborted();
    const context = contextOf(message, options, index);
    using rows = tensorOf(message, options);
    const start = performance.now();
    const sent = await codec.compress(rows, context);
    const between = performance.now();
    using received = await codec.decode(sent.bytes, context, device);
    const values = await received.data("float32");
    decodeMilliseconds += performance.now() - between;
    encodeMilliseconds += between - start;
    bytes += sent.bytes.length;
    elements += sent.elements;
    tokens += message.tokens;
    for (let i = 0; i < values.length; i++) {
      const expected = message.rows[i]!;
      difference += (values[i]! - expected) ** 2;
      energy += expected ** 2;
    }
  }
  return {
    relativeError: energy === 0 ? (difference === 0 ? 0 : Infinity) : Math.sqrt(difference / energy),
    messages: messages.length, tokens, bytes, encodeMilliseconds, decodeMilliseconds,
    ...compressionRatios(tokens * options.hiddenSize, { bytes, elements }),
  };
}
