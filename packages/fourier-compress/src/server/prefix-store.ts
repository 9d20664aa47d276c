import { createHash } from "node:crypto";
import type { DecoderCache } from "@frugal/language-model";

/** Where a message of a stream ended. */
export interface MessageBoundary {
  /** Tokens up to there. */
  readonly tokens: number;
  /** `nextPrefixKey` of the stream up to there, in hexadecimal. */
  readonly key: string;
}

/**
 * What `nextPrefixKey` resolves to, in hexadecimal, without leaving the thread: for the few bytes of a decode step, the way to another
 * thread and back takes longer than the rest of a small step.
 */
export function prefixKeyAfter(before: string, message: Uint8Array): string {
  return createHash("sha256").update(before, "hex").update(message).digest("hex");
}

/** A kept prefix that a new session can begin with. */
export interface PrefixMatch {
  /** To fork, not to keep. */
  readonly cache: DecoderCache;
  /** Of the messages that need not be sent; tokens are those of the last. */
  readonly boundaries: readonly MessageBoundary[];
  readonly tokens: number;
}

interface Entry {
  readonly scope: string;
  readonly cache: DecoderCache;
  readonly boundaries: readonly MessageBoundary[];
  readonly bytes: number;
}

/** Boundaries by which one prefix can be found; as many as an `open` can name. */
export const MOST_BOUNDARIES = 256;

/**
 * Caches of streams' beginnings, found by the hash of the messages that made them. The least recently used go first. Streams of different
 * scopes do not find each other's: that a prefix is there tells that somebody sent it.
 */
export class PrefixStore {
  readonly #mostBytes: number;
  /** In order of use, the latest last. */
  readonly #entries = new Set<Entry>();
  readonly #holders = new Map<string, Set<Entry>>();
  #bytes = 0;

  /** @param mostBytes 0 keeps nothing */
  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#entries.size;
  }

  get isEnabled(): boolean {
    return this.#mostBytes > 0;
  }

  /** The longest kept prefix of a stream whose messages have these keys. */
  find(scope: string, keys: readonly string[]): PrefixMatch | undefined {
    for (let last = keys.length - 1; last >= 0; last--) {
      const key = keys[last]!;
      const entry = this.#holder(scope, key);
      const boundary = entry?.boundaries[last];
      // A chained key names all messages before it, so it can only stand at its own place.
      if (entry === undefined || boundary?.key !== key) continue;
      this.#touch(entry);
      return { cache: entry.cache, boundaries: entry.boundaries.slice(0, last + 1), tokens: boundary.tokens };
    }
    return undefined;
  }

  /**
   * Keeps a copy of a stream's cache up to its last boundary, unless there is one already, or no room can be made.
   * @param expectedBytes what the copy of so many tokens takes, at the most
   * @param fits whether so many more bytes fit into what the server may hold (fewer, below 0); asked again after each that made way
   */
  add(
    scope: string, cache: DecoderCache, allBoundaries: readonly MessageBoundary[],
    { expectedBytes, fits }: { readonly expectedBytes: (tokens: number) => number; readonly fits: (bytes: number) => boolean },
  ): void {
    const boundaries = allBoundaries.slice(0, MOST_BOUNDARIES);
    const end = boundaries.at(-1);
    if (!this.isEnabled || end === undefined) return;
    const known = this.#holder(scope, end.key);
    if (known !== undefined) {
      this.#touch(known);
      return;
    }
    const expected = expectedBytes(end.tokens);
    // Not even without the others: then they stay.
    if (expected > this.#mostBytes || !fits(expected - this.#bytes)) return;
    this.#removeBeginnings(scope, boundaries);
    while (this.#bytes + expected > this.#mostBytes || !fits(expected)) if (!this.evict()) return;
    // A copy that can hold one token more than it has is the least that models of any kind can be asked for.
    const copy = cache.fork(end.tokens, { capacity: end.tokens + 1 });
    const entry: Entry = { scope, cache: copy, boundaries, bytes: copy.byteLength };
    this.#entries.add(entry);
    this.#bytes += entry.bytes;
    for (const { key } of boundaries) {
      const name = nameOf(scope, key);
      const holders = this.#holders.get(name) ?? new Set();
      this.#holders.set(name, holders.add(entry));
    }
  }

  /** Frees the least recently used prefix; false when there is none. */
  evict(): boolean {
    const [oldest] = this.#entries;
    if (oldest === undefined) return false;
    this.#remove(oldest);
    return true;
  }

  clear(): void {
    while (this.evict());
  }

  #holder(scope: string, key: string): Entry | undefined {
    const [entry] = this.#holders.get(nameOf(scope, key)) ?? [];
    return entry;
  }

  #touch(entry: Entry): void {
    this.#entries.delete(entry);
    this.#entries.add(entry);
  }

  /** A longer prefix serves for the shorter ones that it begins with. */
  #removeBeginnings(scope: string, boundaries: readonly MessageBoundary[]): void {
    for (const { key } of boundaries) {
      for (const entry of this.#holders.get(nameOf(scope, key)) ?? []) if (entry.boundaries.at(-1)!.key === key) this.#remove(entry);
    }
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry);
    this.#bytes -= entry.bytes;
    for (const { key } of entry.boundaries) {
      const name = nameOf(entry.scope, key);
      const holders = this.#holders.get(name);
      holders?.delete(entry);
      if (holders?.size === 0) this.#holders.delete(name);
    }
    entry.cache.dispose();
  }
}

function nameOf(scope: string, key: string): string {
  return `${key} ${scope}`;
}
