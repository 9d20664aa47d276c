import type { Workload } from "../src/workload.ts";
import { jaxJs1, mlMatrix, numpyTs, oneThread, onnxWeb1, tfjsCpu, tfjsWasm } from "./contenders.ts";

/** Overhead of an operation: 8 × 8 add, result freed. */
export const smallOperation: Workload = {
  id: "add-8x8-1t",
  unit: "operations/s",
  work: 1,
  task: { kind: "smallAdd" },
  ours: oneThread,
  peers: [tfjsWasm, tfjsCpu, jaxJs1, numpyTs, mlMatrix, onnxWeb1],
};
