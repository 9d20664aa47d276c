import { SettingsError } from "../errors.ts";

/** Pipelines (data parallel) by stages (pipeline parallel): |DP| × |PP| in the paper. */
export interface Grid {
  readonly pipelines: number;
  readonly stages: number;
}

/** A place in the grid: one worker's own stage of one pipeline. */
export interface Slot {
  readonly pipeline: number;
  readonly stage: number;
}

const LARGEST_SIDE = 4096;

/** Reads "2x4" (pipelines × stages). @throws SettingsError */
export function parseGrid(text: string): Grid {
  const match = /^(\d{1,4})[x×](\d{1,4})$/.exec(text.trim());
  if (match === null) throw new SettingsError(`grid "${text}" is not <pipelines>x<stages>, e.g. 2x4`);
  return checkGrid({ pipelines: Number(match[1]), stages: Number(match[2]) });
}

/** @throws SettingsError unless both sides are integers from 1 to 4096 */
export function checkGrid(grid: Grid): Grid {
  for (const [name, value] of Object.entries(grid)) {
    if (!Number.isInteger(value) || value < 1 || value > LARGEST_SIDE) {
      throw new SettingsError(`grid: ${value} ${name}; use an integer from 1 to ${LARGEST_SIDE}`);
    }
  }
  return grid;
}

/** "2x4". */
export function formatGrid({ pipelines, stages }: Grid): string {
  return `${pipelines}x${stages}`;
}

/** Name of a slot in logs and messages: "p0s1". */
export function slotName({ pipeline, stage }: Slot): string {
  return `p${pipeline}s${stage}`;
}

/** Reads what `slotName` writes. @throws SettingsError */
export function parseSlot(text: string): Slot {
  const match = /^p(\d{1,4})s(\d{1,4})$/.exec(text);
  if (match === null) throw new SettingsError(`slot "${text}" is not p<pipeline>s<stage>, e.g. p0s1`);
  return { pipeline: Number(match[1]), stage: Number(match[2]) };
}

/** All slots, pipeline by pipeline. */
export function slotsOf({ pipelines, stages }: Grid): Slot[] {
  return Array.from({ length: pipelines * stages }, (_, i) => ({ pipeline: Math.floor(i / stages), stage: i % stages }));
}
