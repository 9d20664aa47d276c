import type { RunEvent } from "../membership/run-event.ts";
import type { TrainingResult } from "../runtime/training-run.ts";
import type { ChaosReport } from "./run-chaos.ts";
import { maximum, median } from "../statistics.ts";

/** What a soak has shown. */
export interface SoakVerdict {
  readonly passed: boolean;
  /** The run ended in order, and its log has every step with the hashes of all replicas. */
  readonly isWhole: boolean;
  readonly faults: number;
  readonly faultsByKind: Readonly<Record<string, number>>;
  readonly steps: number;
  readonly hangs: number;
  /** Replicas of a stage that differed. */
  readonly divergences: number;
  readonly lostBatches: number;
  readonly duplicatedBatches: number;
  /** Other faults of the ledger, in words. */
  readonly violations: readonly string[];
  /** Times that training had to go back to a checkpoint. */
  readonly rollbacks: number;
  readonly epochs: number;
  /** Epochs that begin without a recovery being told of, though steps follow. */
  readonly unloggedRecoveries: number;
  readonly recoveries: number;
  readonly medianRecoveryMilliseconds: number | null;
  readonly longestRecoveryMilliseconds: number | null;
  readonly longestPauseMilliseconds: number;
  readonly seconds: number;
}

/** Epochs in which steps were taken although nobody told of their recovery. */
function unlogged(events: readonly RunEvent[]): number {
  const told = new Set(events.flatMap((event) => (event.kind === "recovery" ? [event.epoch] : [])));
  const stepped = new Set(events.flatMap((event) => (event.kind === "step" ? [event.epoch] : [])));
  return [...stepped].filter((epoch) => !told.has(epoch)).length;
}

/** Judges a run by its log, strictly. */
export function judgeSoak({ outcome, summary, events }: TrainingResult, { faults, hangs, longestPause }: ChaosReport): SoakVerdict {
  const { ledger } = summary;
  const faultsByKind: Record<string, number> = {};
  for (const { kind } of faults) faultsByKind[kind] = (faultsByKind[kind] ?? 0) + 1;
  const recoveries = events.flatMap((event) => (event.kind === "recovery" && event.cause !== "formed" ? [event.milliseconds] : []));
  const verdict = {
    faults: faults.length,
    faultsByKind,
    steps: summary.steps,
    hangs,
    divergences: ledger?.divergences ?? 0,
    lostBatches: ledger?.lost ?? 0,
    duplicatedBatches: ledger?.duplicated ?? 0,
    violations: (ledger?.violations ?? []).slice(0, 20).map((violation) => JSON.stringify(violation)),
    rollbacks: ledger?.rollbacks.length ?? 0,
    epochs: summary.epochs,
    unloggedRecoveries: unlogged(events),
    recoveries: recoveries.length,
    medianRecoveryMilliseconds: median(recoveries) ?? null,
    longestRecoveryMilliseconds: maximum(recoveries) ?? null,
    longestPauseMilliseconds: longestPause,
    seconds: summary.seconds,
  };
  const isWhole = outcome.kind === "finished" && ledger?.ok === true && ledger.finished && ledger.hashedSteps === ledger.steps;
  return { passed: isWhole && hangs === 0 && verdict.unloggedRecoveries === 0, isWhole, ...verdict };
}
