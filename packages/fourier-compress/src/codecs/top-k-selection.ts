/**
 * The order of magnitudes without sorting: the bits of |x| as an integer grow with |x|, so that counting them digit by digit (15 and 16
 * bits) finds the k-th largest in two passes.
 */
const DIGITS: readonly { readonly shift: number; readonly bits: number }[] = [
  { shift: 16, bits: 15 },
  { shift: 0, bits: 16 },
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
    countDigits(words, prefix, shift, counts);
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
    weighDigits(words, prefix, shift, counts, values, energies);
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
function countDigits(words: Uint32Array, prefix: number, shift: number, counts: Uint32Array): void {
  if (shift > 0) {
    for (let i = 0; i < words.length; i++) counts[(words[i]! & MAGNITUDE) >>> shift]!++;
    return;
  }
  const wanted = prefix >>> 16;
  for (let i = 0; i < words.length; i++) {
    const magnitude = words[i]! & MAGNITUDE;
    if (magnitude >>> 16 === wanted) counts[magnitude & 0xffff]!++;
  }
}

/** As `countDigits`, with the energy of each digit's values. */
function weighDigits(
  words: Uint32Array,
  prefix: number,
  shift: number,
  counts: Uint32Array,
  values: Float32Array,
  energies: Float64Array,
): void {
  const wanted = prefix >>> 16;
  for (let i = 0; i < words.length; i++) {
    const magnitude = words[i]! & MAGNITUDE;
    if (shift === 0 && magnitude >>> 16 !== wanted) continue;
    const digit = (magnitude >>> shift) & 0xffff;
    counts[digit]!++;
    energies[digit]! += values[i]! * values[i]!;
  }
}
