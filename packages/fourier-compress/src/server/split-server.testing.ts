import { modelFingerprint, type ActivationCodec, type DecoderCache, type DecoderModel, type SequenceRows } from "@frugal/language-model";
import { memory, tensor, tidy, type Tensor } from "@frugal/tensor-core";
import { expect } from "vitest";
import { CODEC_IDS } from "../codecs/codec-names.ts";
import { createCodec } from "../codecs/registry.ts";
import { connectionPair, type InProcessOptions } from "../transport/in-process.ts";
import type { Connection } from "../transport/connection.ts";
import { controlFrame, controlMessage, type ControlMessages, type ControlType } from "../wire/control-messages.ts";
import { decodeFrame, encodeFrame, FRAME_FLAGS, makeFrame, type Frame } from "../wire/frame.ts";
import { createSplitServer } from "./split-server.ts";
import type { SplitServer, SplitServerOptions } from "./split-server-options.ts";

/** For the end of a test: what was there before it, and nothing more. */
export function expectAllocations(expected: number): void {
  expect(memory().allocations).toBe(expected);
}

/** A server and what its clients have to know. */
export interface TestServer {
  readonly fingerprint: string;
  readonly server: SplitServer;
}

/** @param model stays the caller's */
export async function testServer(model: DecoderModel, options: Partial<SplitServerOptions> = {}): Promise<TestServer> {
  const fingerprint = await modelFingerprint(model.config);
  return { fingerprint, server: createSplitServer({ model, fingerprint, ...options }) };
}

/** Speaks frames with a server by hand: what a client does, without its cleverness. */
export class RawClient {
  readonly connection: Connection;
  #request = 0;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** Connected, and let in. */
  static async connect(server: SplitServer, { answer = { method: "none" }, ...options }: InProcessOptions & {
    readonly answer?: ControlMessages["authenticate"];
  } = {}): Promise<RawClient> {
    const client = RawClient.dial(server, options);
    await client.send(controlFrame("hello", { client: "test" }));
    await client.expect("challenge");
    await client.send(controlFrame("authenticate", answer));
    await client.expect("welcome");
    return client;
  }

  /** Connected, and nothing more. */
  static dial(server: SplitServer, options: InProcessOptions = {}): RawClient {
    const [near, far] = connectionPair(options);
    void server.accept(far).finally(() => far.close());
    return new RawClient(near);
  }

  send(frame: Frame): Promise<void> {
    return this.connection.send(encodeFrame(frame));
  }

  /** The next frame; undefined once the connection has ended. */
  async receive(): Promise<Frame | undefined> {
    const bytes = await this.connection.receive();
    return bytes && decodeFrame(bytes);
  }

  /** The next frame's message. @throws when it is of another type */
  async expect<Type extends ControlType>(type: Type): Promise<ControlMessages[Type]> {
    const frame = await this.receive();
    if (frame === undefined) throw new Error(`the connection ended where ${type} was due`);
    if (frame.type === "error" && type !== "error") {
      throw new Error(`an error where ${type} was due: ${new TextDecoder().decode(frame.payload)}`);
    }
    return controlMessage(type, frame);
  }

  async result(): Promise<Frame> {
    const frame = await this.receive();
    if (frame?.type === "result") return frame;
    throw new Error(`no result but ${frame === undefined ? "the end" : `${frame.type} ${new TextDecoder().decode(frame.payload)}`}`);
  }

  /** Sends an `open` with defaults for what is left out; the answer is still to be received. */
  async sendOpen(fingerprint: string, changes: Partial<ControlMessages["open"]> = {}): Promise<number> {
    const request = ++this.#request;
    const message = { request, fingerprint, splitBlock: 1, codec: "float32", result: "logits", capacity: 128, ...changes } as const;
    await this.send(controlFrame("open", message));
    return request;
  }

  async open(fingerprint: string, changes: Partial<ControlMessages["open"]> = {}): Promise<ControlMessages["opened"]> {
    await this.sendOpen(fingerprint, changes);
    return this.expect("opened");
  }

  async resume({ id, secret }: Pick<ControlMessages["opened"], "id" | "secret">, received: number): Promise<ControlMessages["resumed"]> {
    await this.send(controlFrame("resume", { request: ++this.#request, id, secret, received }));
    return this.expect("resumed");
  }
}

/** The device part of a session: embeds, runs the blocks before the split, and makes activation frames. */
export class RawStream {
  readonly #model: DecoderModel;
  readonly #splitBlock: number;
  readonly #codec: ActivationCodec;
  readonly #codecId: number;
  readonly #cache: DecoderCache;
  handle: number;
  sequence = 0;

  constructor(
    model: DecoderModel, handle: number,
    { splitBlock = 1, codec = "float32" }: { readonly splitBlock?: number; readonly codec?: "float32" | "float16" } = {},
  ) {
    this.#model = model;
    this.#splitBlock = splitBlock;
    this.#codec = createCodec(codec);
    this.#codecId = CODEC_IDS[codec];
    this.#cache = model.createCache({ blockRange: [0, splitBlock] });
    this.handle = handle;
  }

  get position(): number {
    return this.#cache.length;
  }

  truncate(position: number): void {
    this.#cache.truncate(position);
  }

  /** The next activation frame, for ids after those before. */
  async frame(ids: readonly number[], flags: number = FRAME_FLAGS.value, changes: Partial<Frame> = {}): Promise<Frame> {
    const model = this.#model;
    const position = this.#cache.length;
    using input = tensor(Int32Array.from(ids), [1, ids.length]);
    using hidden: Tensor = tidy(() =>
      model.forwardBlocks(model.embed(input), 0, this.#splitBlock, { cache: this.#cache }).reshape([ids.length, model.hiddenSize]),
    );
    this.#cache.advance(ids.length);
    const sequences: SequenceRows[] = [{ positionOffset: position, tokens: ids.length }];
    const payload = await this.#codec.encode(hidden, {
      kind: "activation", block: this.#splitBlock, streamId: "", sequences, limits: { tokens: ids.length, hiddenSize: model.hiddenSize },
    });
    return makeFrame("activation", {
      flags, session: this.handle, sequence: ++this.sequence, position, tokens: ids.length, hiddenSize: model.hiddenSize,
      block: this.#splitBlock, codec: this.#codecId, dtype: "codec", payload, ...changes,
    });
  }

  dispose(): void {
    this.#cache.dispose();
  }
}

/** Float32 values of a result. */
export function valuesOf(frame: Frame): Float32Array {
  return new Float32Array(frame.payload.slice().buffer);
}

/** Token of a result. */
export function tokenOf({ payload }: Frame): { readonly id: number; readonly logProbability: number } {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  return { id: view.getUint32(0, true), logProbability: view.getFloat32(4, true) };
}

/** Logits of the unsplit model after each piece, computed in the same pieces. */
export async function wholeLogits(model: DecoderModel, ...pieces: readonly (readonly number[])[]): Promise<Float32Array[]> {
  using cache = model.createCache();
  const rows: Float32Array[] = [];
  for (const ids of pieces) {
    using input = tensor(Int32Array.from(ids), [1, ids.length]);
    using logits = model.forward(input, { cache, lastOnly: true });
    rows.push(await logits.data("float32"));
  }
  return rows;
}
