import type { WeightEncoding } from "../weight-source.ts";

/** Encodings by the number of their ggml type; types that cannot be dequantised here are absent. */
const ENCODINGS: ReadonlyMap<number, WeightEncoding> = new Map([
  [0, "float32"],
  [1, "float16"],
  [2, "Q4_0"],
  [3, "Q4_1"],
  [6, "Q5_0"],
  [7, "Q5_1"],
  [8, "Q8_0"],
  [10, "Q2_K"],
  [11, "Q3_K"],
  [12, "Q4_K"],
  [13, "Q5_K"],
  [14, "Q6_K"],
  [16, "IQ2_XXS"],
  [20, "IQ4_NL"],
  [23, "IQ4_XS"],
  [30, "bfloat16"],
]);

/** Names of ggml types that are known but not read, for messages. */
const OTHER_NAMES: ReadonlyMap<number, string> = new Map([
  [9, "Q8_1"],
  [15, "Q8_K"],
  [17, "IQ2_XS"],
  [18, "IQ3_XXS"],
  [19, "IQ1_S"],
  [21, "IQ3_S"],
  [22, "IQ2_S"],
  [24, "I8"],
  [25, "I16"],
  [26, "I32"],
  [27, "I64"],
  [28, "F64"],
  [29, "IQ1_M"],
  [34, "TQ1_0"],
  [35, "TQ2_0"],
  [39, "MXFP4"],
]);

/** The encoding of a ggml type, or undefined if it is not read. */
export function encodingOfGgmlType(type: number): WeightEncoding | undefined {
  return ENCODINGS.get(type);
}

/** A ggml type's name where it is known. */
export function ggmlTypeName(type: number): string {
  return ENCODINGS.get(type) ?? OTHER_NAMES.get(type) ?? `ggml type ${type}`;
}
