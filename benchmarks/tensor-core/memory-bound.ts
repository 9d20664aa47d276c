import type { Workload } from "../src/workload.ts";
import { jaxJs1, numpyTs, oneThread, onnxNode1, onnxWeb1, plainLoops, tfjsCpu, tfjsWasm } from "./contenders.ts";

const rowWise = (["softmax", "layerNorm", "rmsNorm"] as const).map((kind): Workload => ({
  id: `${{ softmax: "softmax", layerNorm: "layer-norm", rmsNorm: "rms-norm" }[kind]}-512x1024-1t`,
  unit: "Gelements/s",
  work: (512 * 1024) / 1e9,
  task: { kind, rows: 512, columns: 1024 },
  ours: oneThread,
  peers: [tfjsWasm, onnxWeb1, jaxJs1, plainLoops, tfjsCpu, onnxNode1],
}));

const exponential: Workload = {
  id: "exp-64k-1t",
  unit: "Gelements/s",
  work: 65_536 / 1e9,
  task: { kind: "exp", size: 65_536 },
  ours: oneThread,
  peers: [tfjsWasm, onnxWeb1, jaxJs1, numpyTs, plainLoops, tfjsCpu, onnxNode1],
};

/** Three streams: two read, one written. */
const additions = (
  [
    ["l2", 2 ** 15],
    ["l3", 2 ** 20],
    ["dram", 2 ** 24],
  ] as const
).map(([level, size]): Workload => ({
  id: `add-${level}-1t`,
  unit: "GB/s",
  work: (12 * size) / 1e9,
  task: { kind: "add", size },
  ours: oneThread,
  peers: [tfjsWasm, onnxWeb1, jaxJs1, numpyTs, plainLoops, onnxNode1],
}));

const scan: Workload = {
  id: "selective-scan-512x512x16-1t",
  unit: "Gupdates/s",
  work: (512 ** 2 * 16) / 1e9,
  task: { kind: "scan", sequence: 512, channels: 512, state: 16 },
  ours: oneThread,
  peers: [plainLoops],
};

/** Four streams read, three written. */
const update: Workload = {
  id: "adamw-4m-1t",
  unit: "GB/s",
  work: (28 * 2 ** 22) / 1e9,
  task: { kind: "adamW", size: 2 ** 22 },
  ours: oneThread,
  peers: [tfjsWasm, jaxJs1, plainLoops],
};

/** Operations bound by memory or by the exponential. */
export const memoryBound: readonly Workload[] = [...rowWise, exponential, ...additions, scan, update];
