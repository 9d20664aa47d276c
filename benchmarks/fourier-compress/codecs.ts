import { readable } from "../src/table.ts";
import type { ActivationShape, Assessment, CodecTarget, Contender, Workload } from "../src/workload.ts";

const shape: ActivationShape = { tokens: 128, hiddenSize: 2048 };
/** As float16, the baseline of all ratios. */
const rawBytes = 2 * shape.tokens * shape.hiddenSize;

/** fourier-compress on one thread. */
export const codecsOneThread: Contender = { name: "frugal codecs 1t", module: "frugal-codecs", threads: 1 };

/** Megabytes a second that links carry. */
const links: Readonly<Record<string, number>> = { "100 Mbit/s": 12.5, "1 Gbit/s": 125, "10 Gbit/s": 1250 };

const bitsPerSecond = (megabytes: number): string => {
  const megabits = 8 * megabytes;
  return megabits >= 1000 ? `${readable(megabits / 1000)} Gbit/s` : `${readable(megabits)} Mbit/s`;
};

/**
 * What a codec saves: a link of L MB/s takes 1 / L for a megabyte, of which the ratio leaves 1 / ratio. A codec of T MB/s pays while
 * 1 / T < (1 - 1 / ratio) / L, so on links up to T (1 - 1 / ratio).
 */
function worth({ rate, bytes }: { readonly rate: number; readonly bytes: number | undefined }): Assessment {
  const ratio = rawBytes / bytes!;
  const saved = 1 - 1 / ratio;
  return {
    yardsticks: Object.fromEntries(Object.entries(links).map(([name, speed]) => [`to pay at ${name}`, speed / saved])),
    remark: `ratio ${ratio.toFixed(2)}, pays on links up to ${bitsPerSecond(rate * saved)}`,
  };
}

/** The quantisers' step that comes to about the same ratio, in shares of the rows' root mean square. */
const step: CodecTarget = { kind: "step", step: 0.44 };
const ratio: CodecTarget = { kind: "ratio", ratio: 7.6 };

const coded: readonly (readonly [codec: string, mode?: CodecTarget])[] = [
  ["channel", ratio], ["channel", step], ["klt", ratio], ["klt", step], ["hadamard", ratio], ["hadamard", step],
  ["fourier-literal", ratio], ["fourier-hermitian", ratio], ["fourier-lowpass", ratio], ["cosine", ratio], ["top-k", ratio],
  ["svd", ratio], ["qr", ratio], ["asvd", ratio], ["pca-float16", ratio], ["pca-int8", ratio], ["int8"], ["int4"], ["float16"],
];

/** Activations through every codec, in megabytes of float16 a second. */
export const codecs: readonly Workload[] = coded.flatMap(([codec, mode]) =>
  (["encode", "decode", "both"] as const).map((part): Workload => ({
    id: `${codec}${mode === undefined ? "" : mode.kind === "step" ? "-step" : `-${mode.ratio}x`}-${part}`,
    unit: "MB/s",
    work: rawBytes / 1e6,
    task: { kind: "codec", codec, part, shape, ...(mode !== undefined && { mode }) },
    ours: codecsOneThread,
    peers: [],
    ...(part === "both" && codec !== "float16" && { assess: worth }),
  })),
);

const selecting = (variant: string, name: string = variant): Contender => ({ name, module: "selection", threads: 1, variant });
const size = shape.tokens * shape.hiddenSize;
/** 16 bits a value and its place in their entropy: what 7.6× leaves room for. */
const kept = Math.floor(size / 23.3);

const compressing = (variant: string, name: string, native: boolean): Contender => ({
  name, module: "entropy-coders", threads: 1, variant, ...(native && { native }),
});

const compressors = [
  compressing("zstd-wasm", "zstd-wasm", false), compressing("zstd", "zstd of Node", true), compressing("brotli", "brotli 5 of Node", true),
  compressing("deflate", "deflate of Node", true),
];

const checksumBytes = 1 << 20;

/** What codecs are made of, against libraries. */
export const parts: readonly Workload[] = [
  {
    id: "top-k-selection",
    unit: "Mvalues/s",
    work: size / 1e6,
    task: { kind: "selectLargest", size, count: kept },
    ours: codecsOneThread,
    peers: [selecting("sort", "Float32Array sort"), selecting("quickselect"), selecting("floyd-rivest")],
  },
  ...(["encode", "decode"] as const).map((part): Workload => ({
    id: `rans-${part}`,
    unit: "Msymbols/s",
    work: size / 1e6,
    task: { kind: "entropy", part, step: step.step, shape },
    ours: codecsOneThread,
    peers: compressors,
  })),
  {
    id: "crc32c-1MiB",
    unit: "MB/s",
    work: checksumBytes / 1e6,
    task: { kind: "checksum", size: checksumBytes },
    ours: codecsOneThread,
    peers: [
      { name: "crc-32", module: "checksum", threads: 1 },
      { name: "zlib's crc32 of Node", module: "checksum", threads: 1, variant: "zlib", native: true },
    ],
  },
];
