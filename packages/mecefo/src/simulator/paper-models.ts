import type { Techniques } from "../approximation/stage-mode.ts";
import { SettingsError } from "../errors.ts";
import type { Grid } from "../grid/grid.ts";
import type { CostProfile } from "./cost-profile.ts";
import { costsOfModel, type MachineAssumptions, type ModelShape } from "./flop-model.ts";
import { paperThroughputs, type PaperModelName } from "./paper-tables.ts";
import { faultFreeThroughput } from "./step-time.ts";

/** The paper's grid: 32 A100. */
export const paperGrid: Grid = { pipelines: 4, stages: 8 };

/** The paper's models with their global batch in sequences. The vocabulary, which it does not state, is the Llama tokenizer's. */
export const paperModels: Readonly<Record<PaperModelName, ModelShape & { readonly batch: number }>> = {
  "llama-350m": { hiddenSize: 1024, intermediateSize: 2736, numHiddenLayers: 24, vocabularySize: 32000, batch: 8192 },
  "llama-1b": { hiddenSize: 2048, intermediateSize: 5461, numHiddenLayers: 24, vocabularySize: 32000, batch: 4096 },
  "llama-7b": { hiddenSize: 4096, intermediateSize: 11008, numHiddenLayers: 32, vocabularySize: 32000, batch: 1024 },
};

/** Names of the above. */
export const paperModelNames: readonly PaperModelName[] = ["llama-350m", "llama-1b", "llama-7b"];

const SEQUENCE_LENGTH = 256;

/**
 * The paper's cluster. Its links are as it states them. Detection, settling, checkpoints and the speed of decompositions it does not state:
 * they are this package's defaults (a worker is suspected after a second), and common figures.
 */
export const paperMachine: Omit<MachineAssumptions, "flopsPerSecond"> = {
  decompositionEfficiency: 0.05,
  linkBytesPerSecond: 200e9,
  stateBytesPerSecond: 20e9,
  detectionSeconds: 1,
  settlingSeconds: 0.5,
  checkpoint: { everySeconds: 1800, writeSeconds: 0, bytesPerSecond: 2e9, restartSeconds: 60 },
};

/** What can be varied in `paperProfile`. */
export interface PaperProfileSettings {
  /** Default: the paper's. */
  readonly grid?: Grid;
  /** Of a pipeline in a step; the paper does not state it. The batch of a pipeline stays the paper's. Default 32. */
  readonly microbatches?: number;
  readonly rankShare?: number;
  readonly techniques?: Techniques;
  /** Leave the head's operations out, as if its stage had been given fewer blocks for it. Default false. */
  readonly balancedHead?: boolean;
}

function profileAt(name: PaperModelName, grid: Grid, settings: PaperProfileSettings, flopsPerSecond: number): CostProfile {
  const { batch, ...model } = paperModels[name];
  const { microbatches = 32, balancedHead = false, grid: _grid, ...rest } = settings;
  const microbatchSize = batch / paperGrid.pipelines / microbatches;
  if (!Number.isInteger(microbatchSize)) {
    throw new SettingsError(`${microbatches} microbatches do not divide ${name}'s ${batch / paperGrid.pipelines} sequences of a pipeline`);
  }
  return costsOfModel({
    name, model: balancedHead ? { ...model, vocabularySize: 0 } : model, ...grid, ...rest,
    sequenceLength: SEQUENCE_LENGTH, microbatchSize, microbatches, machine: { ...paperMachine, flopsPerSecond },
  });
}

/**
 * Costs of one of the paper's models by the FLOP model, calibrated: the rate of a node is the one that gives the paper's fault-free
 * throughput on its grid of 4 × 8. Everything else about it follows from that one number.
 * @throws SettingsError
 */
export function paperProfile(name: PaperModelName, settings: PaperProfileSettings = {}): CostProfile {
  const target = paperThroughputs.find((row) => row.model === name && row.system === "MeCeFO")!.none * 1000;
  let low = 1e9;
  let high = 1e18;
  for (let i = 0; i < 80; i++) {
    const middle = Math.sqrt(low * high);
    if (faultFreeThroughput(profileAt(name, paperGrid, settings, middle), paperGrid) < target) low = middle;
    else high = middle;
  }
  return profileAt(name, settings.grid ?? paperGrid, settings, high);
}
