import { allTechniques } from "../approximation/stage-mode.ts";
import { assign, type AssignmentSettings } from "../grid/assignment.ts";
import { parseSlot, slotName, slotsOf, type Grid } from "../grid/grid.ts";
import type { EpochEvent, RunEvent } from "../membership/run-event.ts";

/**
 * What a worker's place looks like: `healthy`, `neighbour` (it also hosts others' stages, degraded), `healing` (it fetches the state of a
 * stage that it did not host before), `idle` (alive, but too many of its pipeline are gone), `failed` (nobody is there).
 */
export type CellState = "healthy" | "neighbour" | "healing" | "idle" | "failed";

/** A place of the grid at one time. */
export interface GridCell {
  readonly slot: string;
  readonly pipeline: number;
  readonly stage: number;
  readonly state: CellState;
  /** The stages it hosts: from inclusive, to exclusive; equal where it hosts none. */
  readonly from: number;
  readonly to: number;
  /** Who hosts the stage instead, where the place's own worker is gone. */
  readonly hostedBy?: string;
  readonly pid?: number;
}

/** Larger grids are not drawn. */
export const MOST_CELLS = 65_536;

/** What the cells of a grid depend on, guessed from a log without its job. Undefined without epochs, or for too large a grid. */
export function settingsFromEvents(events: readonly RunEvent[]): AssignmentSettings | undefined {
  const epochs = events.filter((event): event is EpochEvent => event.kind === "epoch");
  if (epochs.length === 0) return undefined;
  let [pipelines, stages] = [1, 1];
  for (const { live, mixerPipelines, lostPipelines } of epochs) {
    stages = Math.max(stages, mixerPipelines.length, ...live.map((slot) => parseSlot(slot).stage + 1));
    pipelines = Math.max(pipelines, ...[...live.map((slot) => parseSlot(slot).pipeline), ...lostPipelines].map((pipeline) => pipeline + 1));
  }
  if (pipelines * stages > MOST_CELLS) return undefined;
  // Whether chains were capped does not matter: the events name the pipelines that did not run.
  return {
    grid: { pipelines, stages }, strategy: "mecefo", techniques: allTechniques, maximumChain: stages, lostPipeline: "reroute",
    sharing: "balanced", emptyMixer: "exact", microbatches: 1,
  };
}

/**
 * The grid when an epoch begins. Whoever hosts a stage that he did not host in `before` is healing, until the epoch's recovery is over:
 * then call `healed`.
 */
export function gridCells(settings: AssignmentSettings, epoch: EpochEvent, before?: readonly GridCell[]): readonly GridCell[] {
  const pids = new Map(epoch.live.map((slot, i) => [slot, epoch.pids[i]]));
  const { pipelines } = assign(settings, (slot) => pids.has(slotName(slot)));
  return slotsOf(settings.grid).map(({ pipeline, stage }, index): GridCell => {
    const slot = slotName({ pipeline, stage });
    const pid = pids.get(slot);
    const { active: isActive, hosts } = pipelines[pipeline]!;
    const active = isActive && !epoch.lostPipelines.includes(pipeline);
    const host = hosts.find((one) => one.stage === stage);
    const place = { slot, pipeline, stage };
    if (host === undefined) {
      const other = active ? hosts.find(({ from, to }) => from <= stage && stage < to) : undefined;
      const hostedBy = other === undefined ? {} : { hostedBy: slotName({ pipeline, stage: other.stage }) };
      return { ...place, state: "failed", from: stage, to: stage, ...hostedBy };
    }
    const old = before?.[index];
    const { from, to } = active ? host : { from: stage, to: stage + 1 };
    const isNew = old !== undefined && (from < old.from || to > old.to || old.from === old.to || old.pid !== pid);
    const state = isNew ? "healing" : !active ? "idle" : to - from > 1 ? "neighbour" : "healthy";
    return { ...place, state, from, to, ...(pid === undefined ? {} : { pid }) };
  });
}

/** The same grid when everybody has what it hosts. */
export function healed(cells: readonly GridCell[], lostPipelines: readonly number[]): readonly GridCell[] {
  return cells.map((cell) => {
    if (cell.state !== "healing") return cell;
    const state = lostPipelines.includes(cell.pipeline) ? "idle" : cell.to - cell.from > 1 ? "neighbour" : "healthy";
    return { ...cell, state };
  });
}

/** A time during which a place looked the same. */
export interface CellSpan {
  readonly state: CellState;
  /** Milliseconds since 1970. */
  readonly begin: number;
  readonly end: number;
}

/** How each place of the grid looked over a run, in the order of slots. */
export function cellSpans(
  events: readonly RunEvent[], settings: AssignmentSettings,
): readonly { readonly slot: string; readonly spans: readonly CellSpan[] }[] {
  const rows = slotsOf(settings.grid).map((slot) => {
    const spans: { state: CellState; begin: number; end: number }[] = [];
    return { slot: slotName(slot), spans };
  });
  let cells: readonly GridCell[] | undefined;
  let epoch: EpochEvent | undefined;
  const mark = (at: number): void => {
    cells?.forEach(({ state }, index) => {
      const { spans } = rows[index]!;
      const last = spans.at(-1);
      if (last !== undefined) last.end = Math.max(last.end, at);
      if (last?.state !== state) spans.push({ state, begin: at, end: at });
    });
  };
  for (const event of events) {
    if (event.kind === "epoch") {
      epoch = event;
      cells = gridCells(settings, event, cells);
    } else if ((event.kind === "recovery" || event.kind === "step") && event.epoch === epoch?.epoch) {
      cells = cells && healed(cells, epoch.lostPipelines);
    }
    mark(event.at);
  }
  return rows;
}

/** "2 pipelines × 4 stages". */
export function describeGrid({ pipelines, stages }: Grid): string {
  return `${pipelines} pipelines × ${stages} stages`;
}
