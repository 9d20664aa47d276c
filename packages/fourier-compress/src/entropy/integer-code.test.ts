import { describe, expect, it } from "vitest";
import { ByteReader } from "../codecs/byte-reader.ts";
import { ByteWriter } from "../codecs/byte-writer.ts";
import { CodecMessageError } from "../errors.ts";
import { HIGHEST_CLASS, MOST_ENTRIES, pushInteger, readInteger } from "./integer-code.ts";
import { CLASS_COUNT, CLASS_OF_RATIO_ONE, FREQUENCY_BITS, quantizerClasses, SYMBOL_BITS } from "./quantizer-classes.ts";
import { RansDecoder, RansEntries, writeRans } from "./rans.ts";

const classes = quantizerClasses();

function encode(values: readonly (readonly [quantizerClass: number, value: number])[], states: 1 | 2): { bytes: Uint8Array; bits: number } {
  const sink = new RansEntries();
  for (const [quantizerClass, value] of values) {
    sink.reserve(MOST_ENTRIES);
    pushInteger(sink, classes, quantizerClass, value);
  }
  const writer = new ByteWriter();
  writeRans(writer, sink, states);
  return { bytes: writer.finish(), bits: sink.bits() };
}

/** A linear congruential generator: tests repeat. */
function random(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

describe("quantizerClasses", () => {
  it("has frequencies that fill the range exactly, each at least 1", () => {
    for (let index = 0; index < CLASS_COUNT; index++) {
      let next = 0;
      for (let symbol = 0; symbol <= 2 * classes.largest[index]! + 1; symbol++) {
        const entry = classes.entries[(index << SYMBOL_BITS) + symbol]!;
        expect(entry & 0xffff).toBe(next);
        expect(entry >>> 16).toBeGreaterThan(0);
        next += entry >>> 16;
      }
      expect(next).toBe(1 << FREQUENCY_BITS);
    }
  });

  it("keeps the tables that both ends of a connection rely on", async () => {
    const digest = async (array: Uint32Array<ArrayBuffer>): Promise<string> =>
      Buffer.from(await crypto.subtle.digest("SHA-256", array)).toString("hex").slice(0, 16);
    const tables = [classes.entries, classes.slots] as Uint32Array<ArrayBuffer>[];
    expect(await Promise.all(tables.map(digest))).toEqual(["dd5389a6382b437d", "9957019ef432e5b2"]);
  });
});

describe.each([1, 2] as const)("integers by rANS with %i states", (states) => {
  it("returns any int32 in any class", () => {
    const next = random(1);
    const values: [number, number][] = [];
    for (let quantizerClass = 0; quantizerClass <= HIGHEST_CLASS; quantizerClass++) {
      for (const value of [0, 1, -1, 2, -2, 63, -64, 1000, -(2 ** 20), 2 ** 31 - 1, -(2 ** 31), 2 ** 30, -(2 ** 30) - 1]) {
        values.push([quantizerClass, value]);
      }
      for (let index = 0; index < 20; index++) values.push([quantizerClass, Math.round((next() - 0.5) * 2 ** (next() * 32)) | 0]);
    }
    const { bytes } = encode(values, states);
    const reader = new ByteReader("test", bytes);
    const decoder = new RansDecoder(reader, states);
    const read = values.map(([quantizerClass]) => readInteger(decoder, classes, quantizerClass));
    decoder.finish();
    expect(read).toEqual(values.map(([, value]) => value));
    expect(reader.remaining).toBe(0);
  });

  it("takes the bits of the model and a few bytes", () => {
    const next = random(2);
    const values = Array.from({ length: 20_001 }, (): [number, number] => {
      const sum = next() + next() + next() + next() - 2;
      return [CLASS_OF_RATIO_ONE + 8, Math.round(sum * 2 * 2.1)];
    });
    const { bytes, bits } = encode(values, states);
    expect(bytes.length - bits / 8).toBeLessThan(4 * states + 4);
    expect(bits / values.length).toBeGreaterThan(2);
    expect(bits / values.length).toBeLessThan(3.5);
  });

  it("takes a few bytes for nothing at all", () => {
    expect(encode([], states).bytes.length).toBe(states === 1 ? 4 : 9);
  });

  it("refuses words that are cut off or changed, and never reads past them", () => {
    const values = Array.from({ length: 500 }, (_, index): [number, number] => [CLASS_OF_RATIO_ONE + (index % 20), (index % 7) - 3]);
    const { bytes } = encode(values, states);
    for (let length = 0; length < bytes.length; length++) {
      expect(() => new RansDecoder(new ByteReader("test", bytes.subarray(0, length)), states)).toThrow(CodecMessageError);
    }
    let refused = 0;
    for (let place = 2; place < bytes.length; place++) {
      const changed = bytes.slice();
      changed[place]! ^= 1 << place % 8;
      try {
        const decoder = new RansDecoder(new ByteReader("test", changed), states);
        for (const [quantizerClass] of values) expect(Number.isSafeInteger(readInteger(decoder, classes, quantizerClass))).toBe(true);
        decoder.finish();
      } catch (cause) {
        expect(cause).toBeInstanceOf(CodecMessageError);
        refused++;
      }
    }
    // A changed bit goes through only where states and words end up right by chance.
    expect(refused).toBeGreaterThan(0.95 * (bytes.length - 2));
  });
});
