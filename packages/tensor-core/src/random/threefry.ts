/** Rotations of Threefry-2x32, eight rounds in turn (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", table 2). */
const rotations = [13, 15, 26, 6, 17, 29, 16, 24] as const;
const keyParity = 0x1bd11bda;
const rounds = 20;

/**
 * Threefry-2x32 with 20 rounds: a keyed bijection on 64-bit counters that passes as a random function. The same key and counter give the same words on every
 * device, so streams need no state.
 *
 * @param key0 low word of the key; words are read modulo 2³²
 * @param key1 high word of the key
 * @param counter0 low word of the counter
 * @param counter1 high word of the counter
 * @returns two unsigned 32-bit words
 */
export function threefry2x32(key0: number, key1: number, counter0: number, counter1: number): [number, number] {
  const keys = [key0 | 0, key1 | 0, keyParity ^ key0 ^ key1] as const;
  let x0 = (counter0 + keys[0]) | 0;
  let x1 = (counter1 + keys[1]) | 0;
  for (let round = 0; round < rounds; round++) {
    const rotation = rotations[round % 8]!;
    x0 = (x0 + x1) | 0;
    x1 = ((x1 << rotation) | (x1 >>> (32 - rotation))) ^ x0;
    if (round % 4 === 3) {
      const injection = (round + 1) / 4;
      x0 = (x0 + keys[injection % 3]!) | 0;
      x1 = (x1 + keys[(injection + 1) % 3]! + injection) | 0;
    }
  }
  return [x0 >>> 0, x1 >>> 0];
}
