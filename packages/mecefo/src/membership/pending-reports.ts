import type { ClusterState } from "./cluster-state.ts";
import type { WorkerReport } from "./worker-report.ts";

/** Troubles of one epoch that are kept: the leader needs one to begin another. */
const TROUBLES_KEPT = 64;
/** Steps whose votes are kept. */
const VOTES_KEPT = 64;
/** Checkpoints whose shards are told again: the one before may still be incomplete when the next is written. */
const CHECKPOINTS_KEPT = 2;

/** What a worker has told and has to tell again to a new leader, or after its connection broke, until the state has moved on. */
export class PendingReports {
  #reports: WorkerReport[] = [];

  /** Keeps a report, in the place of those it makes obsolete. Progress is not kept: it is told again anyway. */
  add(report: WorkerReport): void {
    if (report.kind === "progress") return;
    const others = this.#reports.filter((other) => !isReplaced(other, report));
    this.#reports = [...others, report];
    if (report.kind === "shard") this.#forgetOldShards();
    const troubles = this.#reports.filter(({ kind }) => kind === "trouble");
    if (troubles.length > TROUBLES_KEPT) this.#reports = this.#reports.filter((other) => other !== troubles[0]);
  }

  /** Forgets what the state has answered. */
  settle(state: ClusterState): void {
    this.#reports = this.#reports.filter((report) => !isAnswered(report, state));
  }

  /** Whether the report still waits for an answer. */
  has(report: WorkerReport): boolean {
    return this.#reports.includes(report);
  }

  /** The leader refused the worker: it asks no more. */
  forgetHello(): void {
    this.#reports = this.#reports.filter(({ kind }) => kind !== "hello");
  }

  /** What is to be told, in order. */
  list(): readonly WorkerReport[] {
    return this.#reports;
  }

  #forgetOldShards(): void {
    const steps = [...new Set(this.#reports.flatMap((report) => report.kind === "shard" ? [report.step] : []))].sort((a, b) => b - a);
    const oldest = steps[CHECKPOINTS_KEPT - 1];
    if (oldest === undefined) return;
    this.#reports = this.#reports.filter((report) => report.kind !== "shard" || report.step >= oldest);
  }
}

function isReplaced(old: WorkerReport, by: WorkerReport): boolean {
  if (old.kind === "shard" && by.kind === "shard") return old.step === by.step && old.stage === by.stage;
  if (old.kind === "trouble" && by.kind === "trouble") {
    return old.epoch < by.epoch || (old.trouble === by.trouble && old.peer === by.peer && old.detail === by.detail);
  }
  // Without fault tolerance workers run ahead of the decisions: votes of several steps wait.
  if (old.kind === "vote" && by.kind === "vote") return old.epoch < by.epoch || old.step === by.step || old.step < by.step - VOTES_KEPT;
  return old.kind === by.kind;
}

function isAnswered(report: WorkerReport, state: ClusterState): boolean {
  switch (report.kind) {
    case "hello": return state.members.some(({ id }) => id === report.id);
    case "settled": return state.epoch > report.epoch || state.decision?.epoch === report.epoch;
    case "vote": return state.epoch > report.epoch || (state.epoch === report.epoch && state.step > report.step);
    case "trouble": return state.epoch > report.epoch;
    default: return false;
  }
}
