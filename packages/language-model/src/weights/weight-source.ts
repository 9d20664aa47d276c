import type { ModelConfiguration } from "./model-configuration.ts";

/** How the bytes of one tensor encode its values: plain floats, or ggml blocks (named as in GGUF). */
export type WeightEncoding =
  | "float32"
  | "float16"
  | "bfloat16"
  | "Q4_0"
  | "Q4_1"
  | "Q5_0"
  | "Q5_1"
  | "Q8_0"
  | "Q2_K"
  | "Q3_K"
  | "Q4_K"
  | "Q5_K"
  | "Q6_K"
  | "IQ2_XXS"
  | "IQ4_NL"
  | "IQ4_XS";

/** One tensor of a weight file, described without reading its values. */
export interface WeightDescriptor {
  /** Hugging Face name, e.g. `model.layers.0.self_attn.q_proj.weight`, whatever the file format. */
  readonly name: string;
  /** Row-major shape, outermost axis first; a linear layer's weight is [outputs, inputs]. */
  readonly shape: readonly number[];
  readonly encoding: WeightEncoding;
  /** Bytes that `read` returns. */
  readonly byteLength: number;
}

/** A model's weights on disk or in memory: the configuration and descriptors at once, the values tensor by tensor. */
export interface WeightSource {
  readonly config: ModelConfiguration;
  readonly descriptors: ReadonlyMap<string, WeightDescriptor>;
  /**
   * The exact bytes of one tensor, by range read. Read-only: it may be a view of memory, at any alignment.
   * @throws WeightFormatError if there is no such tensor.
   */
  read(name: string): Promise<Uint8Array>;
  /** Releases file handles. */
  close(): Promise<void>;
}

/** Elements and bytes of one block of an encoding (plain floats are blocks of one element). */
export interface BlockLayout {
  readonly elements: number;
  readonly bytes: number;
}

const BLOCK_LAYOUTS: Readonly<Record<WeightEncoding, BlockLayout>> = {
  float32: { elements: 1, bytes: 4 },
  float16: { elements: 1, bytes: 2 },
  bfloat16: { elements: 1, bytes: 2 },
  Q4_0: { elements: 32, bytes: 18 },
  Q4_1: { elements: 32, bytes: 20 },
  Q5_0: { elements: 32, bytes: 22 },
  Q5_1: { elements: 32, bytes: 24 },
  Q8_0: { elements: 32, bytes: 34 },
  Q2_K: { elements: 256, bytes: 84 },
  Q3_K: { elements: 256, bytes: 110 },
  Q4_K: { elements: 256, bytes: 144 },
  Q5_K: { elements: 256, bytes: 176 },
  Q6_K: { elements: 256, bytes: 210 },
  IQ2_XXS: { elements: 256, bytes: 66 },
  IQ4_NL: { elements: 32, bytes: 18 },
  IQ4_XS: { elements: 256, bytes: 136 },
};

/** The block size of an encoding. */
export function blockLayout(encoding: WeightEncoding): BlockLayout {
  return BLOCK_LAYOUTS[encoding];
}

/** Number of elements of a shape (1 for a scalar). */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Bytes of `count` elements, or undefined if they are not a whole number of blocks. */
export function encodedByteLength(encoding: WeightEncoding, count: number): number | undefined {
  const { elements, bytes } = BLOCK_LAYOUTS[encoding];
  return count % elements === 0 ? (count / elements) * bytes : undefined;
}
