import { measureRatio, type Claim } from "../src/check.ts";
import { gzippedBundleSize } from "../src/bundle-size.ts";
import { ContenderPool } from "../src/rounds.ts";
import type { Workload } from "../src/workload.ts";
import { countThreadDifferences } from "./determinism.ts";
import { gemmScaling } from "./gemm.ts";
import { fftJs } from "./contenders.ts";
import { webgpuClaims } from "./webgpu-claims.ts";
import { workloads } from "./workloads.ts";

function workload(id: string): Workload {
  const found = workloads.flat().find((candidate) => candidate.id === id);
  if (found === undefined) throw new Error(`no workload ${id}`);
  return found;
}

const ratio = (id: string, target: number, measured: Workload): Claim => ({
  id,
  unit: "ratio",
  target,
  better: "larger",
  speed: true,
  measure: (effort) => measureRatio(measured, effort),
});

/** What a program uses that computes with tensors and gradients: methods and kernels come with the first of them. */
const coreNames = ["grad", "linear", "matmul", "scope", "softmax", "tensor", "tidy", "valueAndGrad", "zeros"];

/** What `npm run verify -- tensor-core` checks. */
export const claims: readonly Claim[] = [
  ratio("gemm-256-1t-vs-best-wasm", 1.25, workload("gemm-256-1t")),
  ratio("gemm-1024-1t-vs-best-wasm", 1.25, workload("gemm-1024-1t")),
  ratio("gemm-1024-2t-scaling", 1.7, gemmScaling),
  ratio("rfft2-128x2048-vs-fftjs", 5, { ...workload("rfft2-128x2048-1t"), peers: [fftJs] }),
  ratio("train-step-vs-jaxjs", 2, workload("train-step-2t")),
  {
    id: "small-op-ns",
    unit: "ns",
    target: 200,
    better: "smaller",
    speed: true,
    measure: async (effort) => {
      const pool = new ContenderPool();
      try {
        const measured = workload("add-8x8-1t");
        const { rates } = await pool.run({ ...measured, peers: [] }, effort);
        return { value: 1e9 / rates.get(measured.ours)! };
      } finally {
        await pool.close();
      }
    },
  },
  {
    id: "bundle-gzip-kb",
    unit: "kB",
    target: 60,
    better: "smaller",
    measure: async () => {
      const whole = (await gzippedBundleSize("@frugal/tensor-core")) / 1000;
      const value = (await gzippedBundleSize("@frugal/tensor-core", coreNames)) / 1000;
      return { value, note: `tensors with all methods, gradients and all kernels; everything in the main entry is ${whole.toFixed(1)} kB` };
    },
  },
  { id: "determinism-threads", unit: "elements that differ", target: 0, better: "smaller", measure: countThreadDifferences },
  ...webgpuClaims,
];
