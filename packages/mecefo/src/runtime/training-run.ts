import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { join, resolve } from "node:path";
import { evaluateCheckpoint, type Evaluation } from "../checkpoint/trained-model.ts";
import { latestCheckpoint } from "../checkpoint/open-checkpoint.ts";
import { cleanCheckpoints } from "../checkpoint/commit-checkpoint.ts";
import { startDashboard, type Dashboard, type DashboardFault, type DashboardOptions } from "../dashboard/dashboard-server.ts";
import { CheckpointError, MecefoError, SettingsError } from "../errors.ts";
import { createJob, type JobOptions } from "../job/create-job.ts";
import { openStageFactory } from "../job/decoder-stages.ts";
import { readJob, writeJob } from "../job/job-file.ts";
import type { Job } from "../job/job.ts";
import { openCodec } from "../job/open-codec.ts";
import { describeData, openData, prepareData, type DataOptions } from "../job/prepare-data.ts";
import { createSampler } from "../job/sampler.ts";
import type { RestorePoint } from "../membership/cluster-state.ts";
import { EventLog } from "../report/event-log.ts";
import type { RunEvent } from "../membership/run-event.ts";
import { summarizeRun, type RunSummary } from "../report/run-summary.ts";
import type { WorkerOutcome } from "../worker/worker.ts";
import { startEmbeddedControl } from "./embedded-control.ts";
import type { GridRuntime, WorkerFault } from "./grid-runtime.ts";
import { InProcessGrid } from "./in-process-grid.ts";
import { resumePoint } from "./job-checkpoints.ts";
import { startNatsControl } from "./nats-control.ts";
import { ProcessGrid } from "./process-grid.ts";
import { resumedOptions } from "./resumed-options.ts";

/** Options of `startTraining`. Those of the job have their defaults from `createJob`. */
export interface TrainingOptions extends Omit<JobOptions, "data" | "checkpoint"> {
  /** Folder of the run: job.json, data, checkpoints and events.jsonl are in it. */
  readonly output: string;
  /** What to train on. Default: Moby-Dick from its npm package, as bytes. A run that is resumed uses the data it has. */
  readonly data?: Omit<DataOptions, "folder"> | undefined;
  /** Steps between two checkpoints. Default 100. One is written at the end in any case. */
  readonly checkpointEvery?: number | undefined;
  /** Checkpoints that are kept. Default 3. */
  readonly keepCheckpoints?: number | undefined;
  /**
   * Goes on from the output folder's last checkpoint, with the options that the run had where none are given: another grid, strategy or
   * codec may be. Default false.
   */
  readonly resume?: boolean | undefined;
  /** Default "processes": one for each slot, on this machine. "in-process": all in this one. "external": started elsewhere, they join. */
  readonly workers?: "processes" | "in-process" | "external" | undefined;
  /**
   * Where the control plane listens: "unix:" for a socket in the temporary folder, "tcp://host:port", or "nats://host:4222,…" to use NATS.
   * Default "unix:".
   */
  readonly control?: string | undefined;
  /** Secret of workers and observers, at least 16 characters. Default: drawn anew. */
  readonly token?: string | undefined;
  /** Milliseconds after which a worker that ended is started again; null: never. Default 1000. */
  readonly restartDelay?: number | null | undefined;
  /** Whether faults may be injected. Default false. */
  readonly allowFaults?: boolean | undefined;
  /** Shows the run on a page. */
  readonly dashboard?: Pick<DashboardOptions, "port" | "host" | "token"> | undefined;
  readonly onEvent?: ((event: RunEvent) => void) | undefined;
  /** Lines that workers write. */
  readonly onLine?: ((slot: string, line: string) => void) | undefined;
}

/** How a run ended. */
export interface TrainingResult {
  readonly outcome: WorkerOutcome;
  /** The last checkpoint. */
  readonly checkpoint: string | undefined;
  readonly summary: RunSummary;
  readonly events: readonly RunEvent[];
  /** Held-out loss of the last checkpoint, where one was written. */
  evaluate(maximumTokens?: number): Promise<Evaluation>;
}

/** A run that is under way. */
export interface TrainingRun {
  readonly job: Job;
  readonly folder: string;
  /** What workers started elsewhere are told to join. */
  readonly joinUrl: string | undefined;
  readonly token: string;
  readonly dashboard: Dashboard | undefined;
  /** Slots with a live worker. */
  readonly live: readonly string[];
  /** Brings a fault about, and logs it. */
  inject(slot: string, fault: WorkerFault): Promise<void>;
  /** Ends the run with a checkpoint after the step in flight. */
  stop(): void;
  /** The end. A run that failed resolves too: `outcome` says so. */
  readonly finished: Promise<TrainingResult>;
}

const SHORTEST_TOKEN = 16;

/** What buttons of the page do. */
const pageFaults: Readonly<Record<DashboardFault, WorkerFault>> = {
  kill: { kind: "kill" },
  stop: { kind: "stop", durationMilliseconds: 8000 },
  cut: { kind: "cut" },
  slow: { kind: "slow", delayMilliseconds: 50, durationMilliseconds: 5000 },
  corrupt: { kind: "corrupt", frames: 1 },
};

/** Data, job and the point to begin from. */
async function prepare(options: TrainingOptions): Promise<{ job: Job; resume: RestorePoint | undefined; folder: string }> {
  const folder = resolve(options.output);
  const checkpoints = join(folder, "checkpoints");
  const known = await latestCheckpoint(checkpoints).catch((error: unknown) => {
    if (options.resume) throw error;
    return undefined;
  });
  if (known && !options.resume) throw new SettingsError(`${folder} holds a run already: resume it, or name another output folder`);
  if (!known && options.resume) throw new CheckpointError(`${folder} holds no checkpoint to resume from`);
  const dataFolder = join(folder, "data");
  const data = options.resume ? await describeData(dataFolder) : await prepareData({ ...options.data, folder: dataFolder });
  const saved = options.resume ? await readJob(join(folder, "job.json")) : undefined;
  const chosen = saved ? resumedOptions(saved, options) : options;
  const job = createJob({
    ...chosen, data, checkpoint: {
      folder: checkpoints, every: options.checkpointEvery ?? saved?.checkpoint?.every, keep: options.keepCheckpoints ?? saved?.checkpoint?.keep,
    },
  });
  if (known) return { job, folder, resume: await resumePoint(job, known.folder) };
  await mkdir(checkpoints, { recursive: true });
  await cleanCheckpoints(checkpoints);
  return { job, folder, resume: undefined };
}

/**
 * Prepares a run and starts its workers. It goes on until `finished`, whatever happens to them.
 * @throws SettingsError, FormatError, CheckpointError, MembershipError before anything is started
 */
export async function startTraining(options: TrainingOptions): Promise<TrainingRun> {
  const { workers = "processes", control = "unix:", token = randomBytes(24).toString("base64url"), restartDelay = 1000, allowFaults = false } = options;
  if (token.length < SHORTEST_TOKEN) throw new SettingsError(`the token has ${token.length} characters; use at least ${SHORTEST_TOKEN}`);
  const { job, folder, resume } = await prepare(options);
  // What workers would fail on is found out before any is started.
  const [factory, codec] = [await openStageFactory(job), await openCodec(job.codec)];
  await writeJob(join(folder, "job.json"), job);
  const log = await EventLog.open(join(folder, "events.jsonl"), ({ message }) => {
    record({ kind: "note", at: Date.now(), text: `the log ${log.path} cannot be written: ${message}; its events are kept, and tried again` });
  });
  const events: RunEvent[] = [];
  let dashboard: Dashboard | undefined;
  const record = (event: RunEvent): void => {
    events.push(event);
    log.write(event);
    dashboard?.publish(event);
    options.onEvent?.(event);
  };
  const sockets = await mkdtemp(join(tmpdir(), "mecefo-"));
  const removeSockets = (): void => {
    rmSync(sockets, { recursive: true, force: true });
  };
  const ends: (() => Promise<unknown>)[] = [
    () => log.close(), async () => {
      process.off("exit", removeSockets);
      await rm(sockets, { recursive: true, force: true });
    },
  ];
  try {
    let runtime: GridRuntime;
    let joinUrl: string | undefined;
    if (workers === "in-process") {
      const data = await openData(job.data.folder, job.data.sha256);
      runtime = new InProcessGrid({
        job, factory, codec, sampler: createSampler(data.tokens, job), resume, onEvent: record, allowFaults, restartDelay: restartDelay ?? undefined,
      });
    } else {
      const launched = control.startsWith("nats://")
        ? await startNatsControl({ servers: control, job, token, resume })
        : await startEmbeddedControl({ job, token, resume, listen: control === "unix:" ? `unix:${join(sockets, "control.sock")}` : control });
      launched.onEvent(record);
      joinUrl = launched.joinUrl;
      runtime = new ProcessGrid({
        job, control: launched, token, socketFolder: sockets, launch: workers === "processes", allowFaults, restartDelay: restartDelay ?? undefined,
        ...(options.onLine && { onLine: options.onLine }),
      });
    }
    ends.unshift(() => runtime.close());
    // After the grid's own, which ends the workers.
    process.on("exit", removeSockets);
    const inject = async (slot: string, fault: WorkerFault): Promise<void> => {
      if (!runtime.live.includes(slot)) throw new MecefoError(`${slot} has no live worker`);
      const { kind, ...detail } = fault;
      const at = Date.now();
      await runtime.inject(slot, fault);
      // What did not take place is not logged.
      record({ kind: "fault", at, fault: kind, slot, detail: Object.entries(detail).map(([name, value]) => `${name} ${value}`).join(", ") });
    };
    if (options.dashboard) {
      dashboard = await startDashboard({
        ...options.dashboard, job, ...(allowFaults && { inject: (slot, fault) => inject(slot, pageFaults[fault]) }),
      });
      ends.unshift(() => dashboard!.close());
    }
    return {
      job, folder, joinUrl, token, dashboard, inject,
      get live() {
        return runtime.live;
      },
      stop: () => {
        runtime.requestStop();
      },
      finished: finish(job, runtime, events, record, ends),
    };
  } catch (error) {
    for (const end of ends) await end().catch(() => {});
    throw error;
  }
}

/** A leader in another process tells of the end a moment after the state says so; one that died meanwhile never does. */
const LAST_WORDS = 3000;

async function finish(
  job: Job, runtime: GridRuntime, events: readonly RunEvent[], record: (event: RunEvent) => void, ends: readonly (() => Promise<unknown>)[],
): Promise<TrainingResult> {
  let outcome: WorkerOutcome;
  const problems: unknown[] = [];
  try {
    outcome = await runtime.run();
    const isTold = (): boolean => events.some(({ kind }) => kind === "finished" || kind === "failed");
    for (const until = Date.now() + LAST_WORDS; !isTold() && Date.now() < until;) await sleep(20);
    if (!isTold()) record(outcome.kind === "finished" ? { at: Date.now(), ...outcome } : { at: Date.now(), step: lastStep(events), ...outcome });
  } finally {
    for (const end of ends) await end().catch((error: unknown) => problems.push(error));
  }
  // Why a run failed matters more than what could not be put in order after it.
  if (problems.length > 0 && outcome.kind === "finished") throw problems[0];
  const checkpoint = job.checkpoint && (await latestCheckpoint(job.checkpoint.folder, () => {}).catch((error: unknown) => {
    if (outcome.kind === "finished") throw error;
    return undefined;
  }));
  return {
    outcome, events, checkpoint: checkpoint?.folder, summary: summarizeRun(events, job),
    evaluate: async (maximumTokens) => {
      if (checkpoint === undefined) throw new CheckpointError("the run wrote no checkpoint to evaluate");
      return await evaluateCheckpoint(checkpoint, job.data.folder, { maximumTokens });
    },
  };
}

function lastStep(events: readonly RunEvent[]): number {
  return events.findLast((event) => event.kind === "step")?.step ?? 0;
}

/**
 * Trains a model on a grid of workers that may die: prepares the data, starts workers and leader, and resolves at the end of the run.
 * @param options `signal` stops it with a checkpoint
 */
export async function trainFaultTolerant({ signal, ...options }: TrainingOptions & { readonly signal?: AbortSignal | undefined }): Promise<TrainingResult> {
  signal?.throwIfAborted();
  const run = await startTraining(options);
  const stop = (): void => {
    run.stop();
  };
  signal?.addEventListener("abort", stop, { once: true });
  try {
    return await run.finished;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}
