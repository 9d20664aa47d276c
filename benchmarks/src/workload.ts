/** What is measured: pieces of work that several libraries can do, each described by data, so that it can be sent to a child process. */

/** One piece of work. Inputs are made by `inputs.ts` from the task alone, so every library computes the same result. */
export type Task =
  /** C = A · B, float32, size × size. */
  | { readonly kind: "gemm"; readonly size: number }
  /** `batch` complex transforms of `length` points. */
  | { readonly kind: "fft"; readonly length: number; readonly batch: number }
  /** Two-dimensional transform of a real matrix. */
  | { readonly kind: "rfft2"; readonly rows: number; readonly columns: number }
  | { readonly kind: "softmax" | "layerNorm" | "rmsNorm"; readonly rows: number; readonly columns: number }
  | { readonly kind: "exp" | "add"; readonly size: number }
  /** Selective scan of one sequence, state 16. */
  | { readonly kind: "scan"; readonly sequence: number; readonly channels: number; readonly state: number }
  /** One AdamW update. */
  | { readonly kind: "adamW"; readonly size: number }
  /** Add two 8 × 8 matrices and free the result. */
  | { readonly kind: "smallAdd" }
  /** Forward, backward and update of a small Llama. */
  | { readonly kind: "train"; readonly shape: TrainingShape }
  /** Greedy continuation of stories15M by `tokens` tokens. */
  | { readonly kind: "generate"; readonly tokens: number }
  /** Codes and decodes activations; `both` is one after the other. */
  | {
      readonly kind: "codec";
      readonly codec: string;
      readonly mode?: CodecTarget;
      readonly part: "encode" | "decode" | "both";
      readonly shape: ActivationShape;
    }
  /** The magnitude of which `count` of `size` numbers are no smaller. */
  | { readonly kind: "selectLargest"; readonly size: number; readonly count: number }
  /** Entropy-codes activations quantised with a step, given in shares of their root mean square. */
  | { readonly kind: "entropy"; readonly part: "encode" | "decode"; readonly step: number; readonly shape: ActivationShape }
  /** CRC-32C. */
  | { readonly kind: "checksum"; readonly size: number }
  /** Greedy continuation of stories15M, the first block here and the rest in a server process; without `codec`, all of it here. */
  | { readonly kind: "splitGenerate"; readonly tokens: number; readonly codec?: string; readonly mode?: CodecTarget }
  /** Greedy continuations in several sessions at a time, all served by one process. */
  | { readonly kind: "serveSessions"; readonly sessions: number; readonly tokens: number; readonly batching: boolean }
  /** A step of `microbatches` through a worker's stages, forward and backward; the variant says how many stages it has and how it runs them. */
  | { readonly kind: "stagePasses"; readonly shape: StageShape; readonly microbatches: number }
  /** A message to another process, and an empty one back when it has arrived whole. */
  | { readonly kind: "pointToPoint"; readonly bytes: number; readonly protocol: "unix" | "tcp" }
  /** Sums an array over processes. */
  | { readonly kind: "allReduce"; readonly bytes: number; readonly processes: number; readonly protocol: "unix" | "tcp" }
  /** A stage's weights and moments, written to disk or read back, checksums included. */
  | { readonly kind: "checkpoint"; readonly part: "write" | "read"; readonly shape: StageShape };

/** What an encoder aims for. */
export type CodecTarget = { readonly kind: "ratio"; readonly ratio: number } | { readonly kind: "step"; readonly step: number };

/** Size of a message of activations. */
export interface ActivationShape {
  readonly tokens: number;
  readonly hiddenSize: number;
}

/** Sizes of a pipeline's stage, and of what is sent through it. */
export interface StageShape {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly heads: number;
  readonly blocks: number;
  readonly microbatchSize: number;
  readonly sequenceLength: number;
}

/** Sizes of the training step. */
export interface TrainingShape {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly intermediateSize: number;
  readonly vocabularySize: number;
  readonly batchSize: number;
  readonly sequenceLength: number;
}

/** A library in one of its settings, run in a child process of its own. */
export interface Contender {
  /** As shown in tables; unique. */
  readonly name: string;
  /** Module under `peers/`. */
  readonly module: string;
  readonly threads: number;
  /** Passed to the adapter, such as the precision of weights. */
  readonly variant?: string;
  /** For Node, of the process it runs in. */
  readonly nodeFlags?: readonly string[];
  /** Native code: shown for comparison, but not among the peers a ratio is taken over. */
  readonly native?: boolean;
  /** Left out unless `--slow` is given. */
  readonly slow?: boolean;
}

/** One row of the table. */
export interface Workload {
  readonly id: string;
  /** A rate: larger is better. */
  readonly unit: string;
  /** Units of work a call does; work / seconds is the rate. */
  readonly work: number;
  readonly task: Task;
  readonly ours: Contender;
  readonly peers: readonly Contender[];
  /** What ours comes to beside its rate. */
  readonly assess?: (ours: { readonly rate: number; readonly bytes: number | undefined }) => Assessment;
  /** Limits of the machine to hold the result against, in the same unit: name → how to compute it from the machine's probes. */
  readonly limit?: { readonly name: string; readonly of: "simdPeak" | "bandwidth"; readonly factor: number };
}

/** Further columns of a row. */
export interface Assessment {
  /** Rates to hold ours against, by name. */
  readonly yardsticks?: Readonly<Record<string, number>>;
  readonly remark?: string;
}

/** A task made ready: memory allocated, inputs filled, code warmed up. */
export interface Prepared {
  /** Does the work once. Give `run` where the library is synchronous, so that no promise is timed. */
  readonly run?: () => void;
  readonly runAsync?: () => Promise<void>;
  /** Some numbers of the result, for a comparison between libraries; from `sampleOf`. */
  sample(): Promise<readonly number[]> | readonly number[];
  /** Size of the result, for coders. */
  readonly bytes?: number;
  dispose?(): void | Promise<void>;
}

/** How a module under `peers/` offers its library. */
export interface Adapter {
  /** Starts the library with a number of threads. @throws when it is not installed */
  open(threads: number, variant: string | undefined): Promise<OpenAdapter>;
}

/** A started library. */
export interface OpenAdapter {
  /** Version of the library. */
  readonly version: string;
  /** Undefined where the library cannot do the task. */
  prepare(task: Task): Promise<Prepared | undefined>;
}
