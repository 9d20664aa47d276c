/**
 * The block formats of ggml (MIT), bit by bit. Every one of them is integers times a scale, plus a minimum in some, per group of 16 or
 * 32 consecutive values, which is what `BlockFormat.unpack` gives; scales and minimums are exact in float32.
 */
import { evenParitySigns, iq2xxsGrid } from "./iq2xxs-grid.ts";
import type { WeightEncoding } from "./weight-source.ts";

/** One block taken apart: value i is `scales[g] * values[i] + minimums[g]` with g = floor(i / groupSize). */
export interface UnpackedBlock {
  readonly values: Int8Array;
  /** The same memory as `values`, four at a time. */
  readonly words: Int32Array;
  readonly scales: Float32Array;
  readonly minimums: Float32Array;
}

/** How to take blocks of one encoding apart. */
export interface BlockFormat {
  readonly groupSize: 16 | 32;
  /** Whether groups have minimums; the block's `minimums` are not touched otherwise. */
  readonly hasMinimums: boolean;
  /** Least and greatest integer that `values` can hold. */
  readonly range: readonly [number, number];
  /** Takes apart the block at byte `at`. */
  unpack(bytes: Uint8Array, at: number, block: UnpackedBlock): void;
}

type BlockEncoding = Exclude<WeightEncoding, "float32" | "float16" | "bfloat16">;

const halfScratch = new Float32Array(1);
const halfBits = new Uint32Array(halfScratch.buffer);

/** The number that 16 bits of IEEE half precision stand for. */
export function halfToNumber(half: number): number {
  const magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) {
    if (magnitude > 0x7c00) return NaN;
    return half & 0x8000 ? -Infinity : Infinity;
  }
  // The bits moved to single precision are 2^112 too small, whether normal or not.
  halfBits[0] = magnitude << 13;
  const value = (halfScratch[0] as number) * 5192296858534827628530496329220096;
  return half & 0x8000 ? -value : value;
}

function halfAt(bytes: Uint8Array, at: number): number {
  return halfToNumber((bytes[at] as number) | ((bytes[at + 1] as number) << 8));
}

/** Sixteen bytes of nibbles: the low ones are the first sixteen values, the high ones the last. */
function unpackNibbles(bytes: Uint8Array, at: number, values: Int8Array, start: number, half: number): void {
  for (let index = 0; index < half; index++) {
    const byte = bytes[at + index] as number;
    values[start + index] = byte & 15;
    values[start + half + index] = byte >> 4;
  }
}

/** Adds the fifth bits of Q5_0 and Q5_1: bit i of a little-endian word belongs to value i. */
function addFifthBits(bytes: Uint8Array, at: number, values: Int8Array): void {
  for (let index = 0; index < 32; index++) {
    if (((bytes[at + (index >> 3)] as number) >> (index & 7)) & 1) values[index] = (values[index] as number) + 16;
  }
}

/** The eight 6-bit scales and minimums of Q4_K and Q5_K, packed into twelve bytes. */
function unpackScales(bytes: Uint8Array, at: number, scale: number, minimum: number, block: UnpackedBlock): void {
  for (let group = 0; group < 8; group++) {
    const low = group & 3;
    const a = bytes[at + low] as number;
    const b = bytes[at + 4 + low] as number;
    const c = bytes[at + 8 + low] as number;
    block.scales[group] = scale * (group < 4 ? a & 63 : (c & 15) | ((a >> 6) << 4));
    block.minimums[group] = -(minimum * (group < 4 ? b & 63 : (c >> 4) | ((b >> 6) << 4)));
  }
}

const IQ4_VALUES = Int8Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

function mapIq4(values: Int8Array, start: number): void {
  for (let index = start; index < start + 32; index++) values[index] = IQ4_VALUES[values[index] as number] as number;
}

function shiftAll(values: Int8Array, count: number, by: number): void {
  for (let index = 0; index < count; index++) values[index] = (values[index] as number) + by;
}

const Q4_0: BlockFormat = {
  groupSize: 32,
  hasMinimums: false,
  range: [-8, 7],
  unpack(bytes, at, { values, scales }) {
    scales[0] = halfAt(bytes, at);
    unpackNibbles(bytes, at + 2, values, 0, 16);
    shiftAll(values, 32, -8);
  },
};

const Q4_1: BlockFormat = {
  groupSize: 32,
  hasMinimums: true,
  range: [0, 15],
  unpack(bytes, at, { values, scales, minimums }) {
    scales[0] = halfAt(bytes, at);
    minimums[0] = halfAt(bytes, at + 2);
    unpackNibbles(bytes, at + 4, values, 0, 16);
  },
};

const Q5_0: BlockFormat = {
  groupSize: 32,
  hasMinimums: false,
  range: [-16, 15],
  unpack(bytes, at, { values, scales }) {
    scales[0] = halfAt(bytes, at);
    unpackNibbles(bytes, at + 6, values, 0, 16);
    addFifthBits(bytes, at + 2, values);
    shiftAll(values, 32, -16);
  },
};

const Q5_1: BlockFormat = {
  groupSize: 32,
  hasMinimums: true,
  range: [0, 31],
  unpack(bytes, at, { values, scales, minimums }) {
    scales[0] = halfAt(bytes, at);
    minimums[0] = halfAt(bytes, at + 2);
    unpackNibbles(bytes, at + 8, values, 0, 16);
    addFifthBits(bytes, at + 4, values);
  },
};

const Q8_0: BlockFormat = {
  groupSize: 32,
  hasMinimums: false,
  range: [-128, 127],
  unpack(bytes, at, { values, scales }) {
    scales[0] = halfAt(bytes, at);
    for (let index = 0; index < 32; index++) values[index] = bytes[at + 2 + index] as number;
  },
};

const Q2_K: BlockFormat = {
  groupSize: 16,
  hasMinimums: true,
  range: [0, 3],
  unpack(bytes, at, { values, scales, minimums }) {
    const scale = halfAt(bytes, at + 80);
    const minimum = halfAt(bytes, at + 82);
    for (let group = 0; group < 16; group++) {
      const packed = bytes[at + group] as number;
      scales[group] = scale * (packed & 15);
      minimums[group] = -(minimum * (packed >> 4));
    }
    for (let index = 0; index < 256; index++) {
      const byte = bytes[at + 16 + (index >> 7) * 32 + (index & 31)] as number;
      values[index] = (byte >> (2 * ((index >> 5) & 3))) & 3;
    }
  },
};

const Q3_K: BlockFormat = {
  groupSize: 16,
  hasMinimums: false,
  range: [-4, 3],
  unpack(bytes, at, { values, scales }) {
    const scale = halfAt(bytes, at + 108);
    for (let group = 0; group < 16; group++) {
      const low = ((bytes[at + 96 + (group & 7)] as number) >> (4 * (group >> 3))) & 15;
      const high = ((bytes[at + 104 + (group & 3)] as number) >> (2 * (group >> 2))) & 3;
      scales[group] = scale * ((low | (high << 4)) - 32);
    }
    for (let index = 0; index < 256; index++) {
      const byte = bytes[at + 32 + (index >> 7) * 32 + (index & 31)] as number;
      const low = (byte >> (2 * ((index >> 5) & 3))) & 3;
      const high = ((bytes[at + (index & 31)] as number) >> (index >> 5)) & 1;
      values[index] = low - (high ? 0 : 4);
    }
  },
};

const Q4_K: BlockFormat = {
  groupSize: 32,
  hasMinimums: true,
  range: [0, 15],
  unpack(bytes, at, block) {
    unpackScales(bytes, at + 4, halfAt(bytes, at), halfAt(bytes, at + 2), block);
    for (let pair = 0; pair < 4; pair++) unpackNibbles(bytes, at + 16 + 32 * pair, block.values, 64 * pair, 32);
  },
};

const Q5_K: BlockFormat = {
  groupSize: 32,
  hasMinimums: true,
  range: [0, 31],
  unpack(bytes, at, block) {
    const { values } = block;
    unpackScales(bytes, at + 4, halfAt(bytes, at), halfAt(bytes, at + 2), block);
    for (let pair = 0; pair < 4; pair++) unpackNibbles(bytes, at + 48 + 32 * pair, values, 64 * pair, 32);
    for (let index = 0; index < 256; index++) {
      const fifth = ((bytes[at + 16 + (index & 31)] as number) >> (index >> 5)) & 1;
      values[index] = (values[index] as number) | (fifth << 4);
    }
  },
};

const Q6_K: BlockFormat = {
  groupSize: 16,
  hasMinimums: false,
  range: [-32, 31],
  unpack(bytes, at, { values, scales }) {
    const scale = halfAt(bytes, at + 208);
    for (let group = 0; group < 16; group++) scales[group] = scale * (((bytes[at + 192 + group] as number) << 24) >> 24);
    for (let index = 0; index < 256; index++) {
      const half = index >> 7;
      const quarter = (index >> 5) & 3;
      const low = ((bytes[at + 64 * half + (index & 63)] as number) >> (4 * (quarter >> 1))) & 15;
      const high = ((bytes[at + 128 + 32 * half + (index & 31)] as number) >> (2 * quarter)) & 3;
      values[index] = (low | (high << 4)) - 32;
    }
  },
};

/** Eight signed values for each codebook point and each of the 128 sign indices. */
let signedGrid: Int32Array | undefined;

function signedPoints(): Int32Array {
  if (signedGrid !== undefined) return signedGrid;
  const grid = iq2xxsGrid();
  const table = new Int8Array(256 * 128 * 8);
  for (let point = 0; point < 256; point++) {
    for (let stored = 0; stored < 128; stored++) {
      const bits = evenParitySigns(stored);
      for (let index = 0; index < 8; index++) {
        const magnitude = grid[8 * point + index] as number;
        table[(point * 128 + stored) * 8 + index] = (bits >> index) & 1 ? -magnitude : magnitude;
      }
    }
  }
  return (signedGrid = new Int32Array(table.buffer));
}

const IQ2_XXS: BlockFormat = {
  groupSize: 32,
  hasMinimums: false,
  range: [-43, 43],
  unpack(bytes, at, { words, scales }) {
    const table = signedPoints();
    const scale = halfAt(bytes, at);
    for (let group = 0; group < 8; group++) {
      const start = at + 2 + 8 * group;
      // Four codebook indices, then a word of four 7-bit sign indices and a 4-bit scale.
      const word =
        (bytes[start + 4] as number) |
        ((bytes[start + 5] as number) << 8) |
        ((bytes[start + 6] as number) << 16) |
        ((bytes[start + 7] as number) << 24);
      scales[group] = scale * (0.5 + (word >>> 28)) * 0.25;
      for (let part = 0; part < 4; part++) {
        const from = 2 * ((bytes[start + part] as number) * 128 + ((word >>> (7 * part)) & 127));
        const to = 8 * group + 2 * part;
        words[to] = table[from] as number;
        words[to + 1] = table[from + 1] as number;
      }
    }
  },
};

const IQ4_NL: BlockFormat = {
  groupSize: 32,
  hasMinimums: false,
  range: [-127, 113],
  unpack(bytes, at, { values, scales }) {
    scales[0] = halfAt(bytes, at);
    unpackNibbles(bytes, at + 2, values, 0, 16);
    mapIq4(values, 0);
  },
};

const IQ4_XS: BlockFormat = {
  groupSize: 32,
  hasMinimums: false,
  range: [-127, 113],
  unpack(bytes, at, { values, scales }) {
    const scale = halfAt(bytes, at);
    const highBits = (bytes[at + 2] as number) | ((bytes[at + 3] as number) << 8);
    for (let group = 0; group < 8; group++) {
      const low = ((bytes[at + 4 + (group >> 1)] as number) >> (4 * (group & 1))) & 15;
      scales[group] = scale * ((low | (((highBits >> (2 * group)) & 3) << 4)) - 32);
      unpackNibbles(bytes, at + 8 + 16 * group, values, 32 * group, 16);
      mapIq4(values, 32 * group);
    }
  },
};

const FORMATS: Readonly<Record<BlockEncoding, BlockFormat>> = {
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
  IQ2_XXS,
  IQ4_NL,
  IQ4_XS,
};

/** The block format of an encoding; undefined for plain floats. */
export function blockFormat(encoding: WeightEncoding): BlockFormat | undefined {
  return encoding === "float32" || encoding === "float16" || encoding === "bfloat16" ? undefined : FORMATS[encoding];
}

/** Room for one unpacked block of any format. */
export function newUnpackedBlock(): UnpackedBlock {
  const values = new Int8Array(256);
  return { values, words: new Int32Array(values.buffer), scales: new Float32Array(16), minimums: new Float32Array(16) };
}
