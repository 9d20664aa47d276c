/** Training runs of real worker processes, in a temporary folder each. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fullEffort, type Effort } from "../src/rounds.ts";
import { startTraining, type RunEvent, type StepEvent, type TrainingOptions, type TrainingResult, type TrainingRun } from "@frugal/mecefo";

/** What happens in a run besides training. */
export interface RunSettings extends Omit<TrainingOptions, "output" | "onEvent"> {
  /** Called for every event; may kill and stop. */
  readonly onEvent?: (event: RunEvent, run: TrainingRun) => void;
}

/** A run that has ended well. */
export interface EndedRun {
  readonly run: TrainingRun;
  readonly result: TrainingResult;
}

/** Whether to measure roughly. */
export const isQuick = ({ rounds }: Effort): boolean => rounds < fullEffort.rounds;

/** Calls with an empty folder and removes it. */
export async function inTemporaryFolder<Result>(call: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), "frugal-mecefo-"));
  try {
    return await call(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Trains to the end in a folder. @throws when the run fails, with the workers' last lines */
export async function train(output: string, { onEvent, ...settings }: RunSettings): Promise<EndedRun> {
  const lines: string[] = [];
  const failures: unknown[] = [];
  const starting = startTraining({
    model: "nano", grid: "2x2", sequenceLength: 64, threads: 1, ...settings, output,
    onEvent: (event) => void starting.then((started) => {
      try {
        onEvent?.(event, started);
      } catch (error) {
        failures.push(error);
        started.stop();
      }
    }, () => {}),
    onLine: (slot, line) => lines.push(`${slot}: ${line}`),
  });
  const run = await starting;
  const result = await run.finished;
  if (failures.length > 0) throw failures[0];
  if (result.outcome.kind !== "finished") {
    throw new Error([`the run failed: ${result.outcome.reason}`, ...lines.slice(-5)].join("\n"));
  }
  return { run, result };
}

/** `train` in a folder of its own; `read` gets what is needed of it before it is removed. */
export async function trainOnce<Result>(settings: RunSettings, read: (ended: EndedRun) => Result | Promise<Result>): Promise<Result> {
  return await inTemporaryFolder(async (folder) => await read(await train(folder, settings)));
}

/** The steps of a run, those taken while all workers were there and those taken while one was missing. */
export function stepsByHealth(events: readonly RunEvent[]): { readonly healthy: StepEvent[]; readonly degraded: StepEvent[] } {
  const steps = { healthy: [] as StepEvent[], degraded: [] as StepEvent[] };
  let healthy = true;
  let first = true;
  for (const event of events) {
    if (event.kind === "epoch") [healthy, first] = [event.healthy, true];
    if (event.kind !== "step") continue;
    // The first of an epoch connects, decomposes and compiles.
    if (!first) steps[healthy ? "healthy" : "degraded"].push(event);
    first = false;
  }
  return steps;
}

/** Kills a worker in the middle of a step. */
function kill(run: TrainingRun, slot: string, repairAfter?: number): void {
  setTimeout(() => {
    run.inject(slot, { kind: "kill", ...(repairAfter !== undefined && { repairAfter }) }).catch((error: unknown) => {
      // Whoever counts the run's faults will miss it.
      console.error(`${slot} was not killed: ${error instanceof Error ? error.message : String(error)}`);
    });
  }, 5);
}

/** Kills the worker of a slot for good after a step. */
export function killAfter(step: number, slot: string): NonNullable<RunSettings["onEvent"]> {
  return (event, run) => {
    if (event.kind === "step" && event.step === step) kill(run, slot);
  };
}

/** Steps of a run that is ended by something else. */
export const plentyOfSteps = 100_000;

const calmSteps = 4;

/** Kills the workers of slots one after another, each some steps after everybody was back, and ends the run some steps after the last. */
export function killInTurn(slots: readonly string[], repairAfter: number): NonNullable<RunSettings["onEvent"]> {
  const waiting = [...slots];
  let healthySteps = -Infinity;
  return (event, run) => {
    if (event.kind === "epoch") healthySteps = event.healthy ? 0 : -Infinity;
    if (event.kind !== "step" || ++healthySteps < calmSteps) return;
    healthySteps = -Infinity;
    const next = waiting.shift();
    if (next === undefined) run.stop();
    else kill(run, next, repairAfter);
  };
}
