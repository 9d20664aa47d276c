import type { Job } from "../job/job.ts";
import type { EpochCause } from "../membership/cluster-state.ts";
import type { EpochEvent, RunEvent, StepEvent } from "../membership/run-event.ts";

/** What can be wrong with a run's log. */
export type LedgerViolationKind =
  /** A step that was never taken. */
  | "lost-step"
  /** A step that was taken again without the weights having gone back. */
  | "duplicated-step"
  /** A microbatch that a step left out, although its pipeline was not dropped. */
  | "lost-batch"
  /** A microbatch that counted twice in a step. */
  | "duplicated-batch"
  /** A microbatch that is not one of the global batch. */
  | "foreign-batch"
  /** A microbatch that held other tokens when the step was taken again: the sampler is no pure function. */
  | "changed-batch"
  /** Replicas of a stage with different weights, undone or not, or a restored state that is not the one that was saved. */
  | "divergence"
  /** A step whose replicas ought to have been hashed and were not, all of them. */
  | "unhashed"
  /** A step that was taken under an epoch other than the last that began. */
  | "wrong-epoch"
  /** Weights went back although the strategy and the cause of the epoch gave no reason to. */
  | "unexplained-rollback";

/** One thing that is wrong. */
export interface LedgerViolation {
  readonly kind: LedgerViolationKind;
  readonly step: number;
  /** How many steps, microbatches or stages it is about. */
  readonly count: number;
  readonly detail: string;
}

/** Steps that were taken again, because the weights went back to a checkpoint or to the seed's. */
export interface Rollback {
  readonly epoch: number;
  readonly cause: EpochCause;
  /** The step that would have come next. */
  readonly from: number;
  /** The step that came instead. */
  readonly to: number;
}

/** What a run's log says about its steps, batches and replicas. */
export interface LedgerReport {
  /** No violation at all. Whether the run came to its end is another question: `finished`. */
  readonly ok: boolean;
  /** Whether the log ends with a `finished` event. */
  readonly finished: boolean;
  /** Where the log begins: 0, unless the run was resumed from a checkpoint of another log. */
  readonly firstStep: number;
  /** Steps that count: each once. */
  readonly steps: number;
  /** Microbatches that count. */
  readonly microbatches: number;
  /** Steps with a hash of every stage in every replica. */
  readonly hashedSteps: number;
  /** Microbatches that were left out on purpose, their pipeline being lost (`lostPipeline: "drop"`). */
  readonly dropped: readonly { readonly step: number; readonly microbatch: number }[];
  readonly rollbacks: readonly Rollback[];
  /** Microbatches lost, those of lost steps included. */
  readonly lost: number;
  /** Microbatches that counted twice, those of duplicated steps included, and those that do not belong there. */
  readonly duplicated: number;
  /** Stages whose replicas differed or were not hashed. */
  readonly divergences: number;
  readonly violations: readonly LedgerViolation[];
}

/** What of a job the ledger depends on. */
export type LedgerJob = Pick<Job, "grid" | "microbatches" | "lostPipeline" | "strategy" | "hashEvery">;

/** Causes after which weights may go back, whatever the strategy: a lost stage, diverged replicas, a run begun or resumed, a wish. */
const rollbackCauses: readonly EpochCause[] = ["stage-lost", "divergence", "formed", "requested"];

/** The take of a step that counts, with what later takes are compared with. */
interface Take {
  readonly batches: ReadonlyMap<number, string>;
  readonly hashes: ReadonlyMap<number, string>;
}

class Ledger {
  readonly job: LedgerJob;
  readonly violations: LedgerViolation[] = [];
  readonly dropped: { step: number; microbatch: number }[] = [];
  readonly rollbacks: Rollback[] = [];
  /** By step; those that were undone stay until they are taken again. */
  readonly takes = new Map<number, Take>();
  readonly counting = new Map<number, { readonly microbatches: number; readonly hashed: boolean; readonly dropped: readonly number[] }>();
  next: number;
  epoch: EpochEvent | undefined;

  constructor(job: LedgerJob, firstStep: number) {
    this.job = job;
    this.next = firstStep;
  }

  violate(kind: LedgerViolationKind, step: number, count: number, detail: string): void {
    this.violations.push({ kind, step, count, detail });
  }

  begin(event: EpochEvent): void {
    this.epoch = event;
    // It was noticed and answered, and ought not to have come about all the same.
    if (event.cause === "divergence") this.violate("divergence", event.step, 1, `epoch ${event.epoch}: ${event.reason}`);
    if (event.step > this.next) {
      this.violate("lost-step", this.next, event.step - this.next, `epoch ${event.epoch} begins at step ${event.step}, not ${this.next}`);
    } else if (event.step < this.next) {
      this.rollbacks.push({ epoch: event.epoch, cause: event.cause, from: this.next, to: event.step });
      if (this.job.strategy !== "checkpoint-restart" && !rollbackCauses.includes(event.cause)) {
        const detail = `epoch ${event.epoch} (${event.cause}) goes back from step ${this.next} to ${event.step}`;
        this.violate("unexplained-rollback", event.step, this.next - event.step, detail);
      }
      for (const step of this.counting.keys()) if (step >= event.step) this.counting.delete(step);
    }
    this.next = event.step;
  }

  take(event: StepEvent): void {
    const { step } = event;
    if (this.epoch?.epoch !== event.epoch) {
      const last = this.epoch === undefined ? "no epoch had begun" : `epoch ${this.epoch.epoch} had begun`;
      this.violate("wrong-epoch", step, 1, `step ${step} was taken under epoch ${event.epoch}, but ${last}`);
    }
    if (step > this.next) this.violate("lost-step", this.next, step - this.next, `step ${step} follows step ${this.next - 1}`);
    if (step < this.next) {
      this.violate("duplicated-step", step, 1, `step ${step} was taken again under epoch ${event.epoch}: the next was ${this.next}`);
      return;
    }
    const { batches, dropped } = this.checkBatches(event);
    const hashes = this.checkHashes(event);
    this.compare(event, { batches, hashes });
    this.takes.set(step, { batches, hashes });
    this.counting.set(step, { microbatches: batches.size, hashed: hashes.size === this.job.grid.stages, dropped });
    this.next = step + 1;
  }

  /** Each microbatch once, unless its pipeline is dropped. */
  checkBatches({ step, batches }: StepEvent): { readonly batches: Map<number, string>; readonly dropped: number[] } {
    const { grid: { pipelines }, microbatches, lostPipeline } = this.job;
    const seen = new Map<number, string>();
    const dropped: number[] = [];
    for (const { microbatch, hash } of batches) {
      if (microbatch >= pipelines * microbatches) {
        this.violate("foreign-batch", step, 1, `microbatch ${microbatch} of ${pipelines * microbatches}`);
      } else if (seen.has(microbatch)) this.violate("duplicated-batch", step, 1, `microbatch ${microbatch} counts twice`);
      else seen.set(microbatch, hash);
    }
    for (let microbatch = 0; microbatch < pipelines * microbatches; microbatch++) {
      if (seen.has(microbatch)) continue;
      const pipeline = Math.floor(microbatch / microbatches);
      if (lostPipeline === "drop" && this.epoch?.lostPipelines.includes(pipeline) === true) dropped.push(microbatch);
      else this.violate("lost-batch", step, 1, `microbatch ${microbatch} of pipeline ${pipeline} is missing`);
    }
    return { batches: seen, dropped };
  }

  /** One hash a stage, of at least as many replicas as pipelines run. */
  checkHashes({ step, stateHashes }: StepEvent): Map<number, string> {
    const { grid: { pipelines, stages }, hashEvery } = this.job;
    const due = hashEvery > 0 && step % hashEvery === 0;
    const replicas = pipelines - (this.epoch?.lostPipelines.length ?? 0);
    const hashes = new Map<number, string>();
    for (const { stage, hash, replicas: hashed } of stateHashes) {
      const other = hashes.get(stage);
      if (stage >= stages) this.violate("divergence", step, 1, `a hash of stage ${stage}, which the grid does not have`);
      else if (other !== undefined && other !== hash) this.violate("divergence", step, 1, `stage ${stage} is both ${other} and ${hash}`);
      else if (due && hashed < replicas) this.violate("unhashed", step, 1, `stage ${stage}: ${hashed} of ${replicas} replicas were hashed`);
      if (other === undefined && stage < stages) hashes.set(stage, hash);
    }
    if (due) {
      for (let stage = 0; stage < stages; stage++) {
        if (!hashes.has(stage)) this.violate("unhashed", step, 1, `stage ${stage} was not hashed`);
      }
    }
    return hashes;
  }

  /** A step that is taken again reads the same tokens; the first after a rollback begins with the same weights. */
  compare({ step }: StepEvent, { batches, hashes }: Take): void {
    const before = this.takes.get(step);
    if (before === undefined) return;
    for (const [microbatch, hash] of batches) {
      const other = before.batches.get(microbatch);
      if (other !== undefined && other !== hash) {
        this.violate("changed-batch", step, 1, `microbatch ${microbatch} was ${other} and is ${hash} when taken again`);
      }
    }
    if (this.rollbacks.at(-1)?.to !== step) return;
    for (const [stage, hash] of hashes) {
      const other = before.hashes.get(stage);
      if (other !== undefined && other !== hash) {
        this.violate("divergence", step, 1, `stage ${stage} was ${other} and was restored as ${hash}`);
      }
    }
  }

  count(...kinds: readonly LedgerViolationKind[]): number {
    return this.violations.reduce((sum, { kind, count }) => sum + (kinds.includes(kind) ? count : 0), 0);
  }
}

/**
 * Holds a run's log against what may not happen: every step exactly once (after the weights went back, the later take counts), in it each
 * microbatch of the global batch exactly once unless its pipeline is dropped, with the same tokens however often it is taken, and one state
 * a stage in all replicas before every step that is hashed.
 * @param events of one run, in the order in which they were logged; a `StepEvent`'s step counts from 0
 * @param options `firstStep`: the step that the log has to begin with. Default: that of the epoch in which the grid formed, not 0 where
 * a run was resumed from a checkpoint; 0 where the log does not begin with such an epoch
 */
export function checkLedger(
  events: readonly RunEvent[], job: LedgerJob, options: { readonly firstStep?: number } = {},
): LedgerReport {
  const first = events.find(({ kind }) => kind === "epoch" || kind === "step");
  const firstStep = options.firstStep ?? (first?.kind === "epoch" && first.cause === "formed" ? first.step : 0);
  const ledger = new Ledger(job, firstStep);
  for (const event of events) {
    if (event.kind === "epoch") ledger.begin(event);
    else if (event.kind === "step") ledger.take(event);
    else if (event.kind === "finished" && ledger.next < event.step) {
      const detail = `the run is said to have finished at step ${event.step}, its last step is ${ledger.next - 1}`;
      ledger.violate("lost-step", ledger.next, event.step - ledger.next, detail);
    }
  }
  const counting = [...ledger.counting];
  const batchesOfStep = job.grid.pipelines * job.microbatches;
  return {
    ok: ledger.violations.length === 0,
    finished: events.some(({ kind }) => kind === "finished"),
    firstStep,
    steps: counting.length,
    microbatches: counting.reduce((sum, [, { microbatches }]) => sum + microbatches, 0),
    hashedSteps: counting.filter(([, { hashed }]) => hashed).length,
    dropped: counting.flatMap(([step, { dropped }]) => dropped.map((microbatch) => ({ step, microbatch }))),
    rollbacks: ledger.rollbacks,
    lost: ledger.count("lost-step") * batchesOfStep + ledger.count("lost-batch", "changed-batch"),
    duplicated: ledger.count("duplicated-step", "unexplained-rollback") * batchesOfStep + ledger.count("duplicated-batch", "foreign-batch"),
    divergences: ledger.count("divergence", "unhashed"),
    violations: ledger.violations,
  };
}

/** The microbatches that count, by step and number: with the hashes of their tokens. */
function batchesOf(events: readonly RunEvent[]): Map<number, Map<number, string>> {
  const steps = new Map<number, Map<number, string>>();
  for (const event of events) {
    if (event.kind === "step") steps.set(event.step, new Map(event.batches.map(({ microbatch, hash }) => [microbatch, hash])));
  }
  return steps;
}

/**
 * Compares what two runs of one job were trained on, e.g. one with failures and one without: every microbatch that both took has to hold
 * the same tokens. `compared` says how many they were, so that two runs with nothing in common are not taken for equal.
 */
export function compareDataOrder(
  first: readonly RunEvent[], second: readonly RunEvent[],
): { readonly compared: number; readonly different: readonly { readonly step: number; readonly microbatch: number }[] } {
  const others = batchesOf(second);
  const different: { step: number; microbatch: number }[] = [];
  let compared = 0;
  for (const [step, batches] of batchesOf(first)) {
    for (const [microbatch, hash] of batches) {
      const other = others.get(step)?.get(microbatch);
      if (other === undefined) continue;
      compared++;
      if (other !== hash) different.push({ step, microbatch });
    }
  }
  return { compared, different };
}
