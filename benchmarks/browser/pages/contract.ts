/** What the harness asks of a page, and a page of its library. */

/** One piece of work; inputs come from `inputs.ts` by seed. */
export type PageTask =
  | { readonly kind: "gemm"; readonly size: number }
  | { readonly kind: "add"; readonly size: number }
  | { readonly kind: "softmax"; readonly rows: number; readonly columns: number }
  /** Not causal: query, key and value [1, heads, length, headDim]. */
  | { readonly kind: "attention"; readonly heads: number; readonly length: number; readonly headDim: number }
  /** Σ (softmax(a · b) ∘ c) and its gradients by a and b, all [size, size]: the smallest training step. */
  | { readonly kind: "gradient"; readonly size: number };

/** A task made ready on the GPU. */
export interface PreparedPage {
  /** Computes once and waits until the GPU has done it; the result stays there. */
  run(): Promise<void>;
  /** The whole result. */
  result(): Promise<Float32Array>;
  dispose?(): void;
}

/** A library as its page offers it. */
export interface PageLibrary {
  /** What adapter it computes on, where it says. */
  readonly adapter?: string;
  /** Undefined where it cannot do the task. */
  prepare(task: PageTask): Promise<PreparedPage | undefined>;
}

/** Functions that the harness calls in the page. */
export interface PageHarness {
  open(): Promise<{ readonly adapter: string }>;
  /** The result's values; null where the library cannot do the task. Warms up. */
  prepare(task: PageTask): Promise<number[] | null>;
  /** Median seconds of a call. */
  measure(seconds: number): Promise<number>;
  release(): Promise<void>;
}

declare global {
  var benchmark: PageHarness;
}
