import type { Workload } from "../src/workload.ts";
import {
  jaxJs1,
  jaxJs2,
  mlMatrix,
  numpyTs,
  oneThread,
  onnxNode1,
  onnxNode2,
  onnxWeb1,
  onnxWeb2,
  openBlas1,
  openBlas2,
  tfjsCpu,
  tfjsWasm,
  twoThreads,
} from "./contenders.ts";

const sizes = [16, 64, 128, 256, 512, 1024, 2048];
const simdPeak = (threads: number): Workload["limit"] => ({ name: "128-bit peak", of: "simdPeak", factor: threads });

/** Square matrix products, 2n³ flops. */
export const gemm: readonly Workload[] = sizes.flatMap((size): Workload[] => {
  const common = { unit: "GF/s", work: (2 * size ** 3) / 1e9, task: { kind: "gemm", size } as const };
  // Plain JavaScript would take seconds a call.
  const plain = size <= 512 ? [mlMatrix, tfjsCpu] : [];
  return [
    {
      ...common,
      id: `gemm-${size}-1t`,
      ours: oneThread,
      peers: [tfjsWasm, onnxWeb1, jaxJs1, numpyTs, ...plain, onnxNode1, openBlas1],
      limit: simdPeak(1)!,
    },
    { ...common, id: `gemm-${size}-2t`, ours: twoThreads, peers: [onnxWeb2, jaxJs2, onnxNode2, openBlas2], limit: simdPeak(2)! },
  ];
});

/** Ours on two threads against ours on one. */
export const gemmScaling: Workload = {
  id: "gemm-1024-2t-vs-1t",
  unit: "GF/s",
  work: (2 * 1024 ** 3) / 1e9,
  task: { kind: "gemm", size: 1024 },
  ours: twoThreads,
  peers: [oneThread],
};
