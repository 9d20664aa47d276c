import type { StageMode } from "../approximation/stage-mode.ts";
import type { Job } from "../job/job.ts";
import type { Grid } from "./grid.ts";

/** A live worker's part in its pipeline. */
export interface HostAssignment {
  /** Its own stage. */
  readonly stage: number;
  /** The stages it hosts, a run around its own: from inclusive, to exclusive. */
  readonly from: number;
  readonly to: number;
  /** How it runs each of them. A worker that carries double work is degraded for all, its own included (paper §1.3). */
  readonly modes: readonly StageMode[];
}

/** A pipeline under an assignment. */
export interface PipelineAssignment {
  readonly pipeline: number;
  /** In stage order. Together they host every stage, unless the pipeline is not active. */
  readonly hosts: readonly HostAssignment[];
  /** False: too few workers are left. Those that are there do no passes, but receive every update, so that they stay replicas. */
  readonly active: boolean;
  /** Numbers, within the global batch, of the microbatches that it trains on. */
  readonly microbatches: readonly number[];
}

/** Who does what in an epoch: a pure function of who is alive. */
export interface Assignment {
  readonly pipelines: readonly PipelineAssignment[];
  /** N(l), by stage: pipelines that give a mixer gradient for the stage's blocks. */
  readonly mixerPipelines: readonly (readonly number[])[];
  /** Stages that no worker hosts anywhere: training cannot go on. */
  readonly lostStages: readonly number[];
  /** Whether all workers are there and none is degraded. */
  readonly healthy: boolean;
}

/** What an assignment depends on besides who is alive. */
export type AssignmentSettings =
  & Pick<Job, "strategy" | "techniques" | "maximumChain" | "lostPipeline" | "emptyMixer" | "microbatches">
  & { readonly grid: Grid };
