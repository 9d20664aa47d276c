import type { EpochCause } from "../membership/cluster-state.ts";
import { checkLedger, type LedgerJob, type LedgerReport } from "./ledger.ts";
import type { EpochEvent, RecoveryEvent, RunEvent, StepEvent } from "../membership/run-event.ts";
import { countBy, maximum, mean, median } from "../statistics.ts";

/** How long recoveries took and what they moved. */
export interface RecoveryFigures {
  readonly count: number;
  readonly medianMilliseconds: number;
  readonly maximumMilliseconds: number;
  readonly medianBytes: number;
  readonly maximumBytes: number;
}

/** A run in figures. Those that nothing was measured for are null. */
export interface RunSummary {
  /** "running" also when the process was killed: the log does not say. */
  readonly outcome: "finished" | "failed" | "running";
  readonly failure: string | null;
  /** Steps that count. */
  readonly steps: number;
  /** Steps that were taken and undone, because the weights went back to a checkpoint. */
  readonly undoneSteps: number;
  /** Steps without an update, because the gradient was not finite. */
  readonly skippedSteps: number;
  /** Of the steps that count. */
  readonly tokens: number;
  /** From the first event to the last. */
  readonly seconds: number;
  /** Median over the steps. */
  readonly tokensPerSecond: number | null;
  readonly stepMilliseconds: number | null;
  readonly firstLoss: number | null;
  readonly lastLoss: number | null;
  /** Mean over the last tenth of the steps, 1 to 100 of them: single steps are noisy. */
  readonly finalLoss: number | null;
  /** Share of the time from the first epoch to the last event that was spent in steps that count. */
  readonly goodput: number | null;
  /** Share of the steps that were taken while a worker was missing. */
  readonly degradedSteps: number | null;
  /** Epochs by cause. */
  readonly epochs: number;
  readonly epochsByCause: Partial<Record<EpochCause, number>>;
  /**
   * All that followed a failure: not the forming of the grid, nor workers that joined one that ran. Where training could not go on before
   * a worker came back, as with checkpoint-restart, the wait for it counts.
   */
  readonly failureRecoveries: RecoveryFigures | null;
  readonly recoveriesByCause: Partial<Record<EpochCause, RecoveryFigures>>;
  readonly faults: number;
  readonly faultsByKind: Partial<Record<string, number>>;
  /** Least |N(l)| over all epochs and stages. */
  readonly smallestMixerPipelines: number | null;
  /** Mean over all degraded steps that measured it. */
  readonly capturedEnergy: number | null;
  readonly checkpoints: number;
  readonly degradedCheckpoints: number;
  /** Where the job is known. */
  readonly ledger?: LedgerReport;
}

/** The steps that count: of those taken again the last take. In order of steps. */
export function countingSteps(events: readonly RunEvent[]): StepEvent[] {
  const steps = new Map<number, StepEvent>();
  for (const event of events) {
    if (event.kind === "step") steps.set(event.step, event);
    else if (event.kind === "epoch") for (const step of steps.keys()) if (step >= event.step) steps.delete(step);
  }
  return [...steps.values()].toSorted((a, b) => a.step - b.step);
}

function figuresOf(recoveries: readonly RecoveryEvent[]): RecoveryFigures | undefined {
  if (recoveries.length === 0) return undefined;
  const milliseconds = recoveries.map((recovery) => recovery.milliseconds);
  const bytes = recoveries.map((recovery) => recovery.bytes);
  return {
    count: recoveries.length,
    medianMilliseconds: median(milliseconds)!, maximumMilliseconds: maximum(milliseconds)!,
    medianBytes: median(bytes)!, maximumBytes: maximum(bytes)!,
  };
}

const isFailure = (cause: EpochCause): boolean => cause !== "formed" && cause !== "joined";

/** Recoveries from failures, each from the first failure that nothing went on after. */
function recoveriesFromFailures(events: readonly RunEvent[]): RecoveryEvent[] {
  let failed: EpochEvent | undefined;
  return events.flatMap((event): RecoveryEvent[] => {
    if (event.kind === "epoch") {
      // A run that is resumed forms anew: what came before is over.
      if (event.cause === "formed") failed = undefined;
      else if (isFailure(event.cause)) failed ??= event;
    }
    if (event.kind === "step") failed = undefined;
    if (event.kind !== "recovery") return [];
    const begun = failed;
    failed = undefined;
    if (begun === undefined) return isFailure(event.cause) ? [event] : [];
    const waited = begun.epoch === event.epoch ? 0 : event.at - begun.at;
    return [{ ...event, milliseconds: Math.max(event.milliseconds, waited) }];
  });
}

function finalLossOf(steps: readonly StepEvent[]): number | undefined {
  const losses = steps.flatMap(({ loss }) => (loss === null ? [] : [loss]));
  return mean(losses.slice(-Math.min(100, Math.max(1, Math.floor(losses.length / 10)))));
}

/** Steps that were taken while a worker was missing. By order, not by number: epochs count from 1 again when a run is resumed. */
function degradedTakes(events: readonly RunEvent[]): Set<StepEvent> {
  const degraded = new Set<StepEvent>();
  let healthy = true;
  for (const event of events) {
    if (event.kind === "epoch") healthy = event.healthy;
    else if (event.kind === "step" && !healthy) degraded.add(event);
  }
  return degraded;
}

/** Sums a run up. With the job, its ledger is checked too. */
export function summarizeRun(events: readonly RunEvent[], job?: LedgerJob): RunSummary {
  const ofKind = <Kind extends RunEvent["kind"]>(kind: Kind): Extract<RunEvent, { readonly kind: Kind }>[] =>
    events.filter((event): event is Extract<RunEvent, { readonly kind: Kind }> => event.kind === kind);
  const steps = countingSteps(events);
  const [epochs, recoveries, faults, checkpoints] = [ofKind("epoch"), ofKind("recovery"), ofKind("fault"), ofKind("checkpoint")];
  const degraded = degradedTakes(events);
  const inSteps = steps.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const last = maximum(events.map(({ at }) => at));
  const first = events[0]?.at;
  const training = last === undefined || epochs[0] === undefined ? 0 : last - epochs[0].at;
  const measured = steps.filter(({ milliseconds }) => milliseconds > 0);
  const energies = steps.flatMap(({ energy }) => mean((energy ?? []).map((captured) => captured.energy)) ?? []);
  const causes = [...new Set(recoveries.map(({ cause }) => cause))];
  const failure = ofKind("failed").at(-1);
  const losses = steps.flatMap(({ loss }) => (loss === null ? [] : [loss]));
  return {
    outcome: failure !== undefined ? "failed" : ofKind("finished").length > 0 ? "finished" : "running",
    failure: failure?.reason ?? null,
    steps: steps.length,
    undoneSteps: ofKind("step").length - steps.length,
    skippedSteps: steps.filter(({ skipped }) => skipped).length,
    tokens: steps.reduce((sum, { tokens }) => sum + tokens, 0),
    seconds: last === undefined ? 0 : (last - first!) / 1000,
    tokensPerSecond: median(measured.map(({ tokens, milliseconds }) => (1000 * tokens) / milliseconds)) ?? null,
    stepMilliseconds: median(measured.map(({ milliseconds }) => milliseconds)) ?? null,
    firstLoss: losses[0] ?? null,
    lastLoss: losses.at(-1) ?? null,
    finalLoss: finalLossOf(steps) ?? null,
    goodput: training > 0 ? Math.min(1, inSteps / training) : null,
    degradedSteps: steps.length === 0 ? null : steps.filter((step) => degraded.has(step)).length / steps.length,
    epochs: epochs.length,
    epochsByCause: countBy(epochs, ({ cause }) => cause),
    failureRecoveries: figuresOf(recoveriesFromFailures(events)) ?? null,
    recoveriesByCause: Object.fromEntries(causes.map((cause) => [cause, figuresOf(recoveries.filter((one) => one.cause === cause))])),
    faults: faults.length,
    faultsByKind: countBy(faults, ({ fault }) => fault),
    smallestMixerPipelines: epochs
      .flatMap(({ mixerPipelines }) => mixerPipelines.map(({ length }) => length))
      .reduce<number | null>((least, size) => (least === null ? size : Math.min(least, size)), null),
    capturedEnergy: mean(energies) ?? null,
    checkpoints: checkpoints.length,
    degradedCheckpoints: checkpoints.filter(({ degraded }) => degraded).length,
    ...(job === undefined ? {} : { ledger: checkLedger(events, job) }),
  };
}
