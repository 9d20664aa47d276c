/** What is measured on a GPU, each described by data: the same description goes to our child process and to PyTorch. */
import type { TrainingShape } from "../src/workload.ts";

/** How weights are stored. */
export type WeightFormat = "float32" | "float16" | "int8" | "uint4";

/** One piece of work. */
export type GpuTask =
  /** x · Wᵀ with x [size, size] float32 and W [size, size]; float32 as a plain matrix product. */
  | { readonly kind: "gemm"; readonly size: number; readonly weights: "float32" | "float16" }
  /** a + b, exp(a), or the chain exp(a · b + a) · 0.5. */
  | { readonly kind: "elementwise"; readonly operation: "add" | "exp" | "chain"; readonly size: number }
  | { readonly kind: "rowWise"; readonly operation: "softmax" | "rmsNorm"; readonly rows: number; readonly columns: number }
  /** W · x for one x; integer weights in groups of 32 with a float32 scale, `uint4` with a minimum too. */
  | { readonly kind: "gemv"; readonly outputs: number; readonly inputs: number; readonly weights: WeightFormat }
  /** Causal where queries = keys; with `gradient` also the gradients of query, key and value. */
  | {
      readonly kind: "attention";
      readonly heads: number;
      readonly queries: number;
      readonly keys: number;
      readonly headDim: number;
      readonly gradient: boolean;
    }
  | { readonly kind: "rfft2"; readonly batch: number; readonly rows: number; readonly columns: number }
  | { readonly kind: "scan"; readonly batch: number; readonly sequence: number; readonly channels: number; readonly state: number }
  | { readonly kind: "adamW"; readonly size: number }
  /** Recording of small operations, without waiting for the GPU. */
  | { readonly kind: "overhead"; readonly operations: number }
  /** Greedy generation, one token at a time. */
  | {
      readonly kind: "generate";
      readonly model: "stories15m" | "llama-1.1b" | "llama-tiny";
      readonly weights: WeightFormat;
      readonly tokens: number;
    }
  | { readonly kind: "train"; readonly shape: TrainingShape };

/** One row of the table. */
export interface GpuWorkload {
  readonly id: string;
  readonly unit: "GFLOP/s" | "GB/s" | "transforms/s" | "Gupdates/s" | "tokens/s" | "µs";
  /** Units of work of a call; work / seconds is the rate. For µs the value is time itself. */
  readonly work: number;
  /** The measured peak to hold the rate against, and units of work for one FLOP or byte of it. */
  readonly limit?: { readonly of: "float32" | "float16" | "bandwidth"; readonly perUnit: number };
  /** Bytes of the largest buffer, which adapters limit. */
  readonly largestBuffer: number;
  readonly task: GpuTask;
}

const bytesOf: Readonly<Record<WeightFormat, number>> = { float32: 4, float16: 2, int8: 1 + 4 / 32, uint4: 0.5 + 8 / 32 };
const shortName: Readonly<Record<WeightFormat, string>> = { float32: "f32", float16: "f16", int8: "int8", uint4: "uint4" };

function gemm(size: number, weights: "float32" | "float16"): GpuWorkload {
  return {
    id: `gemm-${size}-${shortName[weights]}`,
    unit: "GFLOP/s",
    work: (2 * size ** 3) / 1e9,
    // Sums in float32 either way, so the float32 units are what limits both.
    limit: { of: "float32", perUnit: 1 },
    largestBuffer: 4 * size ** 2,
    task: { kind: "gemm", size, weights },
  };
}

const bandwidth = { of: "bandwidth", perUnit: 1 } as const;

function elementwise(operation: "add" | "exp" | "chain", size: number): GpuWorkload {
  const streams = operation === "exp" ? 2 : 3;
  return {
    id: `${operation}-${size}`,
    unit: "GB/s",
    work: (4 * streams * size) / 1e9,
    limit: bandwidth,
    largestBuffer: 4 * size,
    task: { kind: "elementwise", operation, size },
  };
}

function rowWise(operation: "softmax" | "rmsNorm", rows: number, columns: number): GpuWorkload {
  return {
    id: `${operation === "softmax" ? "softmax" : "rms-norm"}-${rows}x${columns}`,
    unit: "GB/s",
    work: (8 * rows * columns) / 1e9,
    limit: bandwidth,
    largestBuffer: 4 * rows * columns,
    task: { kind: "rowWise", operation, rows, columns },
  };
}

function gemv(outputs: number, inputs: number, weights: WeightFormat): GpuWorkload {
  const bytes = bytesOf[weights] * outputs * inputs;
  return {
    id: `gemv-${outputs}x${inputs}-${shortName[weights]}`,
    unit: "GB/s",
    work: bytes / 1e9,
    limit: bandwidth,
    largestBuffer: bytes,
    task: { kind: "gemv", outputs, inputs, weights },
  };
}

function attention(heads: number, queries: number, keys: number, headDim: number, gradient = false): GpuWorkload {
  const causal = queries === keys && queries > 1;
  // Two products forward and five backward; half of the scores where the mask is causal.
  const flops = (gradient ? 7 : 2) * 2 * heads * queries * keys * headDim * (causal ? 0.5 : 1);
  const decoding = queries === 1;
  return {
    id: `attention-${decoding ? "decode" : gradient ? "forward-backward" : "prefill"}-${keys}`,
    unit: decoding ? "GB/s" : "GFLOP/s",
    work: (decoding ? 8 * heads * keys * headDim : flops) / 1e9,
    limit: decoding ? bandwidth : { of: "float32", perUnit: 1 },
    largestBuffer: 4 * heads * keys * headDim,
    task: { kind: "attention", heads, queries, keys, headDim, gradient },
  };
}

function rfft2(batch: number, rows: number, columns: number): GpuWorkload {
  return {
    id: `rfft2-${rows}x${columns}`,
    unit: "transforms/s",
    work: batch,
    // Read once, written as two half spectra: the least that any algorithm moves.
    limit: { of: "bandwidth", perUnit: 8 * rows * columns },
    largestBuffer: 4 * batch * rows * columns,
    task: { kind: "rfft2", batch, rows, columns },
  };
}

function scan(batch: number, sequence: number, channels: number, state: number): GpuWorkload {
  return {
    id: `selective-scan-${batch}x${sequence}x${channels}x${state}`,
    unit: "Gupdates/s",
    work: (batch * sequence * channels * state) / 1e9,
    largestBuffer: 4 * batch * sequence * channels,
    task: { kind: "scan", batch, sequence, channels, state },
  };
}

function adamW(size: number): GpuWorkload {
  return {
    id: `adamw-${size >= 1e6 ? `${size / 2 ** 20}m` : size}`,
    unit: "GB/s",
    work: (28 * size) / 1e9,
    limit: bandwidth,
    largestBuffer: 4 * size,
    task: { kind: "adamW", size },
  };
}

/** Weights that a token reads. */
const parametersOf = {
  stories15m: 6 * (4 * 288 ** 2 + 3 * 288 * 768) + 32_000 * 288,
  "llama-1.1b": 22 * (2 * 2048 ** 2 + 2 * 2048 * 256 + 3 * 2048 * 5632) + 32_000 * 2048,
  "llama-tiny": 2 * (4 * 64 ** 2 + 3 * 64 * 192) + 256 * 64,
} as const;

function generation(model: keyof typeof parametersOf, weights: WeightFormat, tokens: number): GpuWorkload {
  return {
    id: `${model}-${shortName[weights]}`,
    unit: "tokens/s",
    work: tokens,
    limit: { of: "bandwidth", perUnit: bytesOf[weights] * parametersOf[model] },
    largestBuffer: model === "llama-1.1b" ? bytesOf[weights] * 32_000 * 2048 : 4 * 32_000 * 288,
    task: { kind: "generate", model, weights, tokens },
  };
}

function training(shape: TrainingShape): GpuWorkload {
  const { layers, hiddenSize, intermediateSize, vocabularySize, batchSize, sequenceLength } = shape;
  const tokens = batchSize * sequenceLength;
  const matrices = layers * (4 * hiddenSize ** 2 + 3 * hiddenSize * intermediateSize) + hiddenSize * vocabularySize;
  return {
    id: `train-step-${layers}x${hiddenSize}`,
    unit: "tokens/s",
    work: tokens,
    limit: { of: "float32", perUnit: 6 * matrices + 6 * layers * hiddenSize * sequenceLength },
    largestBuffer: 4 * tokens * vocabularySize,
    task: { kind: "train", shape },
  };
}

const overhead = (operations: number): GpuWorkload => ({
  id: "launch-overhead",
  unit: "µs",
  work: operations,
  largestBuffer: 1024,
  task: { kind: "overhead", operations },
});

/** Groups share a process, and so an autotuner and a pipeline cache; a crash costs its own group alone. */
export type GpuGroups = Readonly<Record<string, readonly GpuWorkload[]>>;

const allWeights: readonly WeightFormat[] = ["float32", "float16", "int8", "uint4"];

/** For cards. */
export const fullGroups: GpuGroups = {
  overhead: [overhead(10_000)],
  gemm: [512, 1024, 2048, 4096, 8192].flatMap((size) => [gemm(size, "float32"), gemm(size, "float16")]),
  memory: [
    elementwise("add", 2 ** 26),
    elementwise("exp", 2 ** 26),
    elementwise("chain", 2 ** 26),
    rowWise("rmsNorm", 16_384, 4096),
    rowWise("softmax", 16_384, 4096),
    adamW(2 ** 24),
  ],
  gemv: [gemv(16_384, 8192, "float32"), gemv(32_768, 8192, "float16"), gemv(32_768, 8192, "int8"), gemv(32_768, 8192, "uint4")],
  attention: [attention(32, 2048, 2048, 64), attention(32, 2048, 2048, 64, true), attention(32, 1, 4096, 64)],
  sequence: [rfft2(8, 128, 2048), rfft2(8, 512, 4096), rfft2(8, 256, 3584), scan(4, 2048, 1024, 16)],
  training: [
    training({ layers: 6, hiddenSize: 288, heads: 6, intermediateSize: 768, vocabularySize: 4096, batchSize: 4, sequenceLength: 256 }),
  ],
  stories15m: (["float32", "float16", "int8"] as const).map((weights) => generation("stories15m", weights, 200)),
  "llama-1.1b": (["float16", "int8", "uint4"] as const).map((weights) => generation("llama-1.1b", weights, 64)),
};

/** The same kinds of work in sizes that a software adapter manages: whether everything runs and is right. */
export const trialGroups: GpuGroups = {
  overhead: [overhead(1000)],
  gemm: [gemm(128, "float32"), gemm(128, "float16")],
  memory: [
    elementwise("add", 2 ** 16),
    elementwise("exp", 2 ** 16),
    elementwise("chain", 2 ** 16),
    rowWise("rmsNorm", 64, 512),
    rowWise("softmax", 64, 512),
    adamW(2 ** 16),
  ],
  gemv: allWeights.map((weights) => gemv(256, 512, weights)),
  attention: [attention(4, 128, 128, 32), attention(4, 128, 128, 32, true), attention(4, 1, 512, 32)],
  sequence: [rfft2(1, 32, 128), rfft2(1, 16, 224), scan(1, 128, 32, 16)],
  training: [
    training({ layers: 1, hiddenSize: 64, heads: 2, intermediateSize: 192, vocabularySize: 256, batchSize: 2, sequenceLength: 32 }),
  ],
  stories15m: [generation("stories15m", "int8", 8)],
  "llama-1.1b": [generation("llama-tiny", "float16", 8), generation("llama-tiny", "int8", 8)],
};
