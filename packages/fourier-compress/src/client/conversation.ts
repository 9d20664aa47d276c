import { ContextLengthError, LanguageModelError, type DecoderCache, type SampledToken } from "@frugal/language-model";
import { ConnectionError, SettingsError } from "../errors.ts";
import { FRAME_FLAGS } from "../wire/frame.ts";
import type { DevicePart } from "./device-part.ts";
import type { StreamMessage } from "./kept-messages.ts";
import type { RemoteSession } from "./remote-session.ts";
import { tokenOf, type ServerToken } from "./result-values.ts";
import type { JournalWriter } from "./session-journal.ts";

/** How many tokens to add, and when to stop. */
export interface TurnOptions {
  /** Default: until an end token, or the end of the context. */
  readonly maxNewTokens?: number;
  /** Stops, without an error, before the next token. */
  readonly signal?: AbortSignal;
}

/** Parts of a conversation. */
interface ConversationParts {
  readonly device: DevicePart;
  readonly session: RemoteSession;
  readonly local: DecoderCache;
  /** Tokens that the session may hold. */
  readonly capacity: number;
  /** Tokens of each message, from that many on. */
  readonly cut: (tokens: number) => readonly number[];
  readonly journal?: JournalWriter | undefined;
  /** A token that was drawn, but has not been sent. */
  readonly undelivered?: number | undefined;
}

/**
 * Tokens that go back and forth: the ids of a turn go up as activations, the server draws the answer token by token. What was said stays in
 * the session on the server and in the device's cache, so that the next turn sends its own tokens alone. Turns follow one another.
 */
export class Conversation {
  readonly #parts: ConversationParts;
  readonly #streamId: string;
  #undelivered: readonly number[];
  #isBusy = false;
  /** Whether the last turn came to its end. */
  #isAtEnd = false;

  /** @internal */
  constructor(parts: ConversationParts) {
    this.#parts = parts;
    this.#streamId = parts.device.newStream();
    this.#undelivered = parts.undelivered === undefined ? [] : [parts.undelivered];
  }

  /** Tokens so far, the last answer's included. */
  get length(): number {
    return this.#parts.local.length + this.#undelivered.length;
  }

  /** Tokens that fit. */
  get capacity(): number {
    return this.#parts.capacity;
  }

  /**
   * Says `ids` and yields what the server answers. The end token of an answer is not yielded, but is part of the conversation. A turn
   * may be left early; the next one goes on from the last token that was yielded.
   * @throws ContextLengthError when the ids do not fit, and the errors of `RemoteSession.send`
   */
  async *generate(ids: readonly number[], { maxNewTokens = Infinity, signal }: TurnOptions = {}): AsyncGenerator<SampledToken> {
    const { device, session, local, capacity, cut, journal } = this.#parts;
    const { vocabularySize } = device.model;
    if (!(maxNewTokens >= 0)) throw new SettingsError(`maxNewTokens ${maxNewTokens}; use a number >= 0`);
    const broken = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
    if (broken !== undefined) throw new LanguageModelError(`token ${broken} is not in the vocabulary of ${vocabularySize}`);
    if (this.#isBusy) throw new SettingsError("a turn of this conversation is under way; end it first");
    let pending = [...this.#undelivered, ...ids];
    if (pending.length === 0) throw new LanguageModelError("the prompt has no tokens; start with the begin token");
    if (local.length + pending.length > capacity) throw new ContextLengthError(local.length + pending.length, capacity);
    this.#isBusy = true;
    this.#isAtEnd = false;
    try {
      for (let count = 0; count < maxNewTokens && local.length + pending.length <= capacity; count++) {
        if (signal?.aborted) return;
        const before = local.length;
        const giveUp = (): void => session.fail(new ConnectionError("the answer was not waited for"));
        let token: ServerToken;
        try {
          const messages = await this.#messages(pending, cut(pending.length));
          signal?.addEventListener("abort", giveUp);
          const answer = session.sendAll(messages);
          if (signal?.aborted) giveUp();
          token = tokenOf(await answer, vocabularySize);
        } catch (error) {
          local.truncate(before);
          if (signal?.aborted) return;
          throw error;
        } finally {
          signal?.removeEventListener("abort", giveUp);
        }
        this.#undelivered = pending = [token.id];
        const { isEnd, ...sampled } = token;
        if (isEnd) {
          this.#isAtEnd = true;
          await journal?.write({ kind: "end", reason: "stop" });
          return;
        }
        await journal?.write({ kind: "token", ...sampled });
        yield sampled;
      }
      this.#isAtEnd = true;
      await journal?.write({ kind: "end", reason: "length" });
    } finally {
      this.#isBusy = false;
    }
  }

  async #messages(ids: readonly number[], chunks: readonly number[]): Promise<StreamMessage[]> {
    const { device, local } = this.#parts;
    const messages: StreamMessage[] = [];
    let start = 0;
    for (const [index, tokens] of chunks.entries()) {
      const flags = index === chunks.length - 1 ? FRAME_FLAGS.value : 0;
      messages.push(await device.message(ids.slice(start, (start += tokens)), local, this.#streamId, flags));
      local.advance(tokens);
    }
    return messages;
  }

  /** Closes the session and frees the device's cache. What a journal can still go on with is left on the server until it expires. */
  dispose(): void {
    const { session, local, journal } = this.#parts;
    if (journal === undefined || this.#isAtEnd) session.dispose();
    else session.abandon();
    local.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
