import type { Techniques } from "../approximation/stage-mode.ts";

/** A pipeline to share microbatches with. */
export interface SharingPipeline {
  readonly active: boolean;
  /** Stages that each of its workers hosts. */
  readonly widths: readonly number[];
}

/** How microbatches are shared. */
export interface SharingSettings {
  readonly techniques: Techniques;
  /** Of each pipeline in a healthy grid. */
  readonly microbatches: number;
  readonly lostPipeline: "reroute" | "drop";
  readonly sharing: "even" | "balanced";
}

/** A feed-forward's forward pass over a mixer's, in operations: 1.78 to 1.96 for Llama's models of 350M to 7B (spec §1.7). */
const FEED_FORWARD_COST = 1.9;
/** A low-rank weight gradient over an exact one: what a rank of a quarter of the inputs costs, measured. */
const LOW_RANK_COST = 0.5;

/** Time of a microbatch in a stage that a worker with double work hosts, over that in a healthy stage, by operations. */
export function degradedStageCost({ skipMixerBackward, recomputeFeedForward, lowRankWeightGradients }: Techniques): number {
  const feedForward = FEED_FORWARD_COST;
  const mixer = 1 + (skipMixerBackward ? 0 : 2);
  const recomputed = recomputeFeedForward ? feedForward : 0;
  const weightGradients = feedForward * (lowRankWeightGradients ? LOW_RANK_COST : 1);
  return (mixer + 2 * feedForward + recomputed + weightGradients) / (3 + 3 * feedForward);
}

/** Time of a microbatch in the slowest worker of a pipeline, and in all of them one after another, in healthy stages. */
function costOf({ widths }: SharingPipeline, techniques: Techniques): { slowest: number; fill: number } {
  const costs = widths.map((width) => (width > 1 ? width * degradedStageCost(techniques) : 1));
  const slowest = Math.max(...costs);
  return { slowest, fill: costs.reduce((sum, cost) => sum + cost, 0) - slowest };
}

/** How many microbatches each pipeline takes of `total`: one after another goes to the pipeline that would be done with it first. */
function balancedCounts(pipelines: readonly SharingPipeline[], techniques: Techniques, total: number): number[] {
  const costs = pipelines.map((pipeline) => (pipeline.active ? costOf(pipeline, techniques) : undefined));
  const counts = pipelines.map(() => 0);
  for (let i = 0; i < total; i++) {
    let best = -1;
    let earliest = Infinity;
    costs.forEach((cost, pipeline) => {
      if (cost === undefined) return;
      // Everybody takes part: a pipeline without any would give no gradient at all.
      const end = counts[pipeline] === 0 ? -1 : cost.fill + (counts[pipeline]! + 1) * cost.slowest;
      if (end < earliest) [earliest, best] = [end, pipeline];
    });
    if (best >= 0) counts[best]!++;
  }
  return counts;
}

/**
 * Microbatch numbers by pipeline. Every one of the global batch is read once, unless pipelines that cannot run are left out (`drop`).
 * Shared evenly, a pipeline keeps its own and those of pipelines that cannot run go round. Balanced, slow pipelines give some of theirs to
 * faster ones, so that all are done at about the same time; the averages weigh every microbatch alike either way.
 */
export function shareMicrobatches(settings: SharingSettings, pipelines: readonly SharingPipeline[]): number[][] {
  const { techniques, microbatches, lostPipeline, sharing } = settings;
  const own = pipelines.map((_, pipeline) => Array.from({ length: microbatches }, (_unused, i) => pipeline * microbatches + i));
  if (pipelines.every(({ active }) => !active)) return pipelines.map(() => []);
  const lost = own.flatMap((numbers, pipeline) => (pipelines[pipeline]!.active ? [] : numbers));
  const total = own.flat().length - (lostPipeline === "drop" ? lost.length : 0);
  const counts = sharing === "balanced" ? balancedCounts(pipelines, techniques, total) : undefined;
  const shares = own.map((numbers, pipeline) => (pipelines[pipeline]!.active ? numbers.slice(0, counts?.[pipeline]) : []));
  const free = [
    ...own.flatMap((numbers, pipeline) => (pipelines[pipeline]!.active ? numbers.slice(shares[pipeline]!.length) : [])),
    ...(lostPipeline === "drop" ? [] : lost),
  ];
  const takers = pipelines.flatMap(({ active }, pipeline) => (active ? [pipeline] : []));
  let turn = 0;
  for (const number of free) {
    if (counts === undefined) shares[takers[turn++ % takers.length]!]!.push(number);
    else {
      const taker = takers.find((pipeline) => shares[pipeline]!.length < counts[pipeline]!);
      if (taker !== undefined) shares[taker]!.push(number);
    }
  }
  return shares;
}
