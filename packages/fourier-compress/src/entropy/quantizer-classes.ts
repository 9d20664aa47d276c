import { binaryLogarithm } from "./deterministic-math.ts";
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

/** Weight of a bit against the squared error in steps: -dD/dR of a uniform quantiser at high rate, D = 1/12 and 6 dB a bit. */
const LAGRANGIAN = 0.1155;
/** Designs settle to three digits. */
const DESIGN_PASSES = 8;
/** Magnitudes of a lower probability than this are left to the escape. */
const RAREST = 0.5 / TOTAL;

/** One static distribution for each class, with the quantiser that goes with it. The same on every engine. */
export interface QuantizerClasses {
  /** Largest magnitude with a symbol of its own, by class. Its escape has the symbol 2 · largest + 1. */
  readonly largest: Uint8Array;
  /** Magnitudes in steps below it become 0, by class. At least 0.5: the dead zone that pays for the bits of a one. */
  readonly zeroThreshold: Float32Array;
  /** Other magnitudes become floor(magnitude + this), at least 1, by class. */
  readonly rounding: Float32Array;
  /** In steps, by class and symbol: the centroid of what becomes the symbol. */
  readonly reconstruction: Float32Array;
  /** frequency << 16 | first slot, by class and symbol: what the encoder needs. */
  readonly entries: Uint32Array;
  /** symbol << 24 | frequency << 12 | slot - first slot, by class and slot: what the decoder needs. */
  readonly slots: Uint32Array;
}

/** Thresholds between magnitudes and what they decode to, in steps. */
interface Design {
  readonly largest: number;
  /** Probability of each magnitude with one sign, and of the escape with both. */
  readonly probabilities: Float64Array;
  readonly escape: number;
  readonly zeroThreshold: number;
  readonly threshold: number;
  readonly one: number;
  readonly shift: number;
}

/**
 * The entropy-constrained uniform quantiser for a mean magnitude of `ratio` steps: from rounding to nearest, thresholds that minimise
 * error + λ · bits, and centroids, in turn. Magnitudes of 2 and more share their threshold's and their centroid's offset.
 */
function design(density: Density, ratio: number): Design {
  let largest = 1;
  while (0.5 - density.massUpTo((largest + 0.5) / ratio) > RAREST) largest++;
  // The dead zone of low ratios moves magnitudes down, so that 2 stays rare where 1 is.
  let zeroThreshold = 0.5;
  let threshold = 0.5;
  let one = 1;
  let shift = 0;
  const probabilities = new Float64Array(largest + 1);
  for (let pass = 0; pass < DESIGN_PASSES; pass++) {
    const edge = (magnitude: number): number => (magnitude === 0 ? 0 : magnitude === 1 ? zeroThreshold : magnitude - 1 + threshold) / ratio;
    for (let magnitude = 0; magnitude <= largest; magnitude++) {
      probabilities[magnitude] = density.massUpTo(edge(magnitude + 1)) - density.massUpTo(edge(magnitude));
    }
    const bits = (magnitude: number): number =>
      -binaryLogarithm(Math.max(RAREST, probabilities[magnitude] ?? 0) * (magnitude === 0 ? 2 : 1));
    const centroid = (from: number, to: number): number | undefined => {
      const mass = density.massUpTo(to) - density.massUpTo(from);
      return mass > RAREST / TOTAL ? ((density.momentUpTo(to) - density.momentUpTo(from)) / mass) * ratio : undefined;
    };
    one = centroid(edge(1), edge(2)) ?? zeroThreshold;
    // The offset of 2 stands for those of all above, which matter as little as they are rare, or as flat as the density is.
    shift = (centroid(edge(2), edge(3)) ?? 2) - 2;
    zeroThreshold = Math.min(1, Math.max(0.5, one / 2 + (LAGRANGIAN * (bits(1) - bits(0))) / (2 * one)));
    const gap = 2 + shift - one;
    threshold = Math.min(1, Math.max(0.5, (2 + shift + one) / 2 + (LAGRANGIAN * (bits(2) - bits(1))) / (2 * gap) - 1));
  }
  const escape = 2 * Math.max(0, 0.5 - density.massUpTo((largest + threshold) / ratio));
  return { largest, probabilities, escape, zeroThreshold, threshold, one, shift };
}

/** Integer frequencies, none of them 0, that add up to the total; symmetric but for the last unit. */
function frequenciesOf({ largest, probabilities, escape }: Design): Uint16Array {
  const frequencies = new Uint16Array(2 * largest + 2);
  const round = (probability: number): number => Math.max(1, Math.floor(probability * TOTAL + 0.5));
  let sum = 0;
  for (let q = -largest; q <= largest; q++) {
    const magnitude = Math.abs(q);
    sum += frequencies[q + largest] = round(probabilities[magnitude]! * (magnitude === 0 ? 2 : 1));
  }
  sum += frequencies[2 * largest + 1] = round(escape);
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
  const symbols = CLASS_COUNT << SYMBOL_BITS;
  const tables = {
    largest: new Uint8Array(CLASS_COUNT),
    zeroThreshold: new Float32Array(CLASS_COUNT),
    rounding: new Float32Array(CLASS_COUNT),
    reconstruction: new Float32Array(symbols),
    entries: new Uint32Array(symbols),
    slots: new Uint32Array(CLASS_COUNT << FREQUENCY_BITS),
  };
  const root = Math.sqrt(Math.sqrt(Math.sqrt(2)));
  let ratio = 1 / (1 << (CLASS_OF_RATIO_ONE / CLASSES_PER_OCTAVE));
  for (let index = 0; index < CLASS_COUNT; index++, ratio *= root) {
    const made = design(density, ratio);
    const { largest } = made;
    tables.largest[index] = largest;
    tables.zeroThreshold[index] = made.zeroThreshold;
    tables.rounding[index] = 1 - made.threshold;
    const frequencies = frequenciesOf(made);
    let first = 0;
    for (let symbol = 0; symbol < frequencies.length; symbol++) {
      const place = (index << SYMBOL_BITS) + symbol;
      const frequency = frequencies[symbol]!;
      const q = symbol - largest;
      const magnitude = Math.abs(q);
      tables.reconstruction[place] = Math.sign(q) * (magnitude === 1 ? made.one : magnitude + made.shift);
      if (q === 0) tables.reconstruction[place] = 0;
      tables.entries[place] = (frequency << 16) | first;
      for (let offset = 0; offset < frequency; offset++) {
        tables.slots[(index << FREQUENCY_BITS) + first + offset] = ((symbol << 24) | (frequency << FREQUENCY_BITS) | offset) >>> 0;
      }
      first += frequency;
    }
  }
  return tables;
}

let classes: QuantizerClasses | undefined;

/** Made on first use, in some milliseconds. */
export function quantizerClasses(): QuantizerClasses {
  return (classes ??= build());
}
