import { describe, expect, it } from "vitest";
import { CODEC_CHOICES, codecChoice, namedCodec } from "./codec-choices.ts";
import { sameTokens } from "./story-list.ts";
import { formatBytes, formatError, formatRatio } from "./traffic-view.ts";

describe("sameTokens", () => {
  it("counts tokens until two stories part", () => {
    expect(sameTokens([1, 2, 3], [1, 2, 4, 5])).toBe(2);
    expect(sameTokens([1, 2], [1, 2, 4])).toBe(2);
    expect(sameTokens([1, 2, 4, 5], [1, 2])).toBe(2);
    expect(sameTokens([9], [1])).toBe(0);
  });
});

describe("figures", () => {
  it("are short", () => {
    expect([0, 999, 12_345, 41_000_000].map(formatBytes)).toEqual(["0 B", "999 B", "12.3 kB", "41.0 MB"]);
    expect([1.994, 7.6, 15.21].map(formatRatio)).toEqual(["1.99 ×", "7.60 ×", "15.2 ×"]);
    expect([undefined, 0, 0.01234, 0.1234].map(formatError)).toEqual(["–", "0, exact", "0.0123", "0.123"]);
  });
});

describe("codec choices", () => {
  it("give fixed-rate codecs no mode, and every codec once", () => {
    expect(new Set(CODEC_CHOICES.map(({ name }) => name)).size).toBe(CODEC_CHOICES.length);
    expect(namedCodec(codecChoice("int8"), 4)).toEqual({ name: "int8" });
    expect(namedCodec(codecChoice("klt"), 4)).toEqual({ name: "klt", mode: { kind: "ratio", ratio: 4 } });
    expect(() => codecChoice("zip")).toThrow("no codec zip");
  });
});
