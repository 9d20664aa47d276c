import { describe, expect, it } from "vitest";
import { CodecMessageError } from "../errors.ts";
import { decodeBinaryMask, encodeBinaryMask } from "./binary-mask.ts";

/** `count` of `total` places, by a linear congruential generator. */
function randomPositions(total: number, count: number): Uint32Array {
  const places = Uint32Array.from({ length: total }, (_, place) => place);
  let state = 7;
  for (let index = 0; index < count; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = index + Math.floor((state / 2 ** 32) * (total - index));
    [places[index], places[other]] = [places[other]!, places[index]!];
  }
  return places.slice(0, count).sort();
}

function entropyBits(total: number, count: number): number {
  const share = count / total;
  return -total * (share * Math.log2(share) + (1 - share) * Math.log2(1 - share));
}

describe("encodeBinaryMask", () => {
  it.each([
    [10_000, 100], [10_000, 1_300], [10_000, 5_000], [10_000, 9_900], [262_144, 262], [262_144, 26_000], [262_144, 131_072],
  ])("takes the entropy of %i places with %i taken, within 1 %%", (total, count) => {
    const positions = randomPositions(total, count);
    const bytes = encodeBinaryMask(positions, total);
    const entropy = entropyBits(total, count);
    expect(8 * bytes.length).toBeLessThan(1.005 * entropy + 32);
    if (entropy > 6400) expect(8 * bytes.length).toBeLessThan(1.01 * entropy);
    expect(decodeBinaryMask(bytes, total, count, "test")).toEqual(positions);
  });

  it.each([
    [1, 0], [1, 1], [2, 1], [7, 7], [288, 3], [100_000, 1], [100_000, 99_999],
  ])("returns %i places with %i taken", (total, count) => {
    const positions = randomPositions(total, count);
    expect(decodeBinaryMask(encodeBinaryMask(positions, total), total, count, "test")).toEqual(positions);
  });

  it("is the same on every engine", () => {
    expect([...encodeBinaryMask(Uint32Array.of(1, 4, 5, 9, 20), 24)]).toEqual([216, 168, 0, 0, 162, 148]);
  });

  it("refuses masks that are cut off, of another count, or changed", () => {
    const bytes = encodeBinaryMask(randomPositions(1000, 130), 1000);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeBinaryMask(bytes.subarray(0, length), 1000, 130, "test")).toThrow(CodecMessageError);
    }
    expect(() => decodeBinaryMask(bytes, 1000, 131, "test")).toThrow(CodecMessageError);
    expect(() => decodeBinaryMask(bytes, 1000, 1001, "test")).toThrow(CodecMessageError);
    expect(() => decodeBinaryMask(bytes, 1000, 1000, "test")).toThrow(CodecMessageError);
    for (let place = 0; place < bytes.length - 4; place++) {
      const changed = bytes.slice();
      changed[place]! ^= 4;
      expect(() => decodeBinaryMask(changed, 1000, 130, "test")).toThrow(CodecMessageError);
    }
  });
});
