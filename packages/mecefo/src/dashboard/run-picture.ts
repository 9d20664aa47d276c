import type { AssignmentSettings } from "../grid/assignment.ts";
import { gridCells, healed, type GridCell } from "../report/grid-cells.ts";
import type { EpochEvent, RecoveryEvent, RunEvent, StepEvent } from "../membership/run-event.ts";
import { mean } from "../statistics.ts";

/** A step on the page's curves; the energy is the mean over blocks and matrices, in steps that measured it. */
export type CurvePoint = readonly [
  step: number, loss: number | null, tokensPerSecond: number | null, degraded: 0 | 1, energy: number | null,
];

/** The run as the page shows it, without its curves. */
export interface Picture {
  readonly name: string;
  readonly strategy: string;
  readonly pipelines: number;
  readonly stages: number;
  readonly steps: number;
  readonly outcome: "forming" | "training" | "healing" | "finished" | "failed";
  readonly reason: string;
  readonly epoch: number;
  /** Steps taken. */
  readonly step: number;
  readonly loss: number | null;
  readonly tokensPerSecond: number | null;
  readonly tokens: number;
  readonly beganAt: number | null;
  /** Share of the time since the first epoch that went into steps that count. */
  readonly goodput: number | null;
  readonly cells: readonly (GridCell & { readonly busy?: number; readonly waiting?: number; readonly allReduce?: number })[];
  /** Cells left out, of a grid too large for a page. */
  readonly hiddenCells: number;
  /** |N(l)| by stage. */
  readonly mixerPipelines: readonly number[];
  readonly energy: readonly { readonly matrix: string; readonly energy: number }[];
  readonly faults: number;
  /** After failures; the grid's forming and workers that join are among `lastRecoveries` alone. */
  readonly recoveries: number;
  /** The last one after a failure. */
  readonly lastFailure: Pick<RecoveryEvent, "milliseconds" | "bytes"> | null;
  /** The last ones, the latest first. */
  readonly lastRecoveries: readonly Pick<RecoveryEvent, "at" | "epoch" | "step" | "cause" | "reason" | "milliseconds" | "bytes">[];
  /** The last faults, notes and checkpoints, the latest first. */
  readonly messages: readonly { readonly at: number; readonly text: string }[];
}

/** What changes in the curves: all of them, or points at the end. */
export interface CurveUpdate {
  readonly all?: readonly CurvePoint[];
  readonly added?: readonly CurvePoint[];
}

const MOST_CELLS_SHOWN = 1024;
const MOST_POINTS = 2000;
const MOST_RECOVERIES = 50;
const MOST_MESSAGES = 30;

/** Gathers a run's events into what the page shows, in bounded memory. */
export class RunPicture {
  readonly #info: { readonly name: string; readonly steps: number; readonly settings: AssignmentSettings };
  #cells: readonly GridCell[] = [];
  #epoch: EpochEvent | undefined;
  #last: StepEvent | undefined;
  #outcome: Picture["outcome"] = "forming";
  #reason = "";
  #step = 0;
  #tokens = 0;
  #beganAt: number | null = null;
  #lastAt = 0;
  #inSteps = 0;
  /** Milliseconds of the steps that count, for those that a rollback takes away. */
  #points: { readonly point: CurvePoint; readonly milliseconds: number; readonly tokens: number }[] = [];
  /** Every how many-th step is kept on the curves. */
  #stride = 1;
  #added: CurvePoint[] = [];
  #isReplaced = false;
  #energy: { readonly matrix: string; readonly energy: number }[] = [];
  #faults = 0;
  #recoveries = 0;
  #lastFailure: Picture["lastFailure"] = null;
  #lastRecoveries: Picture["lastRecoveries"][number][] = [];
  #messages: { readonly at: number; readonly text: string }[] = [];

  constructor(info: { readonly name: string; readonly steps: number; readonly settings: AssignmentSettings }) {
    this.#info = info;
  }

  /** Cells as of the last event. */
  get cells(): readonly GridCell[] {
    return this.#cells;
  }

  /** Takes an event in. */
  apply(event: RunEvent): void {
    this.#lastAt = Math.max(this.#lastAt, event.at);
    switch (event.kind) {
      case "epoch":
        this.#begin(event);
        break;
      case "step":
        this.#take(event);
        break;
      case "recovery": {
        const { at, epoch, step, cause, reason, milliseconds, bytes } = event;
        if (cause !== "formed" && cause !== "joined") {
          this.#recoveries++;
          this.#lastFailure = { milliseconds, bytes };
        }
        this.#lastRecoveries = [{ at, epoch, step, cause, reason, milliseconds, bytes }, ...this.#lastRecoveries].slice(0, MOST_RECOVERIES);
        this.#settle(epoch);
        break;
      }
      case "fault":
        this.#faults++;
        this.#say(event.at, `${event.fault} ${event.slot}${event.detail === "" ? "" : `: ${event.detail}`}`);
        break;
      case "note":
        this.#say(event.at, event.text);
        break;
      case "checkpoint":
        this.#say(event.at, `checkpoint of step ${event.step}${event.degraded ? ", written while degraded" : ""}`);
        break;
      case "finished":
        this.#outcome = "finished";
        break;
      case "failed":
        this.#outcome = "failed";
        this.#reason = event.reason;
        break;
    }
  }

  /** The picture as of the last event. */
  picture(): Picture {
    const { name, steps, settings: { grid, strategy } } = this.#info;
    const last = this.#last;
    const timings = new Map((last?.busy ?? []).map((timing) => [timing.slot, timing]));
    const training = this.#beganAt === null ? 0 : this.#lastAt - this.#beganAt;
    return {
      name, strategy, ...grid, steps, outcome: this.#outcome, reason: this.#reason, epoch: this.#epoch?.epoch ?? 0, step: this.#step,
      loss: last?.loss ?? null, tokens: this.#tokens, beganAt: this.#beganAt,
      tokensPerSecond: last === undefined || last.milliseconds === 0 ? null : (1000 * last.tokens) / last.milliseconds,
      goodput: training > 0 ? Math.min(1, this.#inSteps / training) : null,
      cells: this.#cells.slice(0, MOST_CELLS_SHOWN).map((cell) => {
        const timing = cell.state === "failed" ? undefined : timings.get(cell.slot);
        return timing === undefined ? cell : { ...cell, busy: timing.busy, waiting: timing.waiting, allReduce: timing.allReduce };
      }),
      hiddenCells: Math.max(0, this.#cells.length - MOST_CELLS_SHOWN),
      mixerPipelines: this.#epoch?.mixerPipelines.map(({ length }) => length) ?? [],
      energy: this.#energy, faults: this.#faults, recoveries: this.#recoveries,
      lastFailure: this.#lastFailure, lastRecoveries: this.#lastRecoveries,
      messages: this.#messages,
    };
  }

  /** All points of the curves. */
  curve(): readonly CurvePoint[] {
    return this.#points.map(({ point }) => point);
  }

  /** What changed in the curves since it was last asked. */
  takeCurveUpdate(): CurveUpdate {
    const update = this.#isReplaced ? { all: this.curve() } : this.#added.length > 0 ? { added: this.#added } : {};
    this.#isReplaced = false;
    this.#added = [];
    return update;
  }

  #begin(event: EpochEvent): void {
    this.#beganAt ??= event.at;
    this.#cells = gridCells(this.#info.settings, event, this.#epoch === undefined ? undefined : this.#cells);
    this.#epoch = event;
    this.#outcome = this.#cells.some(({ state }) => state === "healing") ? "healing" : "training";
    this.#reason = event.reason;
    if (event.step < this.#step) {
      // The weights went back: what follows is taken again.
      const undone = this.#points.filter(({ point }) => point[0] >= event.step);
      for (const { milliseconds, tokens } of undone) [this.#inSteps, this.#tokens] = [this.#inSteps - milliseconds, this.#tokens - tokens];
      this.#points = this.#points.filter(({ point }) => point[0] < event.step);
      this.#isReplaced = true;
    }
    this.#step = event.step;
  }

  #take(event: StepEvent): void {
    this.#settle(event.epoch);
    this.#last = event;
    this.#step = event.step + 1;
    this.#tokens += event.tokens;
    this.#inSteps += event.milliseconds;
    const speed = event.milliseconds > 0 ? (1000 * event.tokens) / event.milliseconds : null;
    const matrices = [...new Set((event.energy ?? []).map(({ matrix }) => matrix))];
    if (matrices.length > 0) {
      this.#energy = matrices.map((matrix) => ({
        matrix, energy: mean(event.energy!.filter((captured) => captured.matrix === matrix).map(({ energy }) => energy))!,
      }));
    }
    if (event.step % this.#stride !== 0) return;
    const energy = mean((event.energy ?? []).map((captured) => captured.energy)) ?? null;
    const point: CurvePoint = [event.step, event.loss, speed, this.#epoch?.healthy === false ? 1 : 0, energy];
    this.#points.push({ point, milliseconds: this.#stride * event.milliseconds, tokens: this.#stride * event.tokens });
    this.#added.push(point);
    if (this.#points.length <= MOST_POINTS) return;
    this.#stride *= 2;
    this.#points = this.#points
      .filter(({ point: [step] }) => step % this.#stride === 0)
      .map(({ point: kept, milliseconds, tokens }) => ({ point: kept, milliseconds: 2 * milliseconds, tokens: 2 * tokens }));
    this.#isReplaced = true;
  }

  #settle(epoch: number): void {
    if (this.#epoch?.epoch !== epoch || this.#outcome !== "healing") return;
    this.#cells = healed(this.#cells, this.#epoch.lostPipelines);
    this.#outcome = "training";
  }

  #say(at: number, text: string): void {
    this.#messages = [{ at, text: text.slice(0, 300) }, ...this.#messages].slice(0, MOST_MESSAGES);
  }
}
