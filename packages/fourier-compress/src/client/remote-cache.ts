import { MissingPartError, type BlockState, type DecoderCache } from "@frugal/language-model";
import { SettingsError } from "../errors.ts";
import type { DevicePart } from "./device-part.ts";
import type { RemoteSession } from "./remote-session.ts";
import type { SessionSettings } from "./session-scope.ts";

/**
 * The cache of a split model: the device's blocks have theirs here, the others' lives in a session on the server, which is opened when the
 * first tokens are sent. `truncate` is told to the server with the next tokens; `fork` sends the tokens' messages again into a session of
 * its own, where the server does not know them as a prefix.
 */
export class RemoteCache implements DecoderCache {
  readonly session: RemoteSession;
  readonly streamId: string;
  readonly local: DecoderCache;
  readonly capacity: number;
  readonly #device: DevicePart;
  readonly #settings: SessionSettings;
  #isDisposed = false;
  /** Whether a forward is under way. */
  isBusy = false;

  /** The local cache and the session belong to it from here on. */
  constructor(device: DevicePart, { session, local, settings }: {
    readonly session: RemoteSession; readonly local: DecoderCache; readonly settings: SessionSettings;
  }) {
    this.session = session;
    this.local = local;
    this.capacity = settings.capacity;
    this.streamId = device.newStream();
    this.#device = device;
    this.#settings = settings;
  }

  get length(): number {
    return this.local.length;
  }

  /** Of the device's part, the messages that are kept for rebuilding included. */
  get byteLength(): number {
    return this.local.byteLength + this.session.keptBytes;
  }

  /** @throws MissingPartError for the server's blocks */
  blockState(block: number): BlockState {
    if (block < this.#device.splitBlock) return this.local.blockState(block);
    throw new MissingPartError(`the cache of block ${block}`, "the server has it");
  }

  reserve(tokens: number): void {
    this.local.reserve(tokens);
  }

  advance(tokens: number): void {
    this.local.advance(tokens);
  }

  truncate(length: number): void {
    this.#idle("truncated");
    this.local.truncate(length);
  }

  /** @throws SettingsError as every cache, SessionLostError when the messages up to there are not kept any more */
  fork(length: number = this.length, { capacity = this.capacity }: { readonly capacity?: number } = {}): RemoteCache {
    this.#idle("forked");
    const local = this.local.fork(length, { capacity });
    const settings = { ...this.#settings, capacity };
    try {
      return new RemoteCache(this.#device, { session: this.session.fork(length, settings), local, settings });
    } catch (error) {
      local.dispose();
      throw error;
    }
  }

  #idle(done: string): void {
    if (this.isBusy) throw new SettingsError(`a cache cannot be ${done} while tokens are on their way through it`);
  }

  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.session.dispose();
    this.local.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
