import {
  ContextLengthError, type DecoderCache, type ForwardOptions, type NextTokenModel, type SampledToken, type ScoringModel, type StagedModel,
} from "@frugal/language-model";
import { concatenate, tensor, tidy, type DeviceName, type Tensor } from "@frugal/tensor-core";
import type { CodecMode } from "../codecs/codec-mode.ts";
import type { CompressionCodec } from "../codecs/compression-codec.ts";
import { codecDefinition } from "../codecs/registry.ts";
import { SettingsError } from "../errors.ts";
import type { ControlMessages } from "../wire/control-messages.ts";
import { DEFAULT_FRAME_LIMITS, FRAME_FLAGS, type Frame } from "../wire/frame.ts";
import { checkInteger, codecOf, fingerprintOf, type RemoteGenerationOptions, type SplitClientOptions } from "./client-options.ts";
import { Conversation, type TurnOptions } from "./conversation.ts";
import { DevicePart } from "./device-part.ts";
import type { StreamMessage } from "./kept-messages.ts";
import { checkReconnect } from "./reconnection.ts";
import { RemoteCache } from "./remote-cache.ts";
import { RemoteSession } from "./remote-session.ts";
import { restoreSession, samplingOf, type ServerSamplingOptions } from "./resume-generation.ts";
import { rowsOf } from "./result-values.ts";
import { checkServed } from "./served-model.ts";
import { ServerLink } from "./server-link.ts";
import { SESSION_JOURNAL_VERSION, type JournalWriter, type SessionJournal } from "./session-journal.ts";
import type { SessionScope, SessionSettings, SessionTicket } from "./session-scope.ts";
import { TrafficMeter, type ClientTraffic } from "./traffic.ts";

export type { NamedCodec, RemoteGenerationOptions, SplitClientOptions } from "./client-options.ts";

/** Messages without a value that may be under way at a time. */
const UNDER_WAY = 4;
/** Room for what a codec message of raw float32 has besides the values, for the whole and for each token. */
const MESSAGE_OVERHEAD = 1024;
const TOKEN_OVERHEAD = 64;

/**
 * The device's half of a split model, with the other half on a server: embeds, runs the first blocks, sends what comes out through a codec.
 * Generates and scores like a whole model (`generateTokens`, `streamText`, `scoreSequences`, …): each of its caches is a session on the
 * server. Connections may break at any time; sessions are taken up again, and not one token changes.
 */
export class SplitClient implements NextTokenModel, ScoringModel {
  readonly device: DeviceName;
  readonly vocabularySize: number;
  readonly splitBlock: number;
  readonly codec: CompressionCodec;
  readonly #config: StagedModel["config"];
  readonly #result: "hidden" | "logits" | "token";
  readonly #mode: CodecMode | undefined;
  readonly #part: DevicePart;
  readonly #scope: SessionScope;
  readonly #meter: TrafficMeter;
  readonly #promptChunk: number;

  private constructor(
    { model, splitBlock = 1, result = "logits", promptChunk = Infinity }: SplitClientOptions,
    { part, scope, meter, mode }: {
      readonly part: DevicePart; readonly scope: SessionScope; readonly meter: TrafficMeter; readonly mode: CodecMode | undefined;
    },
  ) {
    this.device = model.device;
    this.vocabularySize = model.vocabularySize;
    this.splitBlock = splitBlock;
    this.codec = part.codec;
    this.#config = model.config;
    this.#result = result;
    this.#mode = mode;
    this.#part = part;
    this.#scope = scope;
    this.#meter = meter;
    this.#promptChunk = promptChunk;
  }

  /**
   * Connects and checks that both ends hold parts of the same model. The model stays the caller's.
   * @throws SettingsError for settings out of range, or that the server does not serve; RemoteError when it refuses; ConnectionError when
   * there is none
   */
  static async connect(options: SplitClientOptions): Promise<SplitClient> {
    const { transport, model, splitBlock = 1, table, credentials, onEvent = () => {}, errorSampling = 16, keptBytes = 64 << 20 } = options;
    const { name = "fourier-compress", prefixReuse = true, resultTimeoutSeconds = 120, result = "logits", promptChunk } = options;
    checkInteger("splitBlock", splitBlock, 0);
    checkInteger("errorSampling", errorSampling, 0);
    checkInteger("keptBytes", keptBytes, 0);
    if (promptChunk !== undefined) checkInteger("promptChunk", promptChunk, 1);
    if (!(resultTimeoutSeconds > 0)) throw new SettingsError(`SplitClient: resultTimeoutSeconds ${resultTimeoutSeconds}; use a number > 0`);
    const [from, to] = model.blockRange;
    if (from > 0 || to < splitBlock) {
      const held = `the model holds ${from} to ${to} (exclusive)`;
      throw new SettingsError(`SplitClient: splitBlock ${splitBlock} needs the blocks before it; ${held}`);
    }
    const { codec, mode } = codecOf(options.codec, table);
    const definition = codecDefinition(codec.name);
    if (table !== undefined && table.block !== splitBlock) {
      throw new SettingsError(`SplitClient: the codec table is of block ${table.block}, the split is before block ${splitBlock}`);
    }
    const fingerprint = await fingerprintOf(model, options.fingerprint);
    const meter = new TrafficMeter();
    const hash = table?.hash;
    const checkWelcome = (welcome: ControlMessages["welcome"]): void =>
      checkServed(welcome, { model, fingerprint, splitBlock, codec: codec.name, table: hash });
    const limits = { ...DEFAULT_FRAME_LIMITS, hiddenSize: Math.max(DEFAULT_FRAME_LIMITS.hiddenSize, model.vocabularySize) };
    const link = await ServerLink.connect({
      transport, name, credentials, limits, meter, checkWelcome, onEvent, reconnect: checkReconnect(options.reconnect),
    });
    const { hiddenSize, vocabularySize } = model;
    const scope: SessionScope = {
      link, meter, onEvent, fingerprint, splitBlock, hiddenSize, vocabularySize, codec: { name: codec.name, id: definition.id },
      table: hash, prefixReuse, keptBytes, resultTimeout: resultTimeoutSeconds * 1000,
    };
    const part = new DevicePart({ model, splitBlock, codec, meter, errorSampling });
    return new SplitClient({ ...options, result }, { part, scope, meter, mode });
  }

  /** The model's, with no more positions than the server gives a session. */
  get config(): StagedModel["config"] {
    const { limits, model } = this.#scope.link.welcome;
    const positions = Math.min(this.#config.maxPositionEmbeddings, model.maxPositionEmbeddings, limits.tokensPerSession);
    return { ...this.#config, maxPositionEmbeddings: positions };
  }

  /** What the server said it serves. */
  get served(): ControlMessages["welcome"] {
    return this.#scope.link.welcome;
  }

  /** What has crossed the network so far. */
  traffic(): ClientTraffic {
    return this.#meter.report();
  }

  /** A cache here and a session there, which is opened with the first tokens. @throws SettingsError for a batch other than 1 */
  createCache({ capacity, batch = 1 }: { readonly capacity?: number; readonly batch?: number } = {}): RemoteCache {
    if (batch !== 1) throw new SettingsError(`SplitClient: a session is one sequence; make a cache for each of the batch of ${batch}`);
    const most = this.config.maxPositionEmbeddings;
    const settings: SessionSettings = { result: this.#result, capacity: Math.min(capacity ?? most, most) };
    return new RemoteCache(this.#part, {
      session: new RemoteSession(this.#scope, settings), local: this.#part.createCache(settings.capacity), settings,
    });
  }

  /**
   * As `StagedModel.forward`: ids [batch, tokens] → logits. With a cache the batch is 1; without one every row is a session of its own,
   * that ends with the call. Long inputs are sent in several messages.
   * @throws SettingsError with result "token", or a cache that is not this client's; and the errors of `RemoteSession.send`, which leave
   * the cache as it was
   */
  async forward(ids: Tensor, { cache, lastOnly = false }: ForwardOptions = {}): Promise<Tensor> {
    if (this.#result === "token") {
      throw new SettingsError('this client asks for tokens: use generate or conversation, or connect with result "logits" or "hidden"');
    }
    const [batch, tokens] = ids.shape as readonly [number, number];
    const flat = [...(await ids.data("int32"))];
    if (cache !== undefined) {
      if (batch !== 1) throw new SettingsError(`SplitClient: a cache is one sequence, the ids are ${batch}`);
      return await this.#forwardRow(flat, this.#own(cache), lastOnly);
    }
    const rows: Tensor[] = [];
    try {
      for (let row = 0; row < batch; row++) {
        using passing = this.createCache({ capacity: tokens });
        rows.push(await this.#forwardRow(flat.slice(row * tokens, (row + 1) * tokens), passing, lastOnly));
      }
      return batch === 1 ? rows.pop()! : concatenate(rows, 0);
    } finally {
      for (const row of rows) row.dispose();
    }
  }

  #own(cache: DecoderCache): RemoteCache {
    if (!(cache instanceof RemoteCache)) throw new SettingsError("SplitClient: the cache is not of its createCache");
    return cache;
  }

  async #forwardRow(ids: readonly number[], cache: RemoteCache, lastOnly: boolean): Promise<Tensor> {
    if (cache.isBusy) throw new SettingsError("tokens are on their way through this cache; wait for them");
    cache.reserve(ids.length);
    const start = cache.length;
    cache.isBusy = true;
    try {
      return lastOnly ? await this.#lastLogits(ids, cache) : await this.#allLogits(ids, cache);
    } catch (error) {
      cache.local.truncate(start);
      throw error;
    } finally {
      cache.isBusy = false;
    }
  }

  async #message(ids: readonly number[], cache: RemoteCache, flags: number): Promise<StreamMessage> {
    const message = await this.#part.message(ids, cache.local, cache.streamId, flags);
    cache.advance(ids.length);
    return message;
  }

  async #lastLogits(ids: readonly number[], cache: RemoteCache): Promise<Tensor> {
    const chunks = this.#cut(ids.length);
    const { session } = cache;
    // A new session asks for all of its prompt at once; one that is open is sent each message while the next is computed.
    const isAsked = !session.isOpen && chunks.length > 1 && this.#scope.prefixReuse;
    const messages: StreamMessage[] = [];
    const underWay: Promise<Frame>[] = [];
    let first = 0;
    for (const [index, tokens] of chunks.entries()) {
      const flags = index === chunks.length - 1 ? FRAME_FLAGS.value : 0;
      const message = await this.#message(ids.slice(first, (first += tokens)), cache, flags);
      if (isAsked) {
        messages.push(message);
        continue;
      }
      const result = session.send(message);
      // Told where it is awaited.
      result.catch(() => {});
      if (underWay.push(result) > UNDER_WAY) await underWay.shift();
    }
    if (isAsked) return this.#logits(await session.sendAll(messages), 1);
    const results = await Promise.all(underWay);
    return this.#logits(results.at(-1)!, 1);
  }

  async #allLogits(ids: readonly number[], cache: RemoteCache): Promise<Tensor> {
    const width = this.#result === "hidden" ? this.#scope.hiddenSize : this.vocabularySize;
    const most = Math.max(1, Math.floor(DEFAULT_FRAME_LIMITS.payloadBytes / (4 * width)));
    const parts: Tensor[] = [];
    try {
      let first = 0;
      for (const tokens of this.#cut(ids.length, most)) {
        const message = await this.#message(ids.slice(first, (first += tokens)), cache, FRAME_FLAGS.value | FRAME_FLAGS.allRows);
        parts.push(this.#logits(await cache.session.send(message), tokens));
      }
      return parts.length === 1 ? parts.pop()! : concatenate(parts, 1);
    } finally {
      for (const part of parts) part.dispose();
    }
  }

  /** [1, rows, vocabularySize] of a result. */
  #logits(frame: Frame, rows: number): Tensor {
    const { device } = this;
    const { model } = this.#part;
    if (this.#result === "logits") return tensor(rowsOf(frame, rows, this.vocabularySize), [1, rows, this.vocabularySize], { device });
    return tidy(() => model.head(tensor(rowsOf(frame, rows, model.hiddenSize), [1, rows, model.hiddenSize], { device })));
  }

  /** Tokens of each message that so many are sent in. */
  #cut(tokens: number, most: number = Infinity): number[] {
    const { tokensPerFrame, payloadBytes } = this.#scope.link.welcome.limits;
    const inBytes = Math.floor((payloadBytes - MESSAGE_OVERHEAD) / (4 * this.#scope.hiddenSize + TOKEN_OVERHEAD));
    const size = Math.max(1, Math.min(tokensPerFrame, inBytes, this.#promptChunk, most));
    const chunks: number[] = [];
    for (let left = tokens; left > 0; left -= size) chunks.push(Math.min(size, left));
    return chunks;
  }

  /**
   * Tokens that go back and forth with sampling on the server: a message of a few hundred bytes up and 52 bytes down for each. The
   * conversation is the caller's to dispose of.
   */
  conversation({ capacity, ...options }: ServerSamplingOptions & { readonly capacity?: number } = {}): Conversation {
    const most = this.config.maxPositionEmbeddings;
    const settings: SessionSettings = {
      result: "token", capacity: Math.min(capacity ?? most, most), sampling: samplingOf(options, this.#config.eosTokenIds),
    };
    return new Conversation({
      device: this.#part, session: new RemoteSession(this.#scope, settings), local: this.#part.createCache(settings.capacity),
      capacity: settings.capacity, cut: (tokens) => this.#cut(tokens),
    });
  }

  /**
   * Continues token ids, one at a time, with sampling on the server.
   * @throws ContextLengthError when the prompt fills the context, LanguageModelError for ids outside the vocabulary, and the errors of
   * `RemoteSession.send`
   */
  async *generate(promptIds: readonly number[], options: RemoteGenerationOptions = {}): AsyncGenerator<SampledToken> {
    const { maxNewTokens = Infinity, journal } = options;
    const capacity = this.#capacityOf(promptIds, maxNewTokens);
    const sampling = samplingOf(options, this.#config.eosTokenIds);
    const chunks = this.#cut(promptIds.length);
    const { fingerprint, splitBlock, table } = this.#scope;
    await journal?.write({
      kind: "begin", version: SESSION_JOURNAL_VERSION, fingerprint, splitBlock, codec: this.codec.name,
      ...(this.#mode === undefined ? {} : { mode: this.#mode }), ...(table === undefined ? {} : { table }), sampling,
      promptIds: [...promptIds], chunks, ...(maxNewTokens === Infinity ? {} : { maxNewTokens }),
    });
    const onTicket = journal && ((ticket: SessionTicket) => journal.write({ kind: "session", ...ticket }));
    const session = new RemoteSession(this.#scope, { result: "token", capacity, sampling, onTicket });
    using conversation = new Conversation({
      device: this.#part, session, local: this.#part.createCache(capacity), capacity, journal, cut: (tokens) => this.#cut(tokens),
    });
    yield* conversation.generate(promptIds, options);
  }

  /**
   * Goes on with a generation that another process began, and yields the tokens after those in its journal: those that it would have
   * yielded. The device's part is computed anew; the server's is still there, or is rebuilt from the messages.
   * @param options.maxNewTokens in all, those of the journal included. Default: the journal's
   * @param options.journal where to write on; usually the same file
   * @throws SessionJournalError for a journal of another model, split, codec or table, and the errors of `generate`
   */
  async *resumeGeneration(
    journal: SessionJournal, options: TurnOptions & { readonly journal?: JournalWriter } = {},
  ): AsyncGenerator<SampledToken> {
    const { begin, tokens, end } = journal;
    if (end === "stop") return;
    const maxNewTokens = options.maxNewTokens ?? begin.maxNewTokens ?? Infinity;
    const left = maxNewTokens - tokens.length;
    if (left <= 0) return;
    const capacity = this.#capacityOf(begin.promptIds, maxNewTokens);
    const restored = await restoreSession(journal, {
      device: this.#part, scope: this.#scope, mode: this.#mode, capacity, writer: options.journal, signal: options.signal,
    });
    if (restored === undefined) return;
    using conversation = restored.conversation;
    yield* conversation.generate(restored.ids, { ...options, maxNewTokens: left });
  }

  /** @throws SettingsError ContextLengthError */
  #capacityOf(promptIds: readonly number[], maxNewTokens: number): number {
    const context = this.config.maxPositionEmbeddings;
    if (!(maxNewTokens >= 0)) throw new SettingsError(`maxNewTokens ${maxNewTokens}; use a number >= 0`);
    if (promptIds.length >= context) throw new ContextLengthError(promptIds.length + 1, context);
    return Math.min(context, promptIds.length + Math.ceil(maxNewTokens));
  }

  /** Ends the connection and all sessions' use of it; what still waits fails. Caches are the caller's to dispose of, before. */
  close(): void {
    this.#scope.link.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
