import { Density } from "./density.ts";

/** Frequencies of a distribution add up to 2 ** this. */
export const FREQUENCY_BITS = 12;
const TOTAL = 1 << FREQUENCY_BITS;

/** Classes of the ratio of a value's mean magnitude to the quantiser's step. */
export const CLASSES_PER_OCTAVE = 8;
/** Ratio 2 ** -4 is class 0: values of lower classes are zero, without a symbol. */
export const CLASS_OF_RATIO_ONE: number = 4 * CLASSES_PER_OCTAVE;
/** The last class has ratio 8. Beyond it low bits are nearly uniform, and sent as they are. */
export const CLASS_COUNT: number = CLASS_OF_RATIO_ONE + 3 * CLASSES_PER_OCTAVE + 1;

/** Symbols of a class lie in `2 ** SYMBOL_BITS` places: q + largest for -largest <= q <= largest, then the escape. */
export const SYMBOL_BITS = 7;

/** Magnitudes of a lower probability than this are left to the escape. */
const RAREST = 0.5 / TOTAL;

/**
 * One static distribution for each class, of values over the step rounded to the nearest integer. The same on every engine.
 *
 * A dead zone, thresholds by Lagrangian cost and centroids instead of integers would take 6 to 9 % off the error. They were measured and
 * left out: they shrink small channels, and the perplexity of stories15M at 10x rose by 45 % with them where it rises by 16 % without
 * (channel codec; 8.7 % and 7.9 % with the KLT).
 */
export interface QuantizerClasses {
  /** Largest magnitude with a symbol of its own, by class. Its escape has the symbol 2 · largest + 1. */
  readonly largest: Uint8Array;
  /** frequency << 16 | first slot, by class and symbol: what the encoder needs. */
  readonly entries: Uint32Array;
  /** symbol << 24 | frequency << 12 | slot - first slot, by class and slot: what the decoder needs. */
  readonly slots: Uint32Array;
}

/** Integer frequencies for a mean magnitude of `ratio` steps, none of them 0, that add up to the total; symmetric but for the last unit. */
function frequenciesOf(density: Density, ratio: number): Uint16Array {
  const beyond = (magnitude: number): number => 0.5 - density.massUpTo((magnitude - 0.5) / ratio);
  let largest = 1;
  while (beyond(largest + 1) > RAREST) largest++;
  const frequencies = new Uint16Array(2 * largest + 2);
  const round = (probability: number): number => Math.max(1, Math.floor(probability * TOTAL + 0.5));
  let sum = 0;
  for (let q = -largest; q <= largest; q++) {
    const magnitude = Math.abs(q);
    sum += frequencies[q + largest] = round(magnitude === 0 ? 1 - 2 * beyond(1) : beyond(magnitude) - beyond(magnitude + 1));
  }
  sum += frequencies[2 * largest + 1] = round(2 * beyond(largest + 1));
  // What rounding left over or took too much is spread from the middle outwards, one by one.
  for (let turn = 0; sum !== TOTAL; turn++) {
    const q = turn % (2 * largest + 1);
    const symbol = largest + (q % 2 === 0 ? -q / 2 : (q + 1) / 2);
    if (sum > TOTAL && !(frequencies[symbol]! > 1)) continue;
    const unit = sum > TOTAL ? -1 : 1;
    frequencies[symbol]! += unit;
    sum += unit;
  }
  return frequencies;
}

function build(): QuantizerClasses {
  const density = new Density();
  const largest = new Uint8Array(CLASS_COUNT);
  const entries = new Uint32Array(CLASS_COUNT << SYMBOL_BITS);
  const slots = new Uint32Array(CLASS_COUNT << FREQUENCY_BITS);
  const root = Math.sqrt(Math.sqrt(Math.sqrt(2)));
  let ratio = 1 / (1 << (CLASS_OF_RATIO_ONE / CLASSES_PER_OCTAVE));
  for (let index = 0; index < CLASS_COUNT; index++, ratio *= root) {
    const frequencies = frequenciesOf(density, ratio);
    largest[index] = frequencies.length / 2 - 1;
    let first = 0;
    for (const [symbol, frequency] of frequencies.entries()) {
      entries[(index << SYMBOL_BITS) + symbol] = (frequency << 16) | first;
      for (let offset = 0; offset < frequency; offset++) {
        slots[(index << FREQUENCY_BITS) + first + offset] = ((symbol << 24) | (frequency << FREQUENCY_BITS) | offset) >>> 0;
      }
      first += frequency;
    }
  }
  return { largest, entries, slots };
}

let classes: QuantizerClasses | undefined;

/** Made on first use, in some milliseconds. */
export function quantizerClasses(): QuantizerClasses {
  return (classes ??= build());
}
