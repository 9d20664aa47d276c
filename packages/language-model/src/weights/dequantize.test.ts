import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { WeightFormatError } from "../errors.ts";
import { halfToNumber } from "./block-formats.ts";
import { dequantize } from "./dequantize.ts";
import { canGroup, toGroupedQuantization, type GroupedQuantization } from "./grouped-quantization.ts";
import { blockLayout, type WeightEncoding } from "./weight-source.ts";

/** Encoding, positions of its half-precision fields, SHA-256 of what gguf-py 0.19.0 makes of the blocks below. */
const REFERENCE: readonly (readonly [WeightEncoding, readonly number[], string])[] = [
  ["Q4_0", [0], "1b1d7030566af3e4859e07eea5b918b2d8428beb7173ba0c7a38d89a05de2538"],
  ["Q4_1", [0, 2], "fcd20e32f22601607c3be82d5a72c7879d7f6bfecd5538f081710c0f7e99222b"],
  ["Q5_0", [0], "607bef2c6e185caa76bad55c5bf7e8159f82f1331e2cc6db7dd610914705cfdb"],
  ["Q5_1", [0, 2], "2c12bcd1bb76f7ceb11575991ca99b710f3ed93de6f0d4e62cd25272bbc1e176"],
  ["Q8_0", [0], "545c185035a5d4864e59ffde3605bacae9cc827aae9ccc89584d1db6796709d0"],
  ["Q2_K", [80, 82], "591b8a05570e4af5b1745345b1fbacd764764d56ac50b4c879fa3c1fd1d98c45"],
  ["Q3_K", [108], "8bbd96a9820f5ae99daec5c23aa9ccb0cb62e5649bbceecc46d1dbebff3ac010"],
  ["Q4_K", [0, 2], "40b1803e7ed1d2baaa17aedb24a506543bd7ae57baced2414ac087893a6f6b27"],
  ["Q5_K", [0, 2], "008f9e5cb0cc95ab1785c0cdee4a242e1af6d82e22ac1f95dd34f9371ca771c6"],
  ["Q6_K", [208], "ffae19d693e216c21f7cb821be73109cdb581655ddbe549baf5a44cc63f1003a"],
  ["IQ2_XXS", [0], "05b295e9bfe27c81726c3a9e5459a0c4e3bf7f105bf1d65f97f472043d597c55"],
  ["IQ4_NL", [0], "83aaecef81b93ba5b3465783fd292f9ecbc56a266baacc886e2b1c1b3d259ef1"],
  ["IQ4_XS", [0], "8e01aeedd3e40c13154cde040f7513dc881686f95ba62f2db736f73a588ee292"],
];

/** Blocks of pseudo-random bytes whose half-precision fields are finite. */
function blocks(encoding: WeightEncoding, halves: readonly number[], count: number, seed: number): Uint8Array {
  const { bytes: size } = blockLayout(encoding);
  const bytes = new Uint8Array(count * size);
  let state = seed;
  for (let at = 0; at < bytes.length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
  for (let block = 0; block < count; block++) {
    for (const half of halves) bytes[block * size + half + 1] = (bytes[block * size + half + 1] as number) & 0xbf;
  }
  return bytes;
}

function expand(grouped: GroupedQuantization, count: number): Float32Array {
  const output = new Float32Array(count);
  for (let index = 0; index < count; index++) {
    const group = Math.floor(index / grouped.groupSize);
    const stored =
      grouped.format === "int8" ? (grouped.values[index] as number) : ((grouped.values[index >> 1] as number) >> (4 * (index & 1))) & 15;
    output[index] = Math.fround((grouped.scales[group] as number) * stored) + (grouped.minimums?.[group] ?? 0);
  }
  return output;
}

describe("dequantize", () => {
  it.each(REFERENCE)("%s gives the bits of the reference implementation", (encoding, halves, sha256) => {
    const values = dequantize(encoding, blocks(encoding, halves, 64, 12345), 64 * blockLayout(encoding).elements);
    expect(createHash("sha256").update(new Uint8Array(values.buffer)).digest("hex")).toBe(sha256);
  });

  it("decodes small blocks worked out by hand", () => {
    // Scale 0.5 is 0x3800 in half precision. Q8_0: 0.5 * {0, 1, ..., -1}.
    const q8 = new Uint8Array(34);
    q8.set([0x00, 0x38]);
    for (let index = 0; index < 31; index++) q8[2 + index] = index;
    q8[33] = 0xff;
    expect([...dequantize("Q8_0", q8, 32)]).toEqual([...Array.from({ length: 31 }, (_, index) => index / 2), -0.5]);
    // Q4_0: byte i holds value i in its low and value i + 16 in its high nibble, both less 8.
    const q4 = new Uint8Array(18).fill(0x9f);
    q4.set([0x00, 0x38]);
    expect([...dequantize("Q4_0", q4, 32)]).toEqual([...Array<number>(16).fill(3.5), ...Array<number>(16).fill(0.5)]);
    // IQ2_XXS: d = 1; group 0 has codebook points 0 (all 8), 1 (43 then 8), sign index 1 (bits 0 and 7), scale nibble 3.
    const iq2 = new Uint8Array(66);
    iq2.set([0x00, 0x3c, 0, 1, 0, 0, 0x01, 0x00, 0x00, 0x30]);
    const group = dequantize("IQ2_XXS", iq2, 256).subarray(0, 16);
    const scale = (0.5 + 3) * 0.25;
    expect([...group]).toEqual([-8, 8, 8, 8, 8, 8, 8, -8, 43, 8, 8, 8, 8, 8, 8, 8].map((value) => value * scale));
    // Q6_K: low nibbles 1, high bits 2 (0xAA), so 1 | 2 << 4 = 33, less 32; scale 2 * 0.5.
    const q6 = new Uint8Array(210).fill(0x11, 0, 128).fill(0xaa, 128, 192).fill(2, 192, 208);
    q6.set([0x00, 0x38], 208);
    expect([...dequantize("Q6_K", q6, 256)]).toEqual(Array<number>(256).fill(1));
  });

  it("decodes every half-precision number", () => {
    const expected = (half: number): number => {
      const sign = half & 0x8000 ? -1 : 1;
      const exponent = (half >> 10) & 31;
      const fraction = half & 1023;
      if (exponent === 31) return fraction ? NaN : sign * Infinity;
      return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
    };
    for (let half = 0; half < 65536; half++) {
      if (!Object.is(halfToNumber(half), expected(half))) expect.fail(`half ${half} gives ${halfToNumber(half)}`);
    }
    expect([...dequantize("float16", Uint8Array.of(0x00, 0x3c, 0x00, 0xc0), 2)]).toEqual([1, -2]);
    expect([...dequantize("bfloat16", Uint8Array.of(0x80, 0x3f, 0x20, 0xc1), 2)]).toEqual([1, -10]);
  });

  it("reads floats at any alignment", () => {
    const bytes = new Uint8Array(9);
    new DataView(bytes.buffer).setFloat32(1, 1.5, true);
    new DataView(bytes.buffer).setFloat32(5, -2, true);
    expect([...dequantize("float32", bytes.subarray(1), 2)]).toEqual([1.5, -2]);
  });

  it("refuses lengths that do not fit", () => {
    expect(() => dequantize("Q8_0", new Uint8Array(33), 32)).toThrow(WeightFormatError);
    expect(() => dequantize("Q8_0", new Uint8Array(34), 31)).toThrow("whole number of blocks");
    expect(() => dequantize("float32", new Uint8Array(8), 3)).toThrow("12 bytes");
  });
});

describe("toGroupedQuantization", () => {
  it.each(REFERENCE)("%s stands for the same values as dequantize", (encoding, halves) => {
    const { elements, bytes: size } = blockLayout(encoding);
    const compare = (bytes: Uint8Array): void => {
      const count = (bytes.length / size) * elements;
      const expected = dequantize(encoding, bytes, count);
      const grouped = toGroupedQuantization(encoding, bytes, [count / elements, elements]);
      const actual = expand(grouped, count);
      for (let index = 0; index < count; index++) {
        if (actual[index] !== expected[index]) expect.fail(`value ${index}: ${actual[index]} is not ${expected[index]}`);
      }
    };
    fc.assert(
      fc.property(fc.nat(), (seed) => compare(blocks(encoding, halves, 4, seed))),
      { numRuns: 50 },
    );
    // All bits set or clear, with the largest, the smallest and a subnormal scale.
    for (const fill of [0, 255, 0x55, 0xaa]) {
      for (const half of [0x7bff, 0xfbff, 0x0001, 0x8001, 0x0400, 0]) {
        const bytes = new Uint8Array(size).fill(fill);
        for (const at of halves) bytes.set([half & 255, half >> 8], at);
        compare(bytes);
      }
    }
  });

  it("uses four bits where they do, and says what it cannot repack", () => {
    const format = (encoding: WeightEncoding): string => {
      const { elements, bytes } = blockLayout(encoding);
      const grouped = toGroupedQuantization(encoding, new Uint8Array(bytes), [elements]);
      return `${grouped.format}/${grouped.groupSize}${grouped.minimums ? " with minimums" : ""}`;
    };
    expect(format("IQ2_XXS")).toBe("int8/32");
    expect(format("Q8_0")).toBe("int8/32");
    expect(format("Q4_0")).toBe("uint4/32 with minimums");
    expect(format("Q4_K")).toBe("uint4/32 with minimums");
    expect(format("Q2_K")).toBe("uint4/16 with minimums");
    expect(format("Q5_K")).toBe("int8/32 with minimums");
    expect(format("Q6_K")).toBe("int8/16");
    expect(canGroup("float16")).toBe(false);
    expect(() => toGroupedQuantization("float16", new Uint8Array(64), [32])).toThrow("use dequantize");
    expect(() => toGroupedQuantization("Q4_K", new Uint8Array(144), [2, 128])).toThrow("not whole Q4_K blocks");
    expect(() => toGroupedQuantization("Q4_K", new Uint8Array(143), [256])).toThrow(WeightFormatError);
  });
});
