/** One training run for the comparison of perplexities: a whole grid in this process, with or without failures. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setThreads } from "@frugal/tensor-core";
import { noTechniques, type ProjectionBasis, type Techniques } from "../../packages/mecefo/src/approximation/stage-mode.ts";
import { createJob } from "../../packages/mecefo/src/job/create-job.ts";
import { decoderStageFactory } from "../../packages/mecefo/src/job/decoder-stages.ts";
import type { Job } from "../../packages/mecefo/src/job/job.ts";
import type { StrategyName } from "../../packages/mecefo/src/grid/strategy.ts";
import { presetConfiguration } from "../../packages/mecefo/src/job/model-presets.ts";
import { describeData, openData, prepareData, type PreparedData } from "../../packages/mecefo/src/job/prepare-data.ts";
import { createSampler, type Microbatch } from "../../packages/mecefo/src/job/sampler.ts";
import { FailureTrace, scaledChances, type FailureTraceSummary } from "../../packages/mecefo/src/virtual-grid/failure-trace.ts";
import { VirtualGrid } from "../../packages/mecefo/src/virtual-grid/virtual-grid.ts";
import { paperScenario } from "../../packages/mecefo/src/simulator/scenario.ts";
import { gradientErrors, type GradientErrors } from "./perplexity-gap-errors.ts";

/** What is different between two runs. */
export interface GapConfiguration {
  readonly strategy: StrategyName;
  readonly techniques: Techniques;
  readonly basis: ProjectionBasis;
  /** A share of each matrix's inputs. */
  readonly rank: number;
  readonly refreshInterval: number;
  /** Whether nodes fail: as in a scenario of the paper, scaled such that the run stands for the paper's 1B run. */
  readonly scenario: string | undefined;
  /** Of weights and data. */
  readonly seed: number;
  /** Of failures. */
  readonly traceSeed: number;
  readonly steps: number;
  /** Relative change of the learning rate, too small to matter: how far apart two runs grow that nothing else sets apart. Default 0. */
  readonly nudge?: number;
}

/** What came of a run. */
export interface GapResult {
  readonly configuration: GapConfiguration;
  readonly parameters: number;
  readonly grid: string;
  readonly trainingTokens: number;
  readonly validationTokens: number;
  /** Mean cross-entropy of the text that is held out, and of each batch of it. */
  readonly validationLoss: number;
  readonly batchLosses: readonly number[];
  /** By step. */
  readonly trainingLosses: readonly number[];
  readonly trace: FailureTraceSummary | undefined;
  /** Steps' time during which the strategy stood still. */
  readonly stalled: number;
  /** Share of (pipeline, stage) pairs whose host was degraded, in the mean over the steps. */
  readonly degradedShare: number;
  /** ‖X V₁‖² / ‖X‖², in the mean over steps and blocks, by matrix. */
  readonly energy: Readonly<Record<string, number>>;
  /** Of the averaged gradient, against the fault-free one of the same weights and batch. */
  readonly errors: readonly GradientErrors[];
  readonly seconds: number;
}

/** All runs: 8 blocks for 8 stages, 4 pipelines as in the paper; 2.0 million parameters. */
export const GRID = "4x8";
export const SEQUENCE_LENGTH = 64;
export const MICROBATCH_SIZE = 2;
const VOCABULARY_SIZE = 1024;
/** After a warm-up over a tenth of the steps, and with a cosine to a tenth of it at the end. */
export const LEARNING_RATE = 2e-3;
const VALIDATION_BATCHES = 20;
const VALIDATION_BATCH_SIZE = 16;
/** Steps at which gradients are compared with fault-free ones. */
const PROBES = 12;

/** Where data and results lie. */
export const cacheFolder: string = join(tmpdir(), "frugal-mecefo-perplexity-gap");

/** Moby-Dick, its end held out. */
export async function dataOf(folder: string): Promise<PreparedData> {
  try {
    return await describeData(folder);
  } catch {
    return await prepareData({ text: "moby-dick", tokenizer: { bytePair: VOCABULARY_SIZE }, folder });
  }
}

/** Batches of the text that is held out: the first sequences of it, one after another. */
function validationBatches(tokens: Int32Array): Pick<Microbatch, "inputs" | "targets">[] {
  const size = VALIDATION_BATCH_SIZE * SEQUENCE_LENGTH;
  const count = Math.min(VALIDATION_BATCHES, Math.floor((tokens.length - 1) / size));
  return Array.from({ length: count }, (_, i) => ({
    inputs: tokens.slice(i * size, (i + 1) * size), targets: tokens.slice(i * size + 1, (i + 1) * size + 1),
  }));
}

/** Sums by key, for means. */
class Means {
  readonly #sums = new Map<string, { sum: number; count: number }>();

  add(key: string, value: number): void {
    const entry = this.#sums.get(key) ?? { sum: 0, count: 0 };
    entry.sum += value;
    entry.count++;
    this.#sums.set(key, entry);
  }

  values(): Record<string, number> {
    return Object.fromEntries([...this.#sums].sort().map(([key, { sum, count }]) => [key, sum / count]));
  }
}

/** Share of (pipeline, stage) pairs whose host has double work; all of a pipeline that trains nothing. */
function degradedShare({ pipelines }: NonNullable<Awaited<ReturnType<VirtualGrid["step"]>>>["assignment"], { grid }: Job): number {
  const degraded = pipelines.reduce((sum, { active, hosts }) =>
    sum + (active ? hosts.reduce((own, { from, to }) => own + (to - from > 1 ? to - from : 0), 0) : grid.stages), 0);
  return degraded / (grid.pipelines * grid.stages);
}

/** What a run may be told. */
export interface RunOptions {
  readonly folder?: string;
  readonly onStep?: (step: number, loss: number) => void;
  /** Compare gradients with fault-free ones at some steps, which costs as many steps more. Default true. */
  readonly probe?: boolean;
}

/** Trains from scratch and scores. One thread, so that the same configuration gives the same bits. */
export async function runConfiguration(configuration: GapConfiguration, options: RunOptions = {}): Promise<GapResult> {
  const { folder = cacheFolder, onStep, probe = true } = options;
  setThreads(1);
  const started = performance.now();
  const { strategy, techniques, basis, rank, refreshInterval, scenario, seed, traceSeed, steps, nudge = 0 } = configuration;
  const data = await dataOf(join(folder, "moby-dick"));
  const model = { ...presetConfiguration("micro", { vocabularySize: data.vocabularySize }), numHiddenLayers: 8 };
  const common = {
    model, data, grid: GRID, microbatches: 1, microbatchSize: MICROBATCH_SIZE, sequenceLength: SEQUENCE_LENGTH, steps, seed, threads: 1,
    optimizer: { learningRate: LEARNING_RATE * (1 + nudge) },
  };
  const checkpoint = strategy === "checkpoint-restart" ? { folder: join(folder, "unused") } : undefined;
  const projection = { basis, rank, refreshInterval };
  const job = createJob({ ...common, strategy, techniques, projection, ...(checkpoint && { checkpoint }) });
  const { tokens, validation } = await openData(data.folder, data.sha256);
  const factory = decoderStageFactory(model);
  const sampler = createSampler(tokens, job);
  const trace = scenario === undefined
    ? undefined
    : new FailureTrace({ grid: job.grid, chances: scaledChances(paperScenario(scenario), steps), seed: traceSeed });

  using grid = new VirtualGrid({ job, factory, sampler });
  const exactJob = createJob({ ...common, strategy: "none", techniques: noTechniques });
  using reference = trace && probe ? new VirtualGrid({ job: exactJob, factory, sampler }) : undefined;
  const energy = new Means();
  const errors: GradientErrors[] = [];
  const trainingLosses: number[] = [];
  let [degraded, stalled, trainedSequences] = [0, 0, 0];
  while (trainingLosses.length < steps) {
    const step = trainingLosses.length;
    const isProbed = reference !== undefined && (step + 1) % Math.max(1, Math.floor(steps / PROBES)) === 0;
    const before = isProbed ? await Promise.all(grid.stages.map(({ replica }) => replica.state())) : undefined;
    const taken = await grid.step(trace?.at(step + stalled));
    if (taken === undefined) {
      // Time passes, and with it the trace.
      stalled++;
      if (stalled > 50 * steps) throw new Error(`${strategy} stood still for ${stalled} steps; it does not get on under these failures`);
      continue;
    }
    trainingLosses.push(taken.loss);
    trainedSequences += taken.assignment.pipelines.reduce((sum, { microbatches }) => sum + microbatches.length, 0) * MICROBATCH_SIZE;
    degraded += degradedShare(taken.assignment, job);
    for (const { matrix, energy: share } of taken.energy) energy.add(matrix, share);
    if (before !== undefined) errors.push({ step, ...(await gradientErrors(grid, reference!, before)) });
    onStep?.(step, taken.loss);
  }
  const batchLosses: number[] = [];
  const batches = validationBatches(validation);
  for (const batch of batches) batchLosses.push(await grid.loss([batch]));
  const parameters = grid.stages.flatMap(({ replica }) => replica.parameters).reduce((sum, { parameter }) => sum + parameter.size, 0);
  return {
    configuration, parameters, grid: GRID, trainingTokens: trainedSequences * SEQUENCE_LENGTH,
    validationTokens: batches.reduce((sum, { inputs }) => sum + inputs.length, 0),
    validationLoss: batchLosses.reduce((sum, loss) => sum + loss, 0) / batchLosses.length, batchLosses, trainingLosses,
    trace: trace?.summary(steps + stalled), stalled, degradedShare: degraded / steps, energy: energy.values(), errors,
    seconds: (performance.now() - started) / 1000,
  };
}
