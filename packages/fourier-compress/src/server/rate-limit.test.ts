import { describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { ClientRateLimit, TokenBucket } from "./rate-limit.ts";

/** A clock that stands until it is moved, in milliseconds. */
function clock(): { now(): number; time: number } {
  return {
    time: 0,
    now() {
      return this.time;
    },
  };
}

describe("TokenBucket", () => {
  it("lets a burst through, then the rate", () => {
    const time = clock();
    const bucket = new TokenBucket({ perSecond: 10, burst: 5, now: () => time.now() });
    expect(Array.from({ length: 6 }, () => bucket.take(1))).toEqual([true, true, true, true, true, false]);
    expect(bucket.secondsUntil(1)).toBeCloseTo(0.1);
    time.time = 99;
    expect(bucket.take(1)).toBe(false);
    time.time = 101;
    expect(bucket.take(1)).toBe(true);
    expect(bucket.take(1)).toBe(false);
    time.time = 60_000;
    expect(bucket.secondsUntil(5)).toBe(0);
    expect(Array.from({ length: 6 }, () => bucket.take(1)).filter(Boolean)).toHaveLength(5);
  });

  it("holds the average over a long time", () => {
    const time = clock();
    const bucket = new TokenBucket({ perSecond: 100, burst: 50, now: () => time.now() });
    let taken = 0;
    for (; time.time < 20_000; time.time += 3) if (bucket.take(1)) taken++;
    expect(taken).toBeGreaterThanOrEqual(2000);
    expect(taken).toBeLessThanOrEqual(2050);
  });

  it("lets through more than a burst when it is full, and is paid back", () => {
    const time = clock();
    const bucket = new TokenBucket({ perSecond: 10, burst: 10, now: () => time.now() });
    expect(bucket.take(30)).toBe(true);
    expect(bucket.take(1)).toBe(false);
    expect(bucket.secondsUntil(1)).toBeCloseTo(2.1);
    time.time = 2200;
    expect(bucket.take(1)).toBe(true);
  });

  it.each([[0, 1], [1, 0], [-1, 1], [Number.NaN, 1]])("refuses a rate of %d and a burst of %d", (perSecond, burst) => {
    expect(() => new TokenBucket({ perSecond, burst })).toThrow(SettingsError);
  });
});

describe("ClientRateLimit", () => {
  it("bounds frames and bytes, and takes neither when one is short", () => {
    const time = clock();
    const limit = new ClientRateLimit({ framesPerSecond: 2, bytesPerSecond: 100, seconds: 2, now: () => time.now() });
    expect(limit.take(150)).toBe(0);
    expect(limit.take(100)).toBeCloseTo(0.5);
    // The refusal took no frame: three are left of four.
    expect([limit.take(1), limit.take(1), limit.take(1)]).toEqual([0, 0, 0]);
    expect(limit.take(1)).toBeCloseTo(0.5);
    time.time = 500;
    expect(limit.take(1)).toBe(0);
  });
});
