/** What fault tolerance costs: of a worker with double work, of a grid with a worker down, of a healthy run, of a recovery. */
import { modelPresets, type RecoveryEvent, type StepEvent } from "@frugal/mecefo";
import type { Claim, Measured } from "../src/check.ts";
import { median } from "../src/measure.ts";
import type { Effort } from "../src/rounds.ts";
import type { StageShape } from "../src/workload.ts";
import { oneDownThroughput } from "./pipeline-figures.ts";
import { isQuick, killAfter, killInTurn, plentyOfSteps, stepsByHealth, trainOnce, type RunSettings } from "./runs.ts";
import { measureStage, modelFactors } from "./stage-passes.ts";

const microbatches = 4;
const sequenceLength = 128;
const microbatchSize = 4;

/** Of the runs' grid. */
export const tokensPerStep = 2 * microbatches * microbatchSize * sequenceLength;

/** A grid that fills two cores for a second or so a step. */
const settings: RunSettings = { model: "micro", grid: "2x2", microbatches, microbatchSize, sequenceLength, hashEvery: 0 };

/** A stage of it: half of the preset's blocks. */
export function presetStage(name: "micro" | "small", stages: number): StageShape {
  const { hiddenSize, intermediateSize, numHiddenLayers, numAttentionHeads: heads } = modelPresets[name];
  return { hiddenSize, intermediateSize, heads, blocks: numHiddenLayers / stages, microbatchSize, sequenceLength };
}

/** A run whose worker p0s0 dies in the middle and does not come back. */
export interface DegradedRun {
  /** Processor time of p0s1 with both stages over the mean of p0s0 and p0s1 with one each. */
  readonly cost: number;
  /** Time of a step before over after. */
  readonly throughput: number;
  readonly steps: number;
}

/** Trains on through a death. */
export async function measureDegradedRun(effort: Effort, sharing: "even" | "balanced"): Promise<DegradedRun> {
  const half = isQuick(effort) ? 6 : 20;
  return await trainOnce({
    ...settings, sharing, strategy: "mecefo", steps: 2 * half, restartDelay: null, allowFaults: true,
    onEvent: killAfter(half, "p0s0"),
  }, ({ result: { events } }) => {
    const { healthy, degraded } = stepsByHealth(events);
    const busy = (steps: readonly StepEvent[], slot: string): number =>
      median(steps.map((step) => step.busy.find((one) => one.slot === slot)!.busy));
    const milliseconds = (steps: readonly StepEvent[]): number => median(steps.map((step) => step.milliseconds));
    return {
      cost: busy(degraded, "p0s1") / ((busy(healthy, "p0s0") + busy(healthy, "p0s1")) / 2),
      throughput: milliseconds(healthy) / milliseconds(degraded),
      steps: Math.min(healthy.length, degraded.length),
    };
  });
}

async function degradedStage(effort: Effort): Promise<Measured> {
  // As many microbatches before and after, so that a step's work is the same.
  const { cost, steps } = await measureDegradedRun(effort, "even");
  const [naive, , , all] = modelFactors(presetStage("micro", 2), microbatches);
  return {
    value: cost,
    note:
      `processor time of a worker with two stages over a healthy one with one, medians of ${steps} steps before and after kill -9; by FLOPs `
      + `${all!.toFixed(2)} with low-rank products, ${naive!.toFixed(2)} naive; by the paper's text 1.5`,
  };
}

const paperGrid = { pipelines: 4, stages: 8 };
/** Microbatches of a pipeline: few, those of the paper's grid in REPRODUCTION.md, and many. */
const batches = [8, 32, 128];

async function oneNodeDown(effort: Effort): Promise<Measured> {
  const costs = await measureStage(presetStage("small", 8), 1, 4, isQuick(effort) ? 3 : 15);
  const ratios = (sharing: "even" | "balanced"): number[] =>
    batches.map((count) => oneDownThroughput({ grid: paperGrid, microbatches: count, sharing }, costs));
  const [balanced, even] = [ratios("balanced"), ratios("even")];
  const { throughput } = await measureDegradedRun(effort, "balanced");
  const listed = (values: readonly number[]): string => values.map((value) => value.toFixed(3)).join(", ");
  const factor = (2 * (costs.degradedForward + costs.degradedBackward)) / (costs.forward + costs.backward);
  return {
    value: balanced[1]!,
    note:
      `a 4x8 grid of ${batches[1]} microbatches a pipeline, 1F1B over measured stage times, links free; of ${batches.join(", ")} `
      + `microbatches balanced sharing ${listed(balanced)}, even ${listed(even)}; a doubled worker takes ${factor.toFixed(2)} of a healthy `
      + `one. Directly, a 2x2 grid on this machine's cores: ${throughput.toFixed(2)}, where four workers share them and what a degraded `
      + "one leaves out is time for the rest",
  };
}

interface OverheadRun {
  readonly name: string;
  readonly settings: Partial<RunSettings>;
}

const overheadRuns: readonly OverheadRun[] = [
  { name: "none", settings: { strategy: "none", hashEvery: 0 } },
  { name: "mecefo", settings: { strategy: "mecefo", hashEvery: 1 } },
  { name: "mecefo without hashes", settings: { strategy: "mecefo", hashEvery: 0 } },
];

/** Milliseconds of a healthy step by strategy: the median of each run, of runs that take turns. */
export async function measureHealthySteps(effort: Effort): Promise<ReadonlyMap<string, readonly number[]>> {
  const [rounds, steps] = isQuick(effort) ? [1, 8] : [5, 14];
  const times = new Map<string, number[]>(overheadRuns.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const { name, settings: own } of round % 2 === 0 ? overheadRuns : overheadRuns.toReversed()) {
      const taken = await trainOnce({ ...settings, ...own, steps }, ({ result }) => stepsByHealth(result.events).healthy);
      times.get(name)!.push(median(taken.map((step) => step.milliseconds)));
    }
  }
  return times;
}

async function overhead(effort: Effort): Promise<Measured> {
  const times = await measureHealthySteps(effort);
  const plain = times.get("none")!;
  const [whole, unhashed] = ["mecefo", "mecefo without hashes"]
    .map((name) => times.get(name)!.map((time, round) => time / plain[round]! - 1));
  return {
    value: median(whole!),
    note:
      `step of ${median(plain).toFixed(0)} ms with strategy none; leases, votes, decisions and a hash of all weights and moments every `
      + `step; median of ${plain.length} pairs of runs, from ${Math.min(...whole!).toFixed(3)} to ${Math.max(...whole!).toFixed(3)}; `
      + `without the hashes ${median(unhashed!).toFixed(3)}`,
  };
}

/** What happened in a run with kills. */
export interface KilledRun {
  readonly killed: readonly RecoveryEvent[];
  readonly joined: readonly RecoveryEvent[];
  /** From a kill to the leader's answer, in milliseconds. */
  readonly detection: readonly number[];
  /** From the start of the processes until the grid has formed. */
  readonly formingMilliseconds: number;
}

/** Kills one after another, each worker started again. */
export async function measureRecoveries(effort: Effort, model: "nano" | "micro" | "small" = "micro"): Promise<KilledRun> {
  const kills = Array.from({ length: isQuick(effort) ? 3 : 12 }, (_, i) => `p${i % 2}s${(i >> 1) % 2}`);
  const started = Date.now();
  // Short steps: what is measured lies between them.
  const small = { microbatchSize: 1, microbatches: 2, ...(model === "small" && { sequenceLength: 32 }) };
  return await trainOnce(
    { ...settings, ...small, model, strategy: "mecefo", allowFaults: true, steps: plentyOfSteps, onEvent: killInTurn(kills, 100) },
    ({ result: { events, summary } }) => {
      if (summary.faults !== kills.length) {
        throw new Error(`${summary.faults} of ${kills.length} workers were killed before the run ended`);
      }
      const of = (cause: string): RecoveryEvent[] =>
        events.filter((event): event is RecoveryEvent => event.kind === "recovery" && event.cause === cause);
      const detection = events.flatMap((event, i) => {
        if (event.kind !== "fault") return [];
        const answer = events.slice(i).find((later) => later.kind === "epoch" && later.cause === "killed");
        return answer === undefined ? [] : [answer.at - event.at];
      });
      return { killed: of("killed"), joined: of("joined"), detection, formingMilliseconds: of("formed")[0]!.at - started };
    },
  );
}

async function recovery(effort: Effort): Promise<Measured> {
  const { killed, joined } = await measureRecoveries(effort);
  const milliseconds = (events: readonly RecoveryEvent[]): number => median(events.map((event) => event.milliseconds));
  const bytes = (events: readonly RecoveryEvent[]): string => `${(median(events.map((event) => event.bytes)) / 1e6).toFixed(2)} MB`;
  return {
    value: milliseconds(killed),
    note:
      `median of ${killed.length} kill -9, from the leader's knowing to all going on under a new assignment, ${bytes(killed)} of state from `
      + `a live peer; ${joined.length} times a worker back: ${Math.round(milliseconds(joined))} ms and ${bytes(joined)}`,
  };
}

/** Costs. */
export const costClaims: readonly Claim[] = [
  { id: "degraded-stage-cost", unit: "of a healthy worker's time", target: 1.8, better: "smaller", speed: true, measure: degradedStage },
  { id: "one-node-down-throughput", unit: "of fault-free", target: 0.9, better: "larger", speed: true, measure: oneNodeDown },
  { id: "fault-tolerance-overhead", unit: "share of a step", target: 0.03, better: "smaller", speed: true, measure: overhead },
  { id: "recovery-ms", unit: "ms", target: 500, better: "smaller", speed: true, measure: recovery },
];
