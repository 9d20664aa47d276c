/** Throughput of a grid with a worker down, by the 1F1B recurrence over measured stage times and the assignment that workers would have. */
import { allTechniques, assign, pipelineSeconds, type Grid, type HostTimes, type Slot, type StageCosts } from "@frugal/mecefo";

/** What a grid is given to do. */
export interface GridWork {
  readonly grid: Grid;
  /** Of each pipeline in a step. */
  readonly microbatches: number;
  readonly sharing: "balanced" | "even";
}

function secondsOfStep(work: GridWork, costs: StageCosts, dead: Slot | undefined): number {
  const assignment = assign(
    {
      ...work, strategy: "mecefo", techniques: allTechniques, maximumChain: work.grid.stages, lostPipeline: "reroute", emptyMixer: "exact",
    },
    ({ pipeline, stage }) => pipeline !== dead?.pipeline || stage !== dead.stage,
  );
  // All wait for the slowest pipeline.
  return Math.max(...assignment.pipelines.map(({ hosts, microbatches: share }) => pipelineSeconds(
    hosts.map(({ from, to }): HostTimes => (to - from === 1
      ? { forward: costs.forward, backward: costs.backward }
      : { forward: (to - from) * costs.degradedForward, backward: (to - from) * costs.degradedBackward })),
    share.length, 0,
  )));
}

/** Fault-free time of a step over its time with one worker of a middle stage down. Links are taken to cost nothing. */
export function oneDownThroughput(work: GridWork, costs: StageCosts): number {
  const dead = { pipeline: 0, stage: work.grid.stages >> 1 };
  return secondsOfStep(work, costs, undefined) / secondsOfStep(work, costs, dead);
}
