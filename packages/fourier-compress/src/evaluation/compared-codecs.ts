import type { CodecName } from "../codecs/codec-names.ts";
import { codecDefinition } from "../codecs/registry.ts";
import { SettingsError } from "../errors.ts";

/** A row of a comparison: a codec, what its ratio counts, and the shapes it may choose among. */
export interface ComparedCodec {
  /** As on the command line: the codec's name, ":elements" where numbers are counted and not bytes, ":any-shape" for `ANY_TOKEN_SHARES`. */
  readonly key: string;
  readonly label: string;
  readonly name: string;
  readonly of: "bytes" | "elements";
  /** Codecs that keep a block of low frequencies: shares of the token frequencies (KS / S); the one with the least error is taken. */
  readonly tokenShares?: readonly number[];
}

/** Shapes of a block of low frequencies that deserve the name. The best is chosen by the rows that are measured, in favour of the codec. */
export const TOKEN_SHARES: readonly number[] = [0.15, 0.25, 0.5, 1];

/** Down to a few frequencies along the tokens, and so nearly all along the channels: what is kept then is hardly more than the mean row. */
export const ANY_TOKEN_SHARES: readonly number[] = [0.02, 0.05, 0.1, ...TOKEN_SHARES];

const LABELS: { readonly [Name in CodecName]: string } = {
  float32: "float32",
  float16: "float16",
  bfloat16: "bfloat16",
  int8: "int8, groups of 64",
  int4: "int4, groups of 32",
  channel: "per-channel quantiser + rANS",
  klt: "KLT + quantiser + rANS",
  hadamard: "Hadamard + quantiser + rANS, no calibration",
  "fourier-literal": "FourierCompress, one corner, literal",
  "fourier-hermitian": "FourierCompress, one corner, Hermitian",
  "fourier-lowpass": "FFT low-pass, two corners",
  cosine: "DCT, low block",
  "top-k": "Top-k",
  svd: "SVD",
  qr: "QR, pivoted",
  fwsvd: "FWSVD-style",
  asvd: "ASVD-style",
  "svd-llm": "SVD-LLM-style",
  "pca-float16": "static PCA, float16 coefficients",
  "pca-int8": "static PCA, int8 coefficients",
};

/** A codec by its name, then ":elements" or ":any-shape" or neither. @throws SettingsError for codecs that are not registered */
export function comparedCodec(key: string): ComparedCodec {
  const [name = "", ...variants] = key.split(":");
  const { isFixedRate } = codecDefinition(name);
  const isComplex = name.startsWith("fourier-");
  const hasShape = isComplex || name === "cosine";
  const of = variants.includes("elements") ? "elements" : "bytes";
  const isAnyShape = variants.includes("any-shape");
  const known = (of === "elements" ? 1 : 0) + (isAnyShape ? 1 : 0);
  if (known !== variants.length) {
    throw new SettingsError(`codec ${JSON.stringify(key)}; after ${name} comes :elements, :any-shape or nothing`);
  }
  if (of === "elements" && isFixedRate) throw new SettingsError(`${key}: the rate of ${name} is fixed`);
  if (isAnyShape && !hasShape) throw new SettingsError(`${key}: ${name} has no shape`);
  const counted = of === "bytes" ? (isComplex ? ", honest bytes" : "") : isComplex ? ", complex counted once" : ", numbers counted";
  const label = `${LABELS[name as CodecName] ?? name}${counted}${isAnyShape ? ", any shape" : ""}`;
  return { key, label, name, of, ...(hasShape ? { tokenShares: isAnyShape ? ANY_TOKEN_SHARES : TOKEN_SHARES } : {}) };
}

/** The rows of the comparison by default, the paper's method in its readings first. */
export const COMPARED_CODECS: readonly string[] = [
  "fourier-hermitian:elements", "fourier-literal:elements", "fourier-hermitian", "fourier-hermitian:any-shape", "fourier-literal",
  "fourier-lowpass", "cosine",
  "top-k", "qr", "svd", "fwsvd", "asvd", "svd-llm", "pca-float16", "pca-int8", "hadamard", "channel", "klt",
  "int4", "int8", "bfloat16", "float16",
];

/** The ratios of the comparison by default: 7.6 is the paper's mean. */
export const COMPARED_RATIOS: readonly number[] = [4, 7.6, 10, 16];

/** A codec at a ratio that is to be measured; without one where its rate is fixed. */
export interface PlannedCodec {
  readonly codec: ComparedCodec;
  readonly ratio?: number;
}

/** Codecs by ratios; those of a fixed rate once. */
export function planCodecs(codecs: readonly string[], ratios: readonly number[]): PlannedCodec[] {
  return codecs
    .map(comparedCodec)
    .flatMap((codec) => (codecDefinition(codec.name).isFixedRate ? [{ codec }] : ratios.map((ratio) => ({ codec, ratio }))));
}
