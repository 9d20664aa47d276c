import type { DecoderCache } from "@frugal/language-model";
import { describe, expect, it } from "vitest";
import { nextPrefixKey } from "../wire/prefix-key.ts";
import { prefixKeyAfter, PrefixStore, type MessageBoundary } from "./prefix-store.ts";

/** A cache that takes a byte a token, and counts its copies. */
class FakeCache implements DecoderCache {
  static alive = 0;
  readonly length: number;
  readonly capacity: number;

  constructor(length: number, capacity: number = length) {
    FakeCache.alive++;
    this.length = length;
    this.capacity = capacity;
  }
  get byteLength(): number {
    return this.length;
  }
  fork(length: number = this.length, { capacity = length }: { readonly capacity?: number } = {}): FakeCache {
    return new FakeCache(length, capacity);
  }
  dispose(): void {
    FakeCache.alive--;
  }
  blockState(): never {
    throw new Error("not for this test");
  }
  reserve(): void {}
  advance(): void {}
  truncate(): void {}
}

/** A stream of messages of `tokens` tokens each. Keys are chained: a stream's name at its n-th message is the letters up to there. */
function stream(letters: string, tokens: number = 10): readonly [FakeCache, MessageBoundary[]] {
  const boundaries = Array.from(letters, (_, index) => ({ tokens: tokens * (index + 1), key: letters.slice(0, index + 1) }));
  return [new FakeCache(tokens * letters.length), boundaries];
}

function add(
  store: PrefixStore, letters: string, { scope = "", fits = () => true }: { scope?: string; fits?: (bytes: number) => boolean } = {},
): void {
  const [cache, boundaries] = stream(letters);
  store.add(scope, cache, boundaries, { expectedBytes: (tokens) => tokens, fits });
  cache.dispose();
}

const keysOf = (letters: string): string[] => Array.from(letters, (_, index) => letters.slice(0, index + 1));

it("hashes streams as clients do", async () => {
  const [before, message] = [new Uint8Array(32).fill(7), Uint8Array.from({ length: 1000 }, (_, index) => index)];
  const expected = Buffer.from(await nextPrefixKey(before, message)).toString("hex");
  expect(prefixKeyAfter(Buffer.from(before).toString("hex"), message)).toBe(expected);
});

describe("PrefixStore", () => {
  it("finds the longest kept beginning of a stream", () => {
    const store = new PrefixStore(1000);
    add(store, "abc");
    add(store, "abx");
    const found = (letters: string): number | undefined => store.find("", keysOf(letters))?.tokens;
    expect([found("abcd"), found("abc"), found("abxy"), found("ab"), found("a"), found("b"), found("")]).toEqual([
      30, 30, 30, 20, 10, undefined, undefined,
    ]);
    expect(store.find("", keysOf("abq"))!.boundaries.map(({ key }) => key)).toEqual(["a", "ab"]);
    // Out of its place, a key is nobody's.
    expect(store.find("", ["ab"])).toBeUndefined();
    expect(store.find("another", keysOf("abc"))).toBeUndefined();
    store.clear();
    expect([found("abc"), store.bytes, store.size, FakeCache.alive]).toEqual([undefined, 0, 0, 0]);
  });

  it("keeps one copy for a stream and its beginnings", () => {
    const store = new PrefixStore(1000);
    add(store, "ab");
    add(store, "abcd");
    expect([store.size, store.bytes]).toEqual([1, 40]);
    add(store, "abc");
    expect([store.size, store.bytes]).toEqual([1, 40]);
    add(store, "abc", { scope: "another" });
    expect([store.size, store.bytes]).toEqual([2, 70]);
    store.clear();
    expect(FakeCache.alive).toBe(0);
  });

  it("lets go of what was not used for the longest time", () => {
    const store = new PrefixStore(70);
    add(store, "abc");
    add(store, "xyz");
    store.find("", ["a"]);
    add(store, "mn");
    expect([store.find("", ["x"]), store.bytes]).toEqual([undefined, 50]);
    expect(store.find("", ["a"])?.tokens).toBe(10);
    add(store, "much too long");
    expect(store.size).toBe(2);
    /** Whether the store and what others take stay within 110 bytes. */
    const beside = (others: number) => (bytes: number): boolean => others + store.bytes + bytes <= 110;
    add(store, "q", { fits: beside(100) });
    expect([store.size, store.bytes]).toEqual([1, 10]);
    // Where letting go of everything would not be enough, everything stays, beginnings too.
    add(store, "r", { fits: beside(101) });
    add(store, "qr", { fits: beside(100) });
    expect([store.find("", ["q"])?.tokens, store.size, FakeCache.alive]).toEqual([10, 1, 1]);
    store.clear();
    expect(FakeCache.alive).toBe(0);
  });

  it("keeps nothing where it may keep nothing", () => {
    const store = new PrefixStore(0);
    add(store, "a");
    expect([store.size, store.isEnabled, FakeCache.alive]).toEqual([0, false, 0]);
  });

  it("names as many messages as an open can", () => {
    const store = new PrefixStore(1e6);
    const long = "x".repeat(300);
    add(store, long);
    expect([store.bytes, store.find("", keysOf(long))?.tokens]).toEqual([2560, 2560]);
    store.clear();
  });
});
