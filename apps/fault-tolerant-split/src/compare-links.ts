import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { calibrateModel, writeCodecTable } from "@frugal/fourier-compress";
import {
  openCheckpoint, openData, openTrainedModel, partitionBlocks, startTraining, type ModelPresetName, type RunSummary, type TrainingOptions,
  type TrainingResult,
} from "@frugal/mecefo";
import { SETTINGS_VARIABLE, type LinkSettings } from "./link-settings.ts";
import { readTraffic, type LinkTraffic } from "./link-traffic.ts";

/** What is compared. */
export interface ComparisonOptions {
  readonly model: ModelPresetName;
  readonly sequenceLength: number;
  /** Taken with raw links, before anything is calibrated: activations of random weights say little. */
  readonly warmUpSteps: number;
  /** Of each of the two runs that go on from there. */
  readonly steps: number;
  /** The slot that is killed, a third of the way on. */
  readonly victim: string;
  readonly activationRatio: number;
  readonly gradientError: number;
  readonly onLine: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** A run that went on from the warm-up. */
export interface LinkRun {
  readonly name: string;
  readonly summary: RunSummary;
  readonly traffic: LinkTraffic;
  readonly validationLoss: number;
}

const GRID = { pipelines: 2, stages: 2 };
const CALIBRATION_SEQUENCES = 24;
const EVALUATED_TOKENS = 8192;

/** Makes the table of what the model sends over the boundary of its two stages, for text from all over its training data. */
async function calibrate(checkpointFolder: string, path: string): Promise<void> {
  const checkpoint = await openCheckpoint(checkpointFolder);
  const { dataSha256, sequenceLength } = checkpoint.manifest.resume;
  const { tokens } = await openData(checkpoint.manifest.job.dataFolder, dataSha256);
  const every = Math.floor((tokens.length - sequenceLength) / CALIBRATION_SEQUENCES);
  const sequences = Array.from({ length: CALIBRATION_SEQUENCES }, (_, i) => [...tokens.subarray(i * every, i * every + sequenceLength)]);
  const model = await openTrainedModel(checkpoint);
  try {
    const splitBlock = partitionBlocks(model.blockCount, GRID.stages)[1]![0];
    const table = await calibrateModel(model, sequences, { model: "fault-tolerant-split", splitBlock, basis: false });
    await writeCodecTable(path, table);
  } finally {
    model.dispose();
  }
}

/** Trains until the end, or to a checkpoint after `stopAt` steps; kills the victim's process after `killAt` steps. */
async function train(
  options: TrainingOptions, { killAt, stopAt, victim, onLine, signal }: {
    readonly killAt?: number; readonly stopAt?: number; readonly victim: string; readonly onLine: (line: string) => void;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<TrainingResult> {
  let taken = 0;
  let failure: unknown;
  const act = async (): Promise<void> => {
    if (killAt !== undefined) await run.inject(victim, { kind: "kill" });
    else run.stop();
  };
  const run = await startTraining({
    ...options,
    onEvent: (event) => {
      if (event.kind === "step") {
        taken++;
        if (taken !== killAt && taken !== stopAt) return;
        act().catch((error: unknown) => {
          failure = error;
          run.stop();
        });
      } else if (event.kind === "epoch" && event.cause !== "formed") {
        onLine(`  step ${event.step}: ${event.reason}`);
      } else if (event.kind === "recovery" && event.cause !== "formed") {
        onLine(`    going on after ${event.milliseconds.toFixed(0)} ms, ${(event.bytes / 1e6).toFixed(1)} MB from peers`);
      }
    },
  });
  const stop = (): void => run.stop();
  signal?.addEventListener("abort", stop, { once: true });
  if (signal?.aborted) stop();
  try {
    const result = await run.finished;
    signal?.throwIfAborted();
    if (failure !== undefined) throw failure;
    if (result.outcome.kind === "failed") throw new Error(`the run failed: ${result.outcome.reason}`);
    return result;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/**
 * Trains a model on real text on four worker processes, two pipelines of two stages; calibrates a codec table on what it has become, and goes
 * on twice from the same checkpoint: with raw float32 between the stages, and with compressed messages. In both, one worker is killed.
 */
export async function compareLinks(options: ComparisonOptions): Promise<readonly [raw: LinkRun, compressed: LinkRun]> {
  const { model, sequenceLength, warmUpSteps, steps, victim, activationRatio, gradientError, onLine, signal } = options;
  const root = await mkdtemp(join(tmpdir(), "fault-tolerant-split-"));
  try {
    const job = {
      model, grid: GRID, sequenceLength, steps: warmUpSteps + steps, microbatches: 4, checkpointEvery: warmUpSteps + steps,
      allowFaults: true, restartDelay: 1000, optimizer: { learningRate: 3e-3 },
    } satisfies Partial<TrainingOptions>;
    const start = join(root, "start");
    onLine(`warming up: ${warmUpSteps} steps`);
    const warm = await train({ ...job, output: start }, { stopAt: warmUpSteps, victim, onLine, signal });
    const table = join(root, "table");
    await calibrate(warm.checkpoint!, table);
    const runs: LinkRun[] = [];
    for (const name of ["raw float32", "compressed"] as const) {
      onLine(`${name} links: ${steps} steps`);
      const output = join(root, name.replace(" ", "-"));
      await cp(start, output, { recursive: true });
      const traffic = join(root, `traffic-${runs.length}`);
      await mkdir(traffic);
      const settings: LinkSettings = { activationRatio, gradientError, traffic, ...(name === "compressed" ? { table } : {}) };
      const settingsFile = join(root, `settings-${runs.length}.json`);
      await writeFile(settingsFile, JSON.stringify(settings));
      process.env[SETTINGS_VARIABLE] = settingsFile;
      const codec = fileURLToPath(new URL("link-codec.ts", import.meta.url));
      const result = await train({ ...job, output, resume: true, codec }, { killAt: Math.ceil(steps / 3), victim, onLine, signal });
      const { loss } = await result.evaluate(EVALUATED_TOKENS);
      if ((await readdir(traffic)).length === 0) throw new Error("no worker counted its messages: the codec was not used");
      runs.push({ name, summary: result.summary, traffic: await readTraffic(traffic), validationLoss: loss });
    }
    return runs as [LinkRun, LinkRun];
  } finally {
    delete process.env[SETTINGS_VARIABLE];
    await rm(root, { recursive: true, force: true });
  }
}
