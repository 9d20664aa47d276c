import { CLASS_COUNT, CLASSES_PER_OCTAVE, FREQUENCY_BITS, SYMBOL_BITS, type QuantizerClasses } from "./quantizer-classes.ts";
import type { RansDecoder, RansEntries } from "./rans.ts";

/** Bits that may be sent as they are below a value's symbol; classes beyond stand for this many. */
const MOST_LOW_BITS = 26;

/** Beyond it classes change nothing. */
export const HIGHEST_CLASS: number = CLASS_COUNT - 1 + MOST_LOW_BITS * CLASSES_PER_OCTAVE;

/** Entries that an integer takes at the most: its symbol, an escape (width, 31 bits, sign) and low bits. */
export const MOST_ENTRIES = 9;

const WIDTH_BITS = 5;

/** Bits that the class sends below the symbol: as many as bring the ratio down to that of the last class with a distribution. */
function lowBits(quantizerClass: number): number {
  return quantizerClass < CLASS_COUNT ? 0 : Math.ceil((quantizerClass - CLASS_COUNT + 1) / CLASSES_PER_OCTAVE);
}

/** Codes an int32 in a class from 0 to HIGHEST_CLASS. Room for MOST_ENTRIES has to be there. */
export function pushInteger(sink: RansEntries, classes: QuantizerClasses, quantizerClass: number, value: number): void {
  const low = lowBits(quantizerClass);
  const distribution = quantizerClass - low * CLASSES_PER_OCTAVE;
  const unit = 1 << low;
  // Bins of `unit` integers around multiples of it.
  const high = Math.floor((value + unit / 2) / unit);
  const largest = classes.largest[distribution]!;
  const first = distribution << SYMBOL_BITS;
  const magnitude = Math.abs(high);
  if (magnitude <= largest) {
    sink.entries[sink.length++] = classes.entries[first + largest + high]!;
  } else {
    // Elias-gamma code of how far it is beyond.
    const beyond = magnitude - largest;
    const width = 31 - Math.clz32(beyond);
    sink.entries[sink.length++] = classes.entries[first + 2 * largest + 1]!;
    sink.pushBits(width, WIDTH_BITS);
    sink.pushBits(beyond, width);
    sink.pushBits(high < 0 ? 1 : 0, 1);
  }
  if (low > 0) sink.pushBits(value + unit / 2 - high * unit, low);
}

/** What `pushInteger` coded in the same class. Corrupt bytes give some integer. */
export function readInteger(decoder: RansDecoder, classes: QuantizerClasses, quantizerClass: number): number {
  const low = lowBits(quantizerClass);
  const distribution = quantizerClass - low * CLASSES_PER_OCTAVE;
  const largest = classes.largest[distribution]!;
  const symbol = decoder.symbol(classes.slots, distribution << FREQUENCY_BITS);
  let high = symbol - largest;
  if (high > largest) {
    const width = decoder.bits(WIDTH_BITS);
    // Shifts, because `**` is not exact in every engine.
    const magnitude = ((1 << width) >>> 0) + decoder.bits(width) + largest;
    high = decoder.bits(1) === 1 ? -magnitude : magnitude;
  }
  if (low === 0) return high;
  const unit = 1 << low;
  return high * unit - unit / 2 + decoder.bits(low);
}
