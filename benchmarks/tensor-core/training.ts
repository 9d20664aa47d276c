import type { TrainingShape, Workload } from "../src/workload.ts";
import { jaxJs1, jaxJs2, oneThread, tfjsWasm, twoThreads } from "./contenders.ts";

const shape: TrainingShape = {
  layers: 6,
  hiddenSize: 288,
  heads: 6,
  intermediateSize: 768,
  vocabularySize: 4096,
  batchSize: 4,
  sequenceLength: 256,
};
const common = { unit: "tokens/s", work: shape.batchSize * shape.sequenceLength, task: { kind: "train", shape } } as const;

/**
 * Training of a small Llama. Ours is the whole step with embedding, clipping and AdamW; the peers compute loss and gradients only,
 * from fixed inputs.
 */
export const training: readonly Workload[] = [
  { ...common, id: "train-step-1t", ours: oneThread, peers: [jaxJs1, { ...tfjsWasm, slow: true }] },
  { ...common, id: "train-step-2t", ours: twoThreads, peers: [jaxJs2] },
];
