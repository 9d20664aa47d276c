import { SettingsError } from "../errors.ts";
import { slotsOf, type Grid, type Slot } from "../grid/grid.ts";
import { RandomStream } from "../simulator/random-stream.ts";
import { nodeRates, type FailureScenario } from "../simulator/scenario.ts";

/** Chances of a node in one step: memoryless, so that they are the same in every step, as in the paper's experiments. */
export interface StepChances {
  /** That a node that is up dies before the step. */
  readonly failure: number;
  /** That a node that is down is back before the step. */
  readonly repair: number;
}

/**
 * Hours that the paper's 1B run takes without failures: 20,000 steps of 4096 sequences of 256 tokens at 471.19 thousand tokens a second.
 */
export const PAPER_1B_HOURS: number = (20_000 * 4096 * 256) / 471_190 / 3600;

/**
 * A node's chances in a step, for a run whose steps together stand for `hours`: a short run meets as many failures, each as long a share
 * of it, as the long one that it stands for. Repair times are those of a node.
 * @throws SettingsError for a number of steps or hours that is none
 */
export function scaledChances(scenario: FailureScenario, steps: number, hours: number = PAPER_1B_HOURS): StepChances {
  if (!(Number.isInteger(steps) && steps >= 1)) throw new SettingsError(`a failure trace over ${steps} steps; use a whole number, 1 or more`);
  if (!(hours > 0 && hours < 1e9)) throw new SettingsError(`a failure trace over ${hours} hours; use a positive number`);
  const { failure, repair } = nodeRates(scenario, "per-node");
  const seconds = (hours * 3600) / steps;
  return { failure: -Math.expm1(-failure * seconds), repair: -Math.expm1(-repair * seconds) };
}

/** What a failure trace is made of. */
export interface FailureTraceOptions {
  readonly grid: Grid;
  readonly chances: StepChances;
  readonly seed: number;
  /** Whether all nodes are up before the first step, or as many as in the long run. Default "stationary". */
  readonly start?: "healthy" | "stationary" | undefined;
}

/** What happens in the first steps of a trace. */
export interface FailureTraceSummary {
  /** Nodes that were up and died; those that are down from the beginning are not among them. */
  readonly failures: number;
  readonly repairs: number;
  /** Nodes down, in the mean over the steps. */
  readonly meanDown: number;
  /** Share of the steps with all nodes up. */
  readonly healthyShare: number;
}

/** Which random numbers are for what. */
const EVENTS = 0;
const START = 1;

/**
 * Who is up in each step of a run: a pure function of grid, chances and seed, the same for every strategy that is compared. It has no end,
 * since a strategy that stands still needs more of it than there are steps to take.
 */
export class FailureTrace {
  readonly grid: Grid;
  readonly #chances: StepChances;
  readonly #random: RandomStream;
  /** By step, the nodes pipeline by pipeline; 1 for those that are up. */
  readonly #live: Uint8Array[] = [];

  /** @throws SettingsError for chances that are none, RangeError for a seed that is no safe integer */
  constructor({ grid, chances, seed, start = "stationary" }: FailureTraceOptions) {
    for (const [name, chance] of Object.entries(chances)) {
      if (!(chance >= 0 && chance <= 1)) throw new SettingsError(`a failure trace with a chance of ${name} of ${chance}; use 0 to 1`);
    }
    this.grid = grid;
    this.#chances = chances;
    this.#random = new RandomStream(seed, EVENTS);
    const { failure, repair } = chances;
    const down = start === "healthy" || failure === 0 ? 0 : failure / (failure + repair);
    const random = new RandomStream(seed, START);
    this.#live.push(Uint8Array.from(slotsOf(grid), () => (random.uniform() < down ? 0 : 1)));
  }

  /** Who is up in a step. @throws SettingsError for a step that is none */
  at(step: number): (slot: Slot) => boolean {
    const live = this.#row(step);
    return ({ pipeline, stage }) => live[pipeline * this.grid.stages + stage] === 1;
  }

  /** Nodes that are down in a step. */
  down(step: number): Slot[] {
    const isLive = this.at(step);
    return slotsOf(this.grid).filter((slot) => !isLive(slot));
  }

  /** What happens before the step `steps`. */
  summary(steps: number): FailureTraceSummary {
    let [failures, repairs, down, healthy] = [0, 0, 0, 0];
    for (let step = 0; step < steps; step++) {
      const live = this.#row(step);
      const before = step === 0 ? live : this.#row(step - 1);
      const dead = live.reduce((count, up) => count + 1 - up, 0);
      down += dead;
      if (dead === 0) healthy++;
      live.forEach((up, node) => {
        if (up < before[node]!) failures++;
        else if (up > before[node]!) repairs++;
      });
    }
    return { failures, repairs, meanDown: down / steps, healthyShare: healthy / steps };
  }

  #row(step: number): Uint8Array {
    if (!(Number.isSafeInteger(step) && step >= 0)) throw new SettingsError(`step ${step} of a failure trace; use a whole number from 0`);
    const { failure, repair } = this.#chances;
    while (this.#live.length <= step) {
      // A number for each node in each step, needed or not: what becomes of one node does not depend on the others.
      this.#live.push(this.#live.at(-1)!.map((up) => {
        const drawn = this.#random.uniform();
        return up === 1 ? (drawn < failure ? 0 : 1) : drawn < repair ? 1 : 0;
      }));
    }
    return this.#live[step]!;
  }
}
