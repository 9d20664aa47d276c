/**
 * Decoder for LZMA streams (the `.lzma` file format of Igor Pavlov's LZMA SDK, in the public domain). The kernels are stored this way
 * because it takes a quarter off what
 * deflate needs, and the decoder is no larger than an inflate. Trusted input only: the streams are made by the kernel build.
 */
import { TensorError } from "../../../errors.ts";

const headerBytes = 13;
const initialProbability = 1024;
/** Where each set of probabilities starts; the names are those of the LZMA specification. */
const offsets = {
  isMatch: 0,
  isRep: 192,
  isRepG0: 204,
  isRepG1: 216,
  isRepG2: 228,
  isRep0Long: 240,
  distanceSlot: 432,
  distance: 688,
  align: 816,
  length: 832,
  repeatLength: 1346,
  literal: 1860,
} as const;
/** Within the sets for lengths. */
const lengthTrees = { choice: 0, longChoice: 1, low: 2, middle: 130, high: 258 } as const;

/** Decodes a whole `.lzma` stream whose header gives the length. @throws TensorError when it is damaged */
export function decodeLzma(input: Uint8Array): Uint8Array<ArrayBuffer> {
  const header = new DataView(input.buffer, input.byteOffset, headerBytes);
  const properties = header.getUint8(0);
  const literalContextBits = properties % 9;
  const literalPositionMask = (1 << (Math.floor(properties / 9) % 5)) - 1;
  const positionMask = (1 << Math.floor(properties / 45)) - 1;
  const output = new Uint8Array(header.getUint32(5, true));
  const probabilities = new Uint16Array(offsets.literal + (0x300 << (literalContextBits + 4))).fill(initialProbability);

  // The range coder: the first byte of its data is 0. Range and code are 32-bit words in an array, which engines compute with from the
  // first call on.
  let at = headerBytes + 1;
  const coder = Uint32Array.of(0xffffffff, 0);
  for (let i = 0; i < 4; i++) coder[1] = (coder[1]! << 8) | input[at++]!;

  const bit = (index: number): number => {
    const probability = probabilities[index]!;
    const bound = (coder[0]! >>> 11) * probability;
    let one = 0;
    if (coder[1]! < bound) {
      coder[0] = bound;
      probabilities[index] = probability + ((2048 - probability) >> 5);
    } else {
      coder[0]! -= bound;
      coder[1]! -= bound;
      probabilities[index] = probability - (probability >> 5);
      one = 1;
    }
    if (coder[0]! < 0x1000000) {
      coder[0]! <<= 8;
      coder[1] = (coder[1]! << 8) | input[at++]!;
    }
    return one;
  };
  const directBits = (count: number): number => {
    let value = 0;
    for (; count > 0; count--) {
      coder[0]! >>>= 1;
      const one = coder[1]! >= coder[0]! ? 1 : 0;
      if (one) coder[1]! -= coder[0]!;
      value = value * 2 + one;
      if (coder[0]! < 0x1000000) {
        coder[0]! <<= 8;
        coder[1] = (coder[1]! << 8) | input[at++]!;
      }
    }
    return value;
  };
  const tree = (base: number, bits: number): number => {
    let node = 1;
    for (let i = 0; i < bits; i++) node = 2 * node + bit(base + node);
    return node - (1 << bits);
  };
  const reverseTree = (base: number, bits: number): number => {
    let node = 1;
    let value = 0;
    for (let i = 0; i < bits; i++) {
      const next = bit(base + node);
      node = 2 * node + next;
      value |= next << i;
    }
    return value;
  };
  const matchLength = (base: number, positionState: number): number => {
    if (bit(base + lengthTrees.choice) === 0) return 2 + tree(base + lengthTrees.low + 8 * positionState, 3);
    if (bit(base + lengthTrees.longChoice) === 0) return 10 + tree(base + lengthTrees.middle + 8 * positionState, 3);
    return 18 + tree(base + lengthTrees.high, 8);
  };

  let state = 0;
  /** Distances of the last matches, less one. */
  let distances: readonly [number, number, number, number] = [0, 0, 0, 0];
  let size = 0;

  const literal = (): void => {
    const previous = size > 0 ? output[size - 1]! : 0;
    const context = ((size & literalPositionMask) << literalContextBits) + (previous >> (8 - literalContextBits));
    const base = offsets.literal + 0x300 * context;
    let symbol = 1;
    if (state >= 7) {
      // After a match, the byte that would have continued it tells what this one is not.
      let expected = output[size - distances[0] - 1]!;
      while (symbol < 256) {
        const expectedBit = (expected >> 7) & 1;
        expected <<= 1;
        const next = bit(base + ((1 + expectedBit) << 8) + symbol);
        symbol = 2 * symbol + next;
        if (expectedBit !== next) break;
      }
    }
    while (symbol < 256) symbol = 2 * symbol + bit(base + symbol);
    output[size++] = symbol;
    state = state < 4 ? 0 : state - (state < 10 ? 3 : 6);
  };
  const matchDistance = (length: number): number => {
    const slot = tree(offsets.distanceSlot + 64 * Math.min(length - 2, 3), 6);
    if (slot < 4) return slot;
    const bits = (slot >> 1) - 1;
    const high = (2 | (slot & 1)) * 2 ** bits;
    if (slot < 14) return high + reverseTree(offsets.distance + high - slot, bits);
    return high + 16 * directBits(bits - 4) + reverseTree(offsets.align, 4);
  };

  while (size < output.length) {
    const positionState = size & positionMask;
    if (bit(offsets.isMatch + 16 * state + positionState) === 0) {
      literal();
      continue;
    }
    let length: number;
    const [first, second, third, fourth] = distances;
    if (bit(offsets.isRep + state) === 0) {
      length = matchLength(offsets.length, positionState);
      distances = [matchDistance(length), first, second, third];
      state = state < 7 ? 7 : 10;
    } else {
      let short = false;
      if (bit(offsets.isRepG0 + state) === 0) short = bit(offsets.isRep0Long + 16 * state + positionState) === 0;
      else if (bit(offsets.isRepG1 + state) === 0) distances = [second, first, third, fourth];
      else if (bit(offsets.isRepG2 + state) === 0) distances = [third, first, second, fourth];
      else distances = [fourth, first, second, third];
      length = short ? 1 : matchLength(offsets.repeatLength, positionState);
      state = short ? (state < 7 ? 9 : 11) : state < 7 ? 8 : 11;
    }
    const distance = distances[0] + 1;
    if (distance > size || size + length > output.length) throw new TensorError("kernel module: the compressed data is damaged");
    for (; length > 0; length--, size++) output[size] = output[size - distance]!;
  }
  return output;
}
