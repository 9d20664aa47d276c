import { memory } from "@frugal/tensor-core";
import { modelFingerprint, type DecoderModel } from "@frugal/language-model";
import type { CodecTable } from "../calibration/codec-table.ts";
import { ConnectionError } from "../errors.ts";
import { createSplitServer } from "../server/split-server.ts";
import type { SplitServer } from "../server/split-server-options.ts";
import { tinyModel } from "../tiny-model.testing.ts";
import { connectionPair } from "../transport/in-process.ts";
import { controlFrame, controlMessage, type ControlMessages } from "./control-messages.ts";
import { decodeFrame, encodeFrame, FRAME_FLAGS, makeFrame, type Frame, type FrameType } from "./frame.ts";
import { codecSamples, type CodecSample } from "./fuzz-codecs.testing.ts";
import { spoiledJson } from "./fuzz-json.testing.ts";
import type { FuzzRandom } from "./fuzz-random.testing.ts";
import { tableForFuzzing } from "./fuzz-table.testing.ts";
import { sealed, withHostileHeader } from "./fuzz-wire.testing.ts";

/** How long a server may take to end a connection whose client has gone. */
const PATIENCE_MILLISECONDS = 10_000;
const FRAMES_PER_CONVERSATION = 14;

/** What became of the frames of a conversation. */
export interface ConversationOutcome {
  readonly frames: number;
  readonly accepted: number;
  readonly refused: number;
}

type Opened = ControlMessages["opened"];

/** The client's end of a connection, which reads all that the server says, and holds it against the protocol. */
class FuzzClient {
  /** Resolves when the server has let go of the connection. */
  readonly served: Promise<void>;
  readonly #connection: ReturnType<typeof connectionPair>[0];
  readonly #heard: Frame[] = [];
  #wake: () => void = () => {};
  #reading: Promise<void>;
  #failure: unknown;
  hasEnded = false;
  results = 0;
  refusals = 0;
  sent = 0;

  constructor(server: SplitServer) {
    const [near, far] = connectionPair();
    this.#connection = near;
    this.served = server.accept(far).finally(() => far.close());
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    try {
      for (let bytes = await this.#connection.receive(); bytes !== undefined; bytes = await this.#connection.receive()) {
        const frame = decodeFrame(bytes);
        if (frame.type === "result") this.results++;
        else if (frame.type === "activation") throw new Error("the server sent an activation");
        else controlMessage(frame.type, frame);
        if (frame.type === "error") {
          this.refusals++;
          if (controlMessage("error", frame).code === "internal") throw new Error("the server answered that it failed");
        }
        this.#heard.push(frame);
        this.#wake();
      }
    } catch (error) {
      this.#failure = error;
    } finally {
      this.hasEnded = true;
      this.#wake();
    }
  }

  /** The next frame of one of these types; undefined when the connection ended before. */
  async hear(...types: FrameType[]): Promise<Frame | undefined> {
    const deadline = performance.now() + PATIENCE_MILLISECONDS;
    for (;;) {
      for (let frame = this.#heard.shift(); frame !== undefined; frame = this.#heard.shift()) if (types.includes(frame.type)) return frame;
      if (this.hasEnded) return undefined;
      if (performance.now() > deadline) throw new Error(`no ${types.join(" or ")} came from the server within ${PATIENCE_MILLISECONDS} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  async send(bytes: Uint8Array): Promise<void> {
    this.sent++;
    try {
      await this.#connection.send(bytes);
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
    }
  }

  /** @throws when the server does not let go, or broke the protocol */
  async end(): Promise<void> {
    this.#connection.close();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new Error(`the server held a closed connection for ${PATIENCE_MILLISECONDS} ms`);
      timer = setTimeout(() => reject(error), PATIENCE_MILLISECONDS);
    });
    await Promise.race([this.served, late]).finally(() => clearTimeout(timer));
    await this.#reading;
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** A live server of a tiny model that hostile clients talk to. */
export class FuzzServer {
  readonly samples: readonly CodecSample[];
  readonly table: CodecTable;
  readonly #model: DecoderModel;
  readonly #server: SplitServer;
  readonly #fingerprint: string;
  readonly #failures: string[];
  readonly #allocationsBefore: number;
  /** Of sessions that hostile clients left behind. */
  readonly #left: Opened[] = [];
  #firstLogits: Buffer | undefined;

  private constructor(parts: {
    readonly samples: readonly CodecSample[]; readonly table: CodecTable; readonly model: DecoderModel; readonly server: SplitServer;
    readonly fingerprint: string; readonly failures: string[]; readonly allocationsBefore: number;
  }) {
    this.samples = parts.samples;
    this.table = parts.table;
    this.#model = parts.model;
    this.#server = parts.server;
    this.#fingerprint = parts.fingerprint;
    this.#failures = parts.failures;
    this.#allocationsBefore = parts.allocationsBefore;
  }

  static async start(): Promise<FuzzServer> {
    const allocationsBefore = memory().allocations;
    const model = tinyModel();
    const fingerprint = await modelFingerprint(model.config);
    const table = await tableForFuzzing(fingerprint, 1, model.hiddenSize);
    const failures: string[] = [];
    const server = createSplitServer({
      model, fingerprint, tables: [table],
      limits: {
        framesPerSecond: 1e9, bytesPerSecond: 1e12, expirySeconds: 2, sessions: 512, sessionsPerClient: 512, cacheBytes: 64 << 20,
        prefixBytes: 4 << 20, tokensPerFrame: 64, handshakeSeconds: 5,
      },
      onEvent: ({ kind, detail }) => {
        if (kind === "failed") failures.push(detail ?? "without a word");
      },
    });
    const samples = await codecSamples(table);
    const started = new FuzzServer({ samples, table, model, server, fingerprint, failures, allocationsBefore });
    started.#firstLogits = await started.#goodLogits();
    return started;
  }

  /** One hostile client from its first frame to its last. @throws when the server fails, hangs or says what it must not: a crash */
  async converse(random: FuzzRandom, begin: (strategy: string, input: Uint8Array) => void): Promise<ConversationOutcome> {
    const client = new FuzzClient(this.#server);
    const send = (strategy: string, bytes: Uint8Array): Promise<void> => {
      begin(`server, ${strategy}`, bytes);
      return client.send(bytes);
    };
    if (random.oneIn(8)) await send("before the handshake", random.spoil(encodeFrame(this.#open(random.pick(this.samples), 0))));
    else if (await this.#handshake(client, random, send)) await this.#session(client, random, send);
    await client.end();
    const failure = this.#failures.pop();
    if (failure !== undefined) throw new Error(`the server reports a failure: ${failure}`);
    return { frames: client.sent, accepted: client.sent - client.refusals, refused: client.refusals };
  }

  /** Checks that the server is as it was, and frees it. @throws when it is not, or leaves memory behind */
  async stop(): Promise<void> {
    // Frames that are left would be computed in one batch with the good one, which changes last bits.
    const deadline = performance.now() + PATIENCE_MILLISECONDS;
    while (this.#server.statistics().queued > 0) {
      if (performance.now() > deadline) throw new Error(`frames have waited for ${PATIENCE_MILLISECONDS} ms`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const logits = await this.#goodLogits();
    if (Buffer.compare(logits, this.#firstLogits!) !== 0) throw new Error("after all that the server gives other logits than before");
    await this.#server.close();
    this.#model.dispose();
    const left = memory().allocations - this.#allocationsBefore;
    if (left !== 0) throw new Error(`the server left ${left} tensors behind`);
  }

  async #handshake(client: FuzzClient, random: FuzzRandom, send: (strategy: string, bytes: Uint8Array) => Promise<void>): Promise<boolean> {
    await send("hello", encodeFrame(controlFrame("hello", { client: "fuzz" })));
    if ((await client.hear("challenge", "error"))?.type !== "challenge") throw new Error("no challenge came");
    if (random.oneIn(10)) {
      await send("authenticate", encodeFrame(makeFrame("authenticate", { payload: spoiledJson(random, { method: "none" }) })));
    } else await send("authenticate", encodeFrame(controlFrame("authenticate", { method: "none" })));
    return (await client.hear("welcome", "error"))?.type === "welcome";
  }

  async #session(client: FuzzClient, random: FuzzRandom, send: (strategy: string, bytes: Uint8Array) => Promise<void>): Promise<void> {
    const sample = random.pick(this.samples);
    if (this.#left.length > 0 && random.oneIn(4)) {
      const { id, secret } = random.pick(this.#left);
      const resume = { request: 9, id, secret, received: random.oneIn(2) ? 0 : random.hostile() };
      const payload = random.oneIn(2) ? spoiledJson(random, resume) : encodeJson(resume);
      await send("resume", encodeFrame(makeFrame("resume", { payload })));
    }
    const open = this.#open(sample, random.below(3));
    if (random.oneIn(4)) {
      await send("open", encodeFrame(makeFrame("open", { payload: spoiledJson(random, controlMessage("open", open)) })));
      if (client.hasEnded) return;
    }
    await send("open", encodeFrame(open));
    const answer = await client.hear("opened", "error");
    const opened = answer?.type === "opened" ? controlMessage("opened", answer) : undefined;
    if (opened !== undefined) {
      this.#left.push(opened);
      if (this.#left.length > 50) this.#left.shift();
    }
    const session = opened?.session ?? 1;
    let sequence = 1;
    let position = 0;
    for (let count = 0; count < FRAMES_PER_CONVERSATION && !client.hasEnded; count++) {
      const flags = random.pick([0, FRAME_FLAGS.value, FRAME_FLAGS.value | FRAME_FLAGS.allRows]);
      const good = this.#activation(sample, { session, sequence, position, flags });
      switch (random.below(8)) {
        case 0:
        case 1:
          await send("good activation", encodeFrame(good));
          sequence++;
          position += sample.tokens;
          break;
        case 2:
        case 3:
          await send(`spoiled ${sample.name} message`, encodeFrame({ ...good, payload: random.spoil(good.payload) }));
          break;
        case 4:
          await send("hostile header", withHostileHeader(random, encodeFrame(good)));
          break;
        case 5:
          await send("activation of another codec", encodeFrame({
            ...good, payload: random.pick(this.samples).bytes, codec: random.oneIn(2) ? good.codec : random.below(64),
          }));
          break;
        case 6:
          await send("close of anything", encodeFrame(controlFrame("close", { session: random.oneIn(3) ? session : random.word() })));
          break;
        default:
          if (random.oneIn(3)) await send("spoiled frame", sealed(random.spoil(encodeFrame(good))));
          else await send("resume of anything", encodeFrame(controlFrame("resume", {
            request: random.word(), id: opened?.id ?? "00".repeat(16), received: random.pick([0, 1, random.word()]),
            secret: random.oneIn(2) && opened !== undefined ? opened.secret : "00".repeat(32),
          })));
      }
    }
    if (!client.hasEnded && random.oneIn(2)) {
      await send("close", encodeFrame(controlFrame("close", { session })));
      await client.hear("closed", "error");
    }
  }

  #open(sample: CodecSample, result: number): Frame {
    return controlFrame("open", {
      request: 1, fingerprint: this.#fingerprint, splitBlock: 1, codec: sample.name, capacity: 64,
      result: (["logits", "token", "hidden"] as const)[result]!,
      ...(sample.table === undefined ? {} : { table: sample.table.hash }),
    });
  }

  #activation(sample: CodecSample, fields: Partial<Frame>): Frame {
    return makeFrame("activation", {
      tokens: sample.tokens, hiddenSize: this.table.hiddenSize, block: 1, codec: sample.id, dtype: "codec", payload: sample.bytes,
      table: sample.table === undefined ? 0 : Number.parseInt(sample.table.hash.slice(0, 8).replace(/(..)(..)(..)(..)/, "$4$3$2$1"), 16),
      ...fields,
    });
  }

  /** What a client that behaves gets. */
  async #goodLogits(): Promise<Buffer> {
    const sample = this.samples.find(({ name, tokens, table }) => name === "float32" && tokens === 3 && table === undefined)!;
    const client = new FuzzClient(this.#server);
    await client.send(encodeFrame(controlFrame("hello", { client: "good" })));
    await client.send(encodeFrame(controlFrame("authenticate", { method: "none" })));
    await client.hear("welcome");
    await client.send(encodeFrame(this.#open(sample, 0)));
    const opened = await client.hear("opened", "error");
    if (opened?.type !== "opened") throw new Error(`a good client was refused: ${textOf(opened)}`);
    const { session } = controlMessage("opened", opened);
    await client.send(encodeFrame(this.#activation(sample, { session, sequence: 1, flags: FRAME_FLAGS.value | FRAME_FLAGS.allRows })));
    const result = await client.hear("result", "error");
    if (result?.type !== "result") throw new Error(`a good client got no logits: ${textOf(result)}`);
    await client.send(encodeFrame(controlFrame("close", { session })));
    await client.hear("closed");
    await client.end();
    return Buffer.from(result.payload);
  }
}

const textOf = (frame: Frame | undefined): string => (frame === undefined ? "the end" : new TextDecoder().decode(frame.payload));

const encodeJson = (value: object): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
