import { describe, expect, it } from "vitest";
import { crc32c } from "./crc32c.ts";

/** Bit by bit, from the definition. */
function slowCrc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0);
  }
  return ~crc >>> 0;
}

describe("crc32c", () => {
  it("gives the check values of RFC 3720 and the catalogue", () => {
    expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe306_9283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a91_36aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8_ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, index) => index))).toBe(0x46dd_794e);
    expect(crc32c(new Uint8Array(0))).toBe(0);
  });

  it("equals the definition at every length, offset and cut", () => {
    const bytes = Uint8Array.from({ length: 90 }, (_, index) => (index * 167 + 13) & 0xff);
    for (let length = 0; length <= 40; length++) {
      for (const offset of [0, 1, 3]) {
        const part = bytes.subarray(offset, offset + length);
        const expected = slowCrc32c(part);
        expect(crc32c(part)).toBe(expected);
        const cut = Math.floor(length / 3);
        expect(crc32c(part.subarray(cut), crc32c(part.subarray(0, cut)))).toBe(expected);
      }
    }
  });
});
