/**
 * The order of magnitudes without sorting: the bits of |x| as an integer grow with |x|, so that counting them digit by digit (11, 10 and 10
 * bits) finds the k-th largest in three passes.
 */
const DIGITS: readonly { readonly shift: number; readonly bits: number }[] = [
  { shift: 20, bits: 11 },
  { shift: 10, bits: 10 },
  { shift: 0, bits: 10 },
];

const MAGNITUDE = 0x7fffffff;

/** The values that are kept: all above a magnitude, and the first few of that magnitude. */
export interface Selection {
  /** How many values are kept. */
  readonly count: number;
  /** Bits of the smallest magnitude kept. */
  readonly magnitude: number;
  /** How many values of just that magnitude are kept; the rest of `count` lies above. */
  readonly ties: number;
}

/** The `count` largest magnitudes, 1 <= count <= values.length. Values are finite. */
export function selectLargest(values: Float32Array, count: number): Selection {
  const words = magnitudeWords(values);
  let prefix = 0;
  let missing = count;
  for (const { shift, bits } of DIGITS) {
    const counts = new Uint32Array(2 ** bits);
    countDigits(words, prefix, shift, bits, counts);
    let digit = counts.length - 1;
    for (; missing > counts[digit]!; digit--) missing -= counts[digit]!;
    prefix |= digit << shift;
  }
  return { count, magnitude: prefix, ties: missing };
}

/** The fewest values that hold `energy` of Σ x², all of them where rounding leaves a rest. Values are finite. */
export function selectEnergy(values: Float32Array, energy: number): Selection {
  const words = magnitudeWords(values);
  let prefix = 0;
  let missing = energy;
  let above = 0;
  /** How many values are of the digit found last, and their energy. */
  let [equals, rest] = [0, 0];
  for (const { shift, bits } of DIGITS) {
    const counts = new Uint32Array(2 ** bits);
    const energies = new Float64Array(2 ** bits);
    countDigits(words, prefix, shift, bits, counts, { values, energies });
    let digit = counts.length - 1;
    for (; digit > 0 && missing > energies[digit]!; digit--) {
      missing -= energies[digit]!;
      above += counts[digit]!;
    }
    prefix |= digit << shift;
    [equals, rest] = [counts[digit]!, energies[digit]!];
  }
  const ties = equals === 0 || missing <= 0 ? 0 : Math.min(equals, Math.ceil((missing / rest) * equals));
  return { count: above + ties, magnitude: prefix, ties };
}

/** Places of the selected values, ascending. */
export function selectedPositions(values: Float32Array, { count, magnitude, ties }: Selection): Uint32Array {
  const words = magnitudeWords(values);
  const positions = new Uint32Array(count);
  let [place, left] = [0, ties];
  for (let i = 0; i < words.length && place < count; i++) {
    const bits = words[i]! & MAGNITUDE;
    if (bits < magnitude) continue;
    if (bits === magnitude && left-- <= 0) continue;
    positions[place++] = i;
  }
  return positions;
}

function magnitudeWords(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** Counts the digits of the magnitudes that agree with `prefix` above the digit. */
function countDigits(
  words: Uint32Array,
  prefix: number,
  shift: number,
  bits: number,
  counts: Uint32Array,
  weighing?: { readonly values: Float32Array; readonly energies: Float64Array },
): void {
  const above = shift + bits;
  const wanted = above >= 31 ? 0 : prefix >>> above;
  const mask = 2 ** bits - 1;
  for (let i = 0; i < words.length; i++) {
    const magnitude = words[i]! & MAGNITUDE;
    if (above < 31 && magnitude >>> above !== wanted) continue;
    const digit = (magnitude >>> shift) & mask;
    counts[digit]!++;
    if (weighing !== undefined) weighing.energies[digit]! += weighing.values[i]! ** 2;
  }
}
