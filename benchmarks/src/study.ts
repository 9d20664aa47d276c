/** Rows of a table that come from whole runs of many processes, where no single call can be timed. */
import type { Result } from "./result.ts";
import type { Effort } from "./rounds.ts";

/** One figure of a study. */
export interface Figure extends Pick<Result, "id" | "unit" | "ours"> {
  readonly yardsticks?: Readonly<Record<string, number>>;
  readonly remark?: string;
}

/** Figures that one measurement gives. */
export interface Study {
  /** What `--only` chooses it by; its figures have ids that begin with it. */
  readonly id: string;
  measure(effort: Effort): Promise<readonly Figure[]>;
}

const rounded = (value: number): number => Number(value.toPrecision(4));

/** A figure as a row: without peers. */
export function resultOfFigure({ yardsticks = {}, ...figure }: Figure): Result {
  return {
    peers: {}, ratio: null, absent: {}, ...figure, ours: rounded(figure.ours),
    yardsticks: Object.fromEntries(Object.entries(yardsticks).map(([name, value]) => [name, rounded(value)])),
  };
}
