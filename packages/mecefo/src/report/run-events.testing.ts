import { allTechniques } from "../approximation/stage-mode.ts";
import { assign, type AssignmentSettings } from "../grid/assignment.ts";
import { slotName, slotsOf } from "../grid/grid.ts";
import type { Job } from "../job/job.ts";
import type { EpochCause } from "../membership/cluster-state.ts";
import type { EpochEvent, RunEvent, StepEvent } from "../membership/run-event.ts";

/** A job for fabricated runs. */
export const fabricatedJob: Job = {
  formatVersion: 1, name: "fabricated", model: { kind: "decoder", configuration: {} }, data: { folder: "data", sha256: "0".repeat(64) },
  grid: { pipelines: 2, stages: 4 }, microbatches: 2, microbatchSize: 4, sequenceLength: 64, steps: 20, seed: 1,
  optimizer: {
    learningRate: 1e-3, warmupSteps: 2, finalLearningRateScale: 0.1, betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0.01,
    maximumGradientNorm: 1,
  },
  strategy: "mecefo", techniques: allTechniques, projection: { basis: "weight", refreshInterval: 100 }, maximumChain: 3,
  lostPipeline: "reroute", sharing: "balanced", emptyMixer: "exact", codec: "float32", hashEvery: 1, threads: 1, timeouts: {},
};

/** A fabricated failure and its repair. */
export interface FabricatedFailure {
  readonly slot: string;
  /** Before this step it dies, before that one it is back. */
  readonly from: number;
  readonly to: number;
  readonly cause?: EpochCause;
}

const START = Date.UTC(2026, 0, 2, 3, 4, 5);

/** The event of an epoch with some slots down. */
export function fabricateEpoch(
  settings: AssignmentSettings, epoch: number, step: number, down: readonly string[], more: Partial<EpochEvent> = {},
): EpochEvent {
  const live = slotsOf(settings.grid).map(slotName).filter((slot) => !down.includes(slot));
  const { healthy, mixerPipelines, pipelines } = assign(settings, (slot) => live.includes(slotName(slot)));
  return {
    kind: "epoch", at: START, epoch, step, cause: epoch === 1 ? "formed" : "killed", reason: "fabricated", live,
    pids: live.map((slot) => 1000 + slotsOf(settings.grid).findIndex((one) => slotName(one) === slot)), healthy, mixerPipelines,
    lostPipelines: pipelines.filter(({ active }) => !active).map(({ pipeline }) => pipeline), ...more,
  };
}

/** The event of a step as it ought to be. */
export function fabricateStep(job: Job, epoch: number, step: number, more: Partial<StepEvent> = {}): StepEvent {
  const { grid: { pipelines, stages }, microbatches, microbatchSize, sequenceLength } = job;
  return {
    kind: "step", at: START + 100 * step, epoch, step, loss: 5 * Math.exp(-step / 30) + 1 + 0.1 * Math.sin(step * 7.3), gradientNorm: 1,
    tokens: pipelines * microbatches * microbatchSize * sequenceLength, milliseconds: 100, skipped: false,
    batches: Array.from({ length: pipelines * microbatches }, (_, microbatch) => ({ microbatch, hash: `${step}a${microbatch}` })),
    stateHashes: Array.from({ length: stages }, (_, stage) => ({ stage, hash: `${step}b${stage}`, replicas: pipelines })),
    busy: [], ...more,
  };
}

/** A whole run with failures, its times and energies made up. */
export function fabricateRun(job: Job, failures: readonly FabricatedFailure[], slowdown: number = 1.15): RunEvent[] {
  const events: RunEvent[] = [];
  let [at, epoch] = [START, 0];
  let down: string[] = [];
  for (let step = 0; step < job.steps; step++) {
    const dying = failures.filter(({ from }) => from === step);
    const back = failures.filter(({ to }) => to === step);
    if (step === 0 || dying.length > 0 || back.length > 0) {
      for (const { slot, cause = "killed" } of dying) {
        events.push({ kind: "fault", at, fault: cause === "killed" ? "kill" : "stop", slot, detail: "fabricated" });
      }
      at += dying.some(({ cause }) => cause === "stopped") ? 1200 : 20;
      down = [...down.filter((slot) => !back.some((one) => one.slot === slot)), ...dying.map(({ slot }) => slot)];
      const cause: EpochCause = step === 0 ? "formed" : dying.length > 0 ? (dying[0]!.cause ?? "killed") : "joined";
      const names = [...dying, ...back].map(({ slot }) => slot).join(", ");
      const how = dying.length > 0 ? "ended by SIGKILL" : "joined as a new process";
      const reason = step === 0 ? "all workers are there" : `${names} ${how}`;
      events.push(fabricateEpoch(job, ++epoch, step, down, { at, cause, reason }));
      const milliseconds = 140 + ((step * 37) % 90);
      at += milliseconds;
      const transfers = [...dying, ...back].map(({ slot }) => {
        const stage = Number(slot.at(-1));
        return { slot, stage, donor: `p${(Number(slot[1]) + 1) % job.grid.pipelines}s${stage}`, bytes: 4_812_032, milliseconds: 61 };
      });
      events.push({ kind: "recovery", at, epoch, step, cause, reason, milliseconds, bytes: 4_812_032 * transfers.length, transfers });
    }
    const milliseconds = (100 + ((step * 13) % 17)) * (down.length > 0 ? slowdown : 1);
    at += milliseconds;
    const matrices = down.length === 0 ? [] : ["gate", "up", "down"];
    const energy = matrices.map((matrix, i) => ({ block: 1, matrix, energy: 0.42 + 0.11 * i + 0.02 * Math.sin(step) }));
    const live = slotsOf(job.grid).map(slotName).filter((slot) => !down.includes(slot));
    const busy = live.map((slot) => ({ slot, busy: 70, waiting: 20, allReduce: 10 }));
    events.push(fabricateStep(job, epoch, step, { at, milliseconds, busy, energy }));
    if (step > 0 && step % 50 === 0) {
      events.push({ kind: "checkpoint", at, step: step + 1, folder: `step-${step + 1}`, degraded: down.length > 0 });
    }
  }
  events.push({ kind: "finished", at, step: job.steps });
  return events;
}
