/** Thread that reads its own memory over and over when told, and says how fast. */
import { parentPort, workerData } from "node:worker_threads";
import { createProbes } from "./probe-module.ts";

const { bytes, passes } = workerData as { readonly bytes: number; readonly passes: number };
const probes = createProbes(bytes / 65536);
// Touch every page, or all reads would be of the one page of zeros.
new Uint8Array(probes.memory.buffer).fill(1);
probes.sum(bytes);
parentPort!.on("message", () => {
  const started = performance.now();
  for (let pass = 0; pass < passes; pass++) probes.sum(bytes);
  parentPort!.postMessage((bytes * passes) / ((performance.now() - started) / 1000) / 1e9);
});
parentPort!.postMessage("ready");
