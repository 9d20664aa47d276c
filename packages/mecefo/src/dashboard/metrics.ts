import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { AssignmentSettings } from "../grid/assignment.ts";
import type { EpochCause } from "../membership/cluster-state.ts";
import { gridCells, healed, type CellState, type GridCell } from "../report/grid-cells.ts";
import type { EpochEvent, RunEvent, StepEvent } from "../membership/run-event.ts";
import { mean } from "../statistics.ts";

const STEP_SECONDS: readonly number[] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const RECOVERY_SECONDS: readonly number[] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const cellStates: readonly CellState[] = ["healthy", "neighbour", "healing", "idle", "failed"];

/** What a run counts, in a registry of its own, fed by its events. */
export class RunMetrics {
  readonly registry: Registry = new Registry();
  readonly #settings: AssignmentSettings;
  readonly #epoch: Gauge;
  readonly #step: Gauge;
  readonly #loss: Gauge;
  readonly #gradientNorm: Gauge;
  readonly #tokensPerSecond: Gauge;
  readonly #tokens: Counter;
  readonly #steps: Counter;
  readonly #skippedSteps: Counter;
  readonly #stepSeconds: Histogram;
  readonly #members: Gauge<"mode">;
  readonly #mixer: Gauge<"stage">;
  readonly #smallestMixer: Gauge;
  readonly #lostPipelines: Gauge;
  readonly #busy: Gauge<"slot" | "activity">;
  readonly #energy: Gauge<"matrix">;
  readonly #epochs: Counter<"cause">;
  readonly #recoveries: Counter<"cause">;
  readonly #recoverySeconds: Histogram;
  readonly #transferred: Counter;
  readonly #faults: Counter<"fault">;
  readonly #checkpoints: Counter<"degraded">;
  readonly #checkpointStep: Gauge;
  #cells: readonly GridCell[] | undefined;
  #current: EpochEvent | undefined;

  constructor(settings: AssignmentSettings) {
    this.#settings = settings;
    const registers = [this.registry];
    const name = (rest: string): string => `mecefo_${rest}`;
    const gauge = (rest: string, help: string): Gauge => new Gauge({ name: name(rest), help, registers });
    const labelledGauge = <Label extends string>(rest: string, help: string, ...labelNames: Label[]): Gauge<Label> =>
      new Gauge({ name: name(rest), help, labelNames, registers });
    const counter = (rest: string, help: string): Counter => new Counter({ name: name(rest), help, registers });
    const labelledCounter = <Label extends string>(rest: string, help: string, ...labelNames: Label[]): Counter<Label> =>
      new Counter({ name: name(rest), help, labelNames, registers });
    const histogram = (rest: string, help: string, buckets: readonly number[]): Histogram =>
      new Histogram({ name: name(rest), help, buckets: [...buckets], registers });

    this.#epoch = gauge("epoch", "Epoch of the cluster: rises with every change of members.");
    this.#step = gauge("step", "Last step taken, from 0.");
    this.#loss = gauge("loss", "Mean loss of the last step.");
    this.#gradientNorm = gauge("gradient_norm", "Norm of the last averaged gradient, before clipping.");
    this.#tokensPerSecond = gauge("tokens_per_second", "Tokens a second in the last step.");
    this.#tokens = counter("tokens_total", "Tokens trained on.");
    this.#steps = counter("steps_total", "Steps taken, those that were undone later included.");
    this.#skippedSteps = counter("skipped_steps_total", "Steps without an update because the gradient was not finite.");
    this.#stepSeconds = histogram("step_seconds", "Time of a step.", STEP_SECONDS);
    this.#members = labelledGauge("members", "Places of the grid by what they look like.", "mode");
    this.#mixer = labelledGauge("mixer_pipelines", "|N(l)|: pipelines that give a mixer gradient, by stage.", "stage");
    this.#smallestMixer = gauge("mixer_pipelines_min", "Least |N(l)| over the stages.");
    this.#lostPipelines = gauge("lost_pipelines", "Pipelines that do no passes.");
    this.#busy = labelledGauge("worker_seconds", "What workers did in the last step.", "slot", "activity");
    this.#energy = labelledGauge("captured_energy", "Share of energy that projections capture, mean over blocks, last measured.", "matrix");
    this.#epochs = labelledCounter("epochs_total", "Epochs begun, by cause.", "cause");
    this.#recoveries = labelledCounter("recoveries_total", "Times that training went on after an epoch's beginning, by cause.", "cause");
    this.#recoverySeconds = histogram("recovery_seconds", "From learning of a cause until the last worker had settled.", RECOVERY_SECONDS);
    this.#transferred = counter("transferred_bytes_total", "Bytes of state that workers fetched from peers.");
    this.#faults = labelledCounter("faults_total", "Faults brought about on purpose.", "fault");
    this.#checkpoints = labelledCounter("checkpoints_total", "Checkpoints written.", "degraded");
    this.#checkpointStep = gauge("checkpoint_step", "Step of the last checkpoint.");
    this.#showMembers();
  }

  /** Counts an event. */
  observe(event: RunEvent): void {
    switch (event.kind) {
      case "epoch":
        this.#observeEpoch(event);
        break;
      case "step":
        this.#observeStep(event);
        break;
      case "recovery":
        this.#recoveries.inc({ cause: event.cause });
        this.#recoverySeconds.observe(event.milliseconds / 1000);
        this.#transferred.inc(event.bytes);
        this.#settle(event.epoch);
        break;
      case "fault":
        this.#faults.inc({ fault: event.fault });
        break;
      case "checkpoint":
        this.#checkpoints.inc({ degraded: String(event.degraded) });
        this.#checkpointStep.set(event.step);
        break;
      case "note": case "finished": case "failed":
        break;
    }
  }

  /** The metrics in Prometheus' text format. */
  render(): Promise<string> {
    return this.registry.metrics();
  }

  #observeEpoch(event: EpochEvent): void {
    this.#current = event;
    this.#cells = gridCells(this.#settings, event, this.#cells);
    this.#epoch.set(event.epoch);
    this.#epochs.inc({ cause: event.cause satisfies EpochCause });
    this.#lostPipelines.set(event.lostPipelines.length);
    event.mixerPipelines.forEach(({ length }, stage) => this.#mixer.set({ stage: String(stage) }, length));
    if (event.mixerPipelines.length > 0) this.#smallestMixer.set(Math.min(...event.mixerPipelines.map(({ length }) => length)));
    // A worker that is gone does nothing, rather than what it did last.
    this.#busy.reset();
    this.#showMembers();
  }

  #observeStep(event: StepEvent): void {
    this.#settle(event.epoch);
    this.#step.set(event.step);
    if (event.loss !== null) this.#loss.set(event.loss);
    if (event.gradientNorm !== null) this.#gradientNorm.set(event.gradientNorm);
    this.#tokens.inc(event.tokens);
    this.#steps.inc();
    if (event.skipped) this.#skippedSteps.inc();
    this.#stepSeconds.observe(event.milliseconds / 1000);
    if (event.milliseconds > 0) this.#tokensPerSecond.set((1000 * event.tokens) / event.milliseconds);
    for (const { slot, busy, waiting, allReduce } of event.busy) {
      this.#busy.set({ slot, activity: "computing" }, busy / 1000);
      this.#busy.set({ slot, activity: "waiting" }, waiting / 1000);
      this.#busy.set({ slot, activity: "all-reduce" }, allReduce / 1000);
    }
    const energies = event.energy ?? [];
    for (const matrix of new Set(energies.map((captured) => captured.matrix))) {
      this.#energy.set({ matrix }, mean(energies.filter((captured) => captured.matrix === matrix).map(({ energy }) => energy))!);
    }
  }

  #settle(epoch: number): void {
    if (this.#cells === undefined || this.#current?.epoch !== epoch) return;
    this.#cells = healed(this.#cells, this.#current.lostPipelines);
    this.#showMembers();
  }

  #showMembers(): void {
    const cells = this.#cells ?? [];
    for (const mode of cellStates) this.#members.set({ mode }, cells.filter(({ state }) => state === mode).length);
  }
}
