import { allTechniques, noTechniques, type Techniques } from "../approximation/stage-mode.ts";
import type { Grid } from "../grid/grid.ts";
import { GridState } from "./grid-state.ts";
import { paperModels, paperProfile } from "./paper-models.ts";
import { paperAblation, type PaperAblation } from "./paper-tables.ts";
import { StepTimes } from "./step-time.ts";

/** A row of the ablation: throughput with one failed node, over that without. */
export interface AblationRow {
  readonly variant: PaperAblation["variant"];
  /** By the FLOP model; `batch512` has twice the microbatches of `batch256`. */
  readonly simulated: { readonly batch256: number; readonly batch512: number };
  /** From the paper's figures; undefined where it ran out of memory. */
  readonly paper: { readonly batch256: number; readonly batch512?: number };
}

const TECHNIQUES: Readonly<Record<PaperAblation["variant"], Techniques>> = {
  "no fault": noTechniques,
  "naive": noTechniques,
  "I": { ...noTechniques, skipMixerBackward: true },
  "I + II": { ...noTechniques, skipMixerBackward: true, recomputeFeedForward: true },
  "I + II + III": allTechniques,
};

/** The paper's setting: pipeline parallelism only. */
const grid: Grid = { pipelines: 1, stages: 8 };
/** The paper does not say which node failed; one in the middle does not get the head. */
const FAILED = 3;
const SEQUENCES_PER_MICROBATCH = 8;

/** The paper's ablation of the 7B model in one pipeline of eight stages, by the FLOP model, beside the paper's figures. */
export function simulateAblation(): AblationRow[] {
  const seconds = (variant: PaperAblation["variant"], batch: number): number => {
    const isHealthy = variant === "no fault";
    // `paperProfile` keeps a pipeline's batch: 256 sequences here, so that another batch is another number of those microbatches.
    const profile = paperProfile("llama-7b", {
      grid, techniques: TECHNIQUES[variant], microbatches: paperModels["llama-7b"].batch / 4 / SEQUENCES_PER_MICROBATCH,
    });
    const costs = { ...profile, microbatches: batch / SEQUENCES_PER_MICROBATCH };
    const state = new GridState(grid, 2);
    if (!isHealthy) state.change(0, FAILED, false);
    const doubleWork = variant === "naive" ? "exact" : "degraded";
    // With one pipeline, every degraded stage is one whose N(l) is empty: the paper measures speed here, and skips the update.
    return new StepTimes({ grid, costs, doubleWork, lostPipeline: "drop", emptyMixer: "skip", sharing: "even" }).step(state).seconds;
  };
  const healthy = { batch256: seconds("no fault", 256), batch512: seconds("no fault", 512) };
  const reference = paperAblation[0]!;
  return paperAblation.map(({ variant, batch256, batch512 }) => ({
    variant,
    simulated: { batch256: healthy.batch256 / seconds(variant, 256), batch512: healthy.batch512 / seconds(variant, 512) },
    paper: {
      batch256: batch256 / reference.batch256,
      ...(batch512 === undefined ? {} : { batch512: batch512 / reference.batch512! }),
    },
  }));
}
