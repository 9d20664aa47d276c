/**
 * Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the generator of JAX): a
 * keyed hash of a 64-bit counter. Random numbers are a pure function of key and counter, so any element of any stream can be made
 * anywhere, in any order, with the same bits.
 */

/** A stream's key: two 32-bit words. */
export type RandomKey = readonly [number, number];

const PARITY = 0x1bd11bda;

/**
 * Encrypts the counter words (c0, c1) with the key (k0, k1) and writes the two result words to `output[at]` and `output[at + 1]`.
 * All words are unsigned 32-bit integers.
 */
export function threefry2x32(k0: number, k1: number, c0: number, c1: number, output: Uint32Array, at = 0): void {
  const k2 = PARITY ^ k0 ^ k1;
  let x = (c0 + k0) | 0;
  let y = (c1 + k1) | 0;
  for (let round = 0; round < 5; round++) {
    // Four rounds of one of two rotation schedules, then the next pair of key words and the number of the injection.
    if ((round & 1) === 0) {
      x = (x + y) | 0;
      y = ((y << 13) | (y >>> 19)) ^ x;
      x = (x + y) | 0;
      y = ((y << 15) | (y >>> 17)) ^ x;
      x = (x + y) | 0;
      y = ((y << 26) | (y >>> 6)) ^ x;
      x = (x + y) | 0;
      y = ((y << 6) | (y >>> 26)) ^ x;
    } else {
      x = (x + y) | 0;
      y = ((y << 17) | (y >>> 15)) ^ x;
      x = (x + y) | 0;
      y = ((y << 29) | (y >>> 3)) ^ x;
      x = (x + y) | 0;
      y = ((y << 16) | (y >>> 16)) ^ x;
      x = (x + y) | 0;
      y = ((y << 24) | (y >>> 8)) ^ x;
    }
    const first = round === 0 || round === 3 ? k1 : round === 1 || round === 4 ? k2 : k0;
    const second = round === 0 || round === 3 ? k2 : round === 1 || round === 4 ? k0 : k1;
    x = (x + first) | 0;
    y = (y + second + round + 1) | 0;
  }
  output[at] = x;
  output[at + 1] = y;
}

/**
 * A key from a seed, any safe integer.
 * @throws RangeError if the seed is not one
 */
export function randomKey(seed: number): RandomKey {
  if (!Number.isSafeInteger(seed)) throw new RangeError(`seed ${seed} is not a safe integer`);
  return [seed >>> 0, Math.floor(seed / 4294967296) >>> 0];
}

/** The key of a sub-stream, such as an epoch or a layer: different numbers give independent streams. */
export function foldIn(key: RandomKey, stream: number): RandomKey {
  const words = new Uint32Array(2);
  const [low, high] = randomKey(stream);
  threefry2x32(key[0], key[1], low, high, words);
  return [words[0] as number, words[1] as number];
}

/** A 32-bit integer of a stream by its position in it (a safe integer). */
export function randomWord(key: RandomKey, position: number): number {
  const words = new Uint32Array(2);
  const [low, high] = randomKey(position);
  threefry2x32(key[0], key[1], low, high, words);
  return words[0] as number;
}

/** Domains up to this size can be permuted. */
const LARGEST_PERMUTATION = 2 ** 32;
const FEISTEL_ROUNDS = 8;

/**
 * Where a pseudo-random permutation of 0 .. count - 1 sends `index`, without making the permutation: a Feistel network over the
 * next even number of bits, walked until it lands inside. Constant memory, a few dozen hashes per call.
 * @throws RangeError if `index` is not in 0 .. count - 1, or `count` exceeds 2^32
 */
export function permutedIndex(key: RandomKey, count: number, index: number): number {
  if (!Number.isInteger(count) || count < 1 || count > LARGEST_PERMUTATION) throw new RangeError(`cannot permute ${count} items`);
  if (!Number.isInteger(index) || index < 0 || index >= count) throw new RangeError(`index ${index} is not in 0 .. ${count - 1}`);
  if (count === 1) return 0;
  const halfBits = Math.max(1, Math.ceil(Math.ceil(Math.log2(count)) / 2));
  const half = 2 ** halfBits;
  const words = new Uint32Array(2);
  let value = index;
  do {
    let left = Math.floor(value / half);
    let right = value % half;
    for (let round = 0; round < FEISTEL_ROUNDS; round++) {
      threefry2x32(key[0], key[1], right, round, words);
      [left, right] = [right, (left ^ ((words[0] as number) & (half - 1))) >>> 0];
    }
    value = left * half + right;
  } while (value >= count);
  return value;
}

/** The whole permutation of 0 .. count - 1 that `permutedIndex` walks through. */
export function permutation(key: RandomKey, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, index) => permutedIndex(key, count, index));
}
