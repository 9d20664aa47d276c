import type { ByteReader } from "../codecs/byte-reader.ts";
import type { ByteWriter } from "../codecs/byte-writer.ts";
import { FREQUENCY_BITS } from "./quantizer-classes.ts";

/*
 * Range asymmetric numeral systems (Duda, arXiv 1311.2540) with 31-bit states and 16-bit renormalisation. The encoder works from the last
 * symbol to the first, so that the decoder reads forwards. Two states that take turns let a processor decode two symbols at once; short
 * messages have one, because a state costs four bytes.
 */

/** States are in [2 ** 15, 2 ** 31); below, the decoder takes in a word. */
export const LOWEST_STATE: number = 1 << 15;
/** A state may take in a symbol of frequency f while it is below f << this. */
const HEADROOM_BITS = 31 - FREQUENCY_BITS;
const SLOT_MASK = (1 << FREQUENCY_BITS) - 1;
/** A lone state begins at 1, because the words' end says where it has to stop; of two, neither knows the other's words. */
const FIRST_LONE_STATE = 1;
/** Messages of more values than this have two states. */
const LONE_STATE_VALUES = 4096;

/** How many states a message of so many values has. */
export function stateCount(values: number): 1 | 2 {
  return values > LONE_STATE_VALUES ? 2 : 1;
}

/** 1 / f for frequencies, a little too large, so that the product's integer part is the quotient for all states: exact up to 2 ** 40. */
const RECIPROCALS: Float64Array = Float64Array.from({ length: 1 << FREQUENCY_BITS }, (_, f) => (1 / f) * (1 + 1 / (1 << 20) / (1 << 20)));

/** Bits that an entry of each frequency takes. For estimates on the encoder's side alone. */
const BITS: Float64Array = Float64Array.from({ length: 1 << FREQUENCY_BITS }, (_, f) => FREQUENCY_BITS - Math.log2(f));

/** Symbols to be encoded, in the decoder's order: `frequency << 16 | first slot` of each. */
export class RansEntries {
  entries: Uint32Array = new Uint32Array(1024);
  length = 0;

  /** Makes room for so many more. */
  reserve(count: number): void {
    if (this.length + count <= this.entries.length) return;
    const grown = new Uint32Array(Math.max(this.length + count, 2 * this.entries.length));
    grown.set(this.entries.subarray(0, this.length));
    this.entries = grown;
  }

  /** The lowest `count` bits of value as they are, at most 32. Room has to be there: an entry for every 12. */
  pushBits(value: number, count: number): void {
    for (let rest = count; rest > 0; rest -= FREQUENCY_BITS) {
      const width = Math.min(rest, FREQUENCY_BITS);
      const part = (value >>> (rest - width)) & ((1 << width) - 1);
      this.entries[this.length++] = ((1 << (FREQUENCY_BITS - width)) << 16) | (part << (FREQUENCY_BITS - width));
    }
  }

  /** Length of their code, without the states. */
  bits(): number {
    const { entries, length } = this;
    let total = 0;
    for (let index = 0; index < length; index++) total += BITS[entries[index]! >>> 16]!;
    return total;
  }
}

/**
 * Appends the entries' code: the number of words that follow (varint), two states of two words, and the words. With one state, the number
 * of bytes that follow: an odd one says that the state takes three of them, an even one four.
 */
export function writeRans(writer: ByteWriter, { entries, length }: RansEntries, states: 1 | 2): void {
  // At most a word for an entry of 12 bits, and two for each of two states.
  const words = new Uint16Array(length + 4);
  let place = words.length;
  let even = states === 2 ? LOWEST_STATE : FIRST_LONE_STATE;
  let odd = even;
  let index = length;
  if (states === 1 || length % 2 === 1) {
    const last = states === 1 ? 0 : length - 1;
    while (index > last) {
      const entry = entries[--index]!;
      const frequency = entry >>> 16;
      if (even >= frequency << HEADROOM_BITS) {
        words[--place] = even;
        even >>>= 16;
      }
      const quotient = (even * RECIPROCALS[frequency]!) | 0;
      even = ((quotient << FREQUENCY_BITS) + even - Math.imul(quotient, frequency) + (entry & 0xffff)) | 0;
    }
  }
  while (index > 0) {
    const second = entries[index - 1]!;
    const first = entries[index - 2]!;
    index -= 2;
    const secondFrequency = second >>> 16;
    if (odd >= secondFrequency << HEADROOM_BITS) {
      words[--place] = odd;
      odd >>>= 16;
    }
    const secondQuotient = (odd * RECIPROCALS[secondFrequency]!) | 0;
    odd = ((secondQuotient << FREQUENCY_BITS) + odd - Math.imul(secondQuotient, secondFrequency) + (second & 0xffff)) | 0;
    const firstFrequency = first >>> 16;
    if (even >= firstFrequency << HEADROOM_BITS) {
      words[--place] = even;
      even >>>= 16;
    }
    const firstQuotient = (even * RECIPROCALS[firstFrequency]!) | 0;
    even = ((firstQuotient << FREQUENCY_BITS) + even - Math.imul(firstQuotient, firstFrequency) + (first & 0xffff)) | 0;
  }
  if (states === 1) {
    const isWide = even >= 1 << 24;
    writer.varint(2 * (words.length - place) + (isWide ? 4 : 3));
    writer.uint16(even & 0xffff);
    if (isWide) writer.uint16(even >>> 16);
    else writer.uint8(even >>> 16);
  } else {
    for (const state of [odd, even]) {
      words[--place] = state >>> 16;
      words[--place] = state;
    }
    writer.varint(words.length - place);
  }
  writer.append(words.subarray(place));
}

/**
 * Decodes what `writeRans` wrote. It never reads past the announced words, whatever they hold: a state that lacks words stays small, and
 * `finish` throws. Loops that decode many symbols may hold `state`, `other` and `position` in variables of their own meanwhile.
 */
export class RansDecoder {
  readonly words: Uint16Array;
  /** Next word. */
  position: number;
  /** The state whose turn it is, and the other one. Of a lone state, `other` is unused. */
  state: number;
  other: number;
  readonly states: 1 | 2;
  readonly #reader: ByteReader;

  /** @throws CodecMessageError for words that are not there */
  constructor(reader: ByteReader, states: 1 | 2) {
    this.#reader = reader;
    this.states = states;
    const count = reader.varint();
    if (states === 1) {
      if (count < 3) reader.fail(`${count} bytes cannot hold a state`);
      const isWide = count % 2 === 0;
      this.state = reader.uint16() | ((isWide ? reader.uint16() : reader.uint8()) << 16);
      this.other = 0;
      this.words = reader.uint16Array((count - (isWide ? 4 : 3)) / 2);
      this.position = 0;
    } else {
      if (count < 4) reader.fail(`${count} words cannot hold two states`);
      this.words = reader.uint16Array(count);
      this.state = this.words[0]! | (this.words[1]! << 16);
      this.other = this.words[2]! | (this.words[3]! << 16);
      this.position = 4;
    }
    if (this.state < 0 || this.other < 0) reader.fail("a state exceeds 31 bits");
  }

  /** Takes the symbol of `slots`, packed as `QuantizerClasses.slots`, off the state and returns its place. */
  symbol(slots: Uint32Array, firstSlot: number): number {
    const { state } = this;
    const slot = slots[firstSlot + (state & SLOT_MASK)]!;
    this.#advance(((slot >>> FREQUENCY_BITS) & SLOT_MASK) * (state >>> FREQUENCY_BITS) + (slot & SLOT_MASK));
    return slot >>> (2 * FREQUENCY_BITS);
  }

  /** Bits written by `pushBits`, at most 32. */
  bits(count: number): number {
    let value = 0;
    for (let rest = count; rest > 0; rest -= FREQUENCY_BITS) {
      const width = Math.min(rest, FREQUENCY_BITS);
      const shift = FREQUENCY_BITS - width;
      const { state } = this;
      const slot = state & SLOT_MASK;
      value = value * (1 << width) + (slot >>> shift);
      this.#advance(((state >>> FREQUENCY_BITS) << shift) + (slot & ((1 << shift) - 1)));
    }
    return value;
  }

  /** @throws CodecMessageError unless the states are where the encoder's began and all words were read */
  finish(): void {
    const isWhole =
      this.states === 2
        ? this.state === LOWEST_STATE && this.other === LOWEST_STATE
        : this.state === FIRST_LONE_STATE;
    if (!isWhole || this.position !== this.words.length) this.#reader.fail("its entropy code is corrupt");
  }

  #advance(next: number): void {
    const full = next < LOWEST_STATE && this.position < this.words.length ? (next << 16) | this.words[this.position++]! : next;
    if (this.states === 1) {
      this.state = full;
      return;
    }
    this.state = this.other;
    this.other = full;
  }
}
