/**
 * The codecs by name, with the first byte of their messages. Ids are part of the wire format: they are never reused.
 * "fourier-*" is the paper's block of low frequencies in three readings, the rest what it compares with and what does better.
 */
export const CODEC_IDS = {
  float32: 1,
  float16: 2,
  bfloat16: 3,
  int8: 4,
  int4: 5,
  channel: 8,
  klt: 9,
  hadamard: 10,
  "fourier-literal": 16,
  "fourier-hermitian": 17,
  "fourier-lowpass": 18,
  cosine: 19,
  "top-k": 24,
  svd: 25,
  qr: 26,
  fwsvd: 27,
  asvd: 28,
  "svd-llm": 29,
  "pca-float16": 32,
  "pca-int8": 33,
} as const;

/** Name of a codec of this package. */
export type CodecName = keyof typeof CODEC_IDS;
