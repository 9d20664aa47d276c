import { createSampler, type ActivationContext, type DecoderCache, type Sampler, type SamplingOptions } from "@frugal/language-model";
import type { CompressionCodec } from "../codecs/compression-codec.ts";
import type { ErrorCode, ServerSampling } from "../wire/control-messages.ts";
import { makeFrame, type Frame } from "../wire/frame.ts";
import type { MessageBoundary } from "./prefix-store.ts";
import type { SessionMemory } from "./session-memory.ts";

/** What a result holds. */
export type ResultKind = "token" | "logits" | "hidden";

/** Where a session's answers go: the connection that it belongs to at present. */
export interface SessionHolder {
  /** A result, or a refusal that leaves the session as it is. */
  answer(frame: Frame): void;
  /** The session is no longer this connection's. */
  released(handle: number, code: ErrorCode, reason: string): void;
}

/** An activation frame that waits for a step. */
export interface WaitingActivation {
  readonly frame: Frame;
  /** `performance.now()` when it arrived. */
  readonly arrived: number;
  /** To be called once, when it has been answered or dropped. */
  readonly done: () => void;
}

/** What a session is opened with, once all of it has been checked. */
export interface SessionSettings {
  readonly id: string;
  readonly secret: Uint8Array;
  /** Principal, or address: whose quota it counts in. */
  readonly client: string;
  /** Of an authenticated client; only the same may take the session up. */
  readonly principal: string | undefined;
  readonly splitBlock: number;
  readonly codec: CompressionCodec;
  readonly codecId: number;
  /** First four bytes of the table's hash, little-endian; 0 without. */
  readonly tableWord: number;
  readonly result: ResultKind;
  readonly sampling: ServerSampling;
  readonly stopTokenIds: readonly number[];
  readonly capacity: number;
  readonly memory: SessionMemory;
  /** Key of the stream before its first message. Without it the stream's keys are not followed. */
  readonly emptyKey: string | undefined;
  /** Kept prefixes of this scope are its own. */
  readonly prefixScope: string;
  /** What the session begins with; empty, or a fork of a kept prefix with its boundaries. */
  readonly cache: DecoderCache;
  readonly boundaries: readonly MessageBoundary[];
}

/** A stream of activations into a cache. Changes only by what the server's other parts do with it. */
export class Session {
  readonly settings: SessionSettings;
  readonly cache: DecoderCache;
  /** Sequence number of the last activation that was taken into the cache. */
  applied = 0;
  /** Result of `applied`, with the session's handle still to be filled in. Kept until the next is applied. */
  kept: Frame | undefined;
  /** Frames after `applied`, in order. */
  readonly waiting: WaitingActivation[] = [];
  /** Resolves when the step that computes a frame of this session has ended; undefined between steps. */
  computing: Promise<void> | undefined;
  /** Set by the end of the session; its cache is freed as soon as no step uses it. */
  isClosed = false;
  /** `performance.now()` of the last frame, or the end of the last computation. */
  lastUse: number = performance.now();
  /** Bytes that are counted for it in the server's total. */
  countedBytes = 0;
  holder: SessionHolder | undefined;
  /** Number of the session on its connection. */
  handle = 0;
  #boundaries: MessageBoundary[];
  #drawn: number;
  #sampler: Sampler | undefined;

  constructor(settings: SessionSettings) {
    this.settings = settings;
    this.cache = settings.cache;
    this.#boundaries = [...settings.boundaries];
    this.#drawn = settings.sampling.drawn ?? 0;
  }

  /** First digits of the id, for logs; the whole id is half of what takes a session up. */
  get label(): string {
    return this.settings.id.slice(0, 8);
  }

  /** Last sequence number that has arrived. */
  get arrived(): number {
    return this.applied + this.waiting.length;
  }

  /** Bytes held: cache and kept result. */
  get heldBytes(): number {
    return this.cache.byteLength + (this.kept?.payload.length ?? 0);
  }

  /** Ends of the messages that made the cache, as far as they follow one another without a gap. */
  get boundaries(): readonly MessageBoundary[] {
    return this.#boundaries;
  }

  decodeContext(frame: Frame, tokensPerFrame: number): ActivationContext {
    return {
      kind: "activation", block: this.settings.splitBlock, streamId: this.settings.id,
      sequences: [{ positionOffset: frame.position, tokens: frame.tokens }],
      limits: { tokens: tokensPerFrame, hiddenSize: frame.hiddenSize },
    };
  }

  /** Goes back to `position`, so that what follows continues from there. @throws where the cache cannot */
  truncate(position: number): void {
    if (position === this.cache.length) return;
    this.cache.truncate(position);
    while (this.#boundaries.length > 0 && this.#boundaries.at(-1)!.tokens > position) this.#boundaries.pop();
  }

  /** Key that a message at `position` is chained to; undefined when the stream's keys do not reach there. */
  keyBefore(position: number): string | undefined {
    const last = this.#boundaries.at(-1);
    if (last === undefined) return position === 0 ? this.settings.emptyKey : undefined;
    return last.tokens === position ? last.key : undefined;
  }

  addBoundary(boundary: MessageBoundary): void {
    this.#boundaries.push(boundary);
  }

  /**
   * The sampler for the next draw. What was drawn counts once `drew` is called, so that a computation that failed does not shift the
   * session's random stream.
   */
  sampler(): Sampler {
    this.#sampler ??= createSampler({ ...samplingOptions(this.settings.sampling), logProbabilities: true, drawn: this.#drawn });
    return this.#sampler;
  }

  drew(): void {
    this.#drawn++;
  }

  /** After a failure: the next sampler starts at the last draw that counted. */
  forgetSampler(): void {
    this.#sampler = undefined;
  }

  /** Sends to the connection that the session belongs to at present, if any. */
  answer(frame: Frame): void {
    this.holder?.answer({ ...frame, session: this.handle });
  }

  /** Drops what waits; the client sends it again if it still wants it. */
  dropWaiting(): void {
    for (const { done } of this.waiting.splice(0)) done();
  }
}

/** What came as JSON has no keys without a value, whatever its type says. */
function samplingOptions(sampling: ServerSampling): SamplingOptions {
  return sampling as SamplingOptions;
}

/** A result without value: it only acknowledges. */
export function acknowledgement(sequence: number, position: number): Frame {
  return makeFrame("result", { sequence, position });
}
