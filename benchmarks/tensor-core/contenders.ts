import type { Contender } from "../src/workload.ts";

const ours = (threads: number): Contender => ({ name: `frugal ${threads}t`, module: "frugal", threads });

/** tensor-core on one thread. */
export const oneThread: Contender = ours(1);
/** tensor-core on two threads. */
export const twoThreads: Contender = ours(2);

const wasm = (module: string, name: string, threads: number, variant?: string): Contender => ({
  name: `${name} ${threads}t`,
  module,
  threads,
  ...(variant && { variant }),
});

/** Other libraries on WebAssembly. */
export const tfjsWasm: Contender = wasm("tfjs", "tfjs-backend-wasm", 1, "wasm");
export const numpyTs: Contender = wasm("numpy-ts", "numpy-ts", 1);
export const onnxWeb1: Contender = wasm("onnxruntime", "onnxruntime-web", 1, "web");
export const onnxWeb2: Contender = wasm("onnxruntime", "onnxruntime-web", 2, "web");
export const jaxJs1: Contender = wasm("jax-js", "jax-js", 1);
export const jaxJs2: Contender = wasm("jax-js", "jax-js", 2);
export const pffft: Contender = wasm("pffft", "pffft-wasm", 1);
export const kissFft: Contender = wasm("kissfft", "kissfft-wasm", 1);

/** Plain JavaScript. */
export const tfjsCpu: Contender = { name: "tfjs-backend-cpu", module: "tfjs", threads: 1, variant: "cpu", slow: true };
export const fftJs: Contender = { name: "fft.js", module: "fft-js", threads: 1 };
export const mlFft: Contender = { name: "ml-fft", module: "ml-fft", threads: 1 };
export const mlMatrix: Contender = { name: "ml-matrix", module: "ml-matrix", threads: 1 };
export const plainLoops: Contender = { name: "JS loops", module: "plain-loops", threads: 1 };

/** Native code, for comparison. */
export const onnxNode1: Contender = { name: "onnxruntime-node 1t", module: "onnxruntime", threads: 1, variant: "node", native: true };
export const onnxNode2: Contender = { name: "onnxruntime-node 2t", module: "onnxruntime", threads: 2, variant: "node", native: true };
export const openBlas1: Contender = { name: "OpenBLAS 1t", module: "openblas", threads: 1, native: true };
export const openBlas2: Contender = { name: "OpenBLAS 2t", module: "openblas", threads: 2, native: true };
