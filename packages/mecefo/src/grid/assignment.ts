import type { StageMode, Techniques } from "../approximation/stage-mode.ts";
import type { Grid, Slot } from "./grid.ts";
import { hostPipeline, type HostRange } from "./host-pipeline.ts";
import { shareMicrobatches } from "./share-microbatches.ts";
import { hostsNeighbours, type StrategyName } from "./strategy.ts";

/** A live worker's part in its pipeline. */
export interface HostAssignment extends HostRange {
  /** How it runs each of its stages. A worker that carries double work is degraded for all, its own included (paper §1.3). */
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
  /** Whether a step can be taken: all stages are hosted, and the strategy goes on with those who are there. */
  readonly trainable: boolean;
}

/** What an assignment depends on besides who is alive. */
export interface AssignmentSettings {
  readonly grid: Grid;
  readonly strategy: StrategyName;
  readonly techniques: Techniques;
  /** Stages that one worker may host, its own included. */
  readonly maximumChain: number;
  /** Microbatches of each pipeline in a step. */
  readonly microbatches: number;
  /** What becomes of the microbatches of a pipeline that cannot run: the others take them over, or they are left out of the step. */
  readonly lostPipeline: "reroute" | "drop";
  /** Whether slow pipelines give microbatches to faster ones, or each keeps its own (the paper's way). */
  readonly sharing: "balanced" | "even";
  /** When no pipeline would compute a mixer's gradient: one does it exactly all the same, or the update is left out. */
  readonly emptyMixer: "exact" | "skip";
}

/**
 * Who does what, given which slots have a live worker (spec §1.9): a dead stage is hosted by the nearest live stage of its pipeline; a
 * pipeline whose chains would exceed `maximumChain` is not active; a mixer whose gradient no pipeline would compute is computed exactly by
 * the pipeline whose host of it has the least to do.
 */
export function assign(settings: AssignmentSettings, isLive: (slot: Slot) => boolean): Assignment {
  const { grid: { pipelines: pipelineCount, stages }, strategy, techniques, maximumChain } = settings;
  const drafts = Array.from({ length: pipelineCount }, (_, pipeline) => {
    const live = Array.from({ length: stages }, (_unused, stage) => isLive({ pipeline, stage }));
    const ranges = hostPipeline(live, hostsNeighbours(strategy) ? maximumChain : 1);
    const own = (): HostRange[] => live.flatMap((up, stage) => (up ? [{ stage, from: stage, to: stage + 1 }] : []));
    const [active, hosts] = [ranges !== undefined, ranges ?? own()];
    return { pipeline, active, hosts };
  });

  const isDegraded = (host: HostRange): boolean => width(host) > 1;
  const hostIn = (draft: (typeof drafts)[number], stage: number): HostRange | undefined =>
    draft.hosts.find(({ from, to }) => from <= stage && stage < to);
  const mixerPipelines: number[][] = [];
  /** By stage: the pipeline that computes the mixer's gradient although its host is degraded. */
  const exact = new Map<number, number>();
  const lostStages: number[] = [];
  for (let stage = 0; stage < stages; stage++) {
    if (drafts.every((draft) => hostIn(draft, stage) === undefined)) lostStages.push(stage);
    const active = drafts.filter((draft) => draft.active);
    const giving = active.filter((draft) => !techniques.skipMixerBackward || !isDegraded(hostIn(draft, stage)!));
    const least = active.toSorted((a, b) => width(hostIn(a, stage)!) - width(hostIn(b, stage)!) || a.pipeline - b.pipeline)[0];
    if (giving.length === 0 && least !== undefined && settings.emptyMixer === "exact") {
      exact.set(stage, least.pipeline);
      giving.push(least);
    }
    mixerPipelines.push(giving.map(({ pipeline }) => pipeline));
  }

  const shares = shareMicrobatches(settings, drafts.map(({ active, hosts }) => ({ active, widths: hosts.map(width) })));
  const pipelines = drafts.map(({ pipeline, active, hosts }): PipelineAssignment => ({
    pipeline,
    active,
    microbatches: shares[pipeline]!,
    hosts: hosts.map((host): HostAssignment => ({
      ...host,
      modes: Array.from({ length: host.to - host.from }, (_, i): StageMode => {
        if (!isDegraded(host)) return {};
        return exact.get(host.from + i) === pipeline ? { techniques, exactMixer: true } : { techniques };
      }),
    })),
  }));
  const healthy = drafts.every(({ hosts }) => hosts.length === stages);
  const goesOn = healthy || (strategy !== "checkpoint-restart" && strategy !== "none");
  const trainable = lostStages.length === 0 && goesOn && pipelines.some(({ active }) => active);
  return { pipelines, mixerPipelines, lostStages, healthy, trainable };
}

function width({ from, to }: HostRange): number {
  return to - from;
}
