import type { CodecName } from "../codecs/codec-names.ts";
import { codecDefinition } from "../codecs/registry.ts";
import { SettingsError } from "../errors.ts";

/** A row of a comparison: a codec, and what its ratio counts. */
export interface ComparedCodec {
  /** As on the command line: the codec's name, with ":elements" where numbers are counted instead of bytes. */
  readonly key: string;
  readonly label: string;
  readonly name: string;
  readonly of: "bytes" | "elements";
}

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

const ELEMENTS = ":elements";

/** A codec by its name, "name" or "name:elements". @throws SettingsError for codecs that are not registered */
export function comparedCodec(key: string): ComparedCodec {
  const of = key.endsWith(ELEMENTS) ? "elements" : "bytes";
  const name = of === "elements" ? key.slice(0, -ELEMENTS.length) : key;
  const { isFixedRate } = codecDefinition(name);
  if (of === "elements" && isFixedRate) throw new SettingsError(`${key}: the rate of ${name} is fixed`);
  const isComplex = name.startsWith("fourier-");
  const counted = of === "bytes" ? (isComplex ? ", honest bytes" : "") : isComplex ? ", complex counted once" : ", numbers counted";
  return { key, label: `${LABELS[name as CodecName] ?? name}${counted}`, name, of };
}

/** The rows of the comparison by default, the paper's method in its readings first. */
export const COMPARED_CODECS: readonly string[] = [
  "fourier-hermitian:elements", "fourier-literal:elements", "fourier-hermitian", "fourier-literal", "fourier-lowpass", "cosine",
  "top-k", "qr", "svd", "fwsvd", "asvd", "svd-llm", "pca-float16", "pca-int8", "hadamard", "channel", "klt",
  "int4", "int8", "bfloat16", "float16",
];

/** The ratios of the comparison by default: 7.6 is the paper's mean. */
export const COMPARED_RATIOS: readonly number[] = [4, 7.6, 10, 16];

/** Codecs by ratios; those of a fixed rate once. */
export function planCodecs(
  codecs: readonly string[], ratios: readonly number[],
): { readonly codec: ComparedCodec; readonly ratio?: number }[] {
  return codecs
    .map(comparedCodec)
    .flatMap((codec) => (codecDefinition(codec.name).isFixedRate ? [{ codec }] : ratios.map((ratio) => ({ codec, ratio }))));
}
