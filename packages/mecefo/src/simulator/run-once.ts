import type { CostProfile } from "./cost-profile.ts";
import { GridState, type GridChange } from "./grid-state.ts";
import { RandomStream } from "./random-stream.ts";
import { RunTally, type RunFigures } from "./run-tally.ts";
import type { NodeRates } from "./scenario.ts";
import type { StepTime, StepTimes } from "./step-time.ts";
import type { StrategyRules } from "./strategy.ts";

/** One run of one strategy. */
export interface RunSettings {
  readonly rules: StrategyRules;
  readonly costs: CostProfile;
  readonly rates: NodeRates;
  readonly stepTimes: StepTimes;
  readonly maximumChain: number;
  readonly grid: { readonly pipelines: number; readonly stages: number };
  readonly seconds: number;
  readonly seed: number;
  /** Whether all nodes are up at the beginning, or as many as in the long run. */
  readonly start: "healthy" | "stationary";
}

/** Which random numbers are for what: the same for all strategies, so that they meet the same failures. */
const EVENTS = 0;
const START = 1;

/** All nodes, those that are up first. */
class Nodes {
  readonly order: Int32Array;
  up: number;

  constructor(count: number) {
    this.order = Int32Array.from({ length: count }, (_, i) => i);
    this.up = count;
  }

  /** Moves the node at `position` over the border between up and down. */
  flip(position: number): number {
    const node = this.order[position]!;
    const border = position < this.up ? --this.up : this.up++;
    this.order[position] = this.order[border]!;
    this.order[border] = node;
    return node;
  }
}

class Run {
  readonly #settings: RunSettings;
  readonly #state: GridState;
  readonly #tally = new RunTally();
  #resumeAt = 0;
  #time = 0;
  /** Some stage's state is nowhere but in the checkpoint. */
  #mustRestore = false;
  #step: StepTime | undefined;

  constructor(settings: RunSettings) {
    this.#settings = settings;
    this.#state = new GridState(settings.grid, settings.rules.neighbours ? settings.maximumChain : 1);
  }

  #stall(seconds: number): void {
    this.#resumeAt = Math.max(this.#resumeAt, this.#time + seconds);
  }

  #restore(): void {
    const { restartSeconds, restoreSeconds } = this.#settings.costs.checkpoint;
    this.#mustRestore = false;
    this.#stall(restartSeconds + restoreSeconds);
  }

  #fetchSeconds({ fetched }: GridChange): number {
    const { bytes, bytesPerSecond } = this.#settings.costs.state;
    return (fetched * bytes) / bytesPerSecond;
  }

  /** A worker that enters double work decomposes its weights at once (t mod τ = 0). */
  #projectionSeconds({ chain }: GridChange): number {
    return this.#settings.rules.doubleWork === "degraded" && chain > 1 ? chain * this.#settings.costs.projection.seconds : 0;
  }

  #failure(change: GridChange): void {
    const { rules, costs } = this.#settings;
    this.#tally.failures++;
    if (change.lostStages.length > 0) {
      this.#mustRestore = true;
      this.#tally.stagesLost++;
    }
    // A worker whose pipeline trained nothing is not missed, unless somebody has to take part in its place.
    if (!rules.neighbours && !change.wasActive && !this.#mustRestore) return;
    this.#tally.abandonStep();
    this.#tally.recoveries++;
    if (rules.rollsBack || change.lostStages.length > 0) this.#tally.rollBack();
    const { restartSeconds, restoreSeconds } = costs.checkpoint;
    this.#stall(
      costs.detectionSeconds + costs.settlingSeconds +
        (rules.rollsBack ? restartSeconds + restoreSeconds : this.#fetchSeconds(change) + this.#projectionSeconds(change)),
    );
  }

  #repair(change: GridChange): void {
    const { rules, costs } = this.#settings;
    this.#tally.repairs++;
    if (!rules.neighbours && !change.isActive) return;
    if (!rules.rollsBack) {
      this.#stall(costs.settlingSeconds + this.#fetchSeconds(change) + this.#projectionSeconds(change));
      return;
    }
    this.#tally.checkpoint();
    this.#stall(costs.settlingSeconds + costs.checkpoint.writeSeconds + costs.checkpoint.restartSeconds + costs.checkpoint.restoreSeconds);
  }

  #advance(until: number, nodesDown: number): void {
    const state = this.#state;
    this.#step ??= this.#settings.stepTimes.step(state);
    const elapsed = until - this.#time;
    const isRunning = this.#step.seconds < Infinity;
    const working = isRunning ? Math.max(0, until - Math.max(this.#time, this.#resumeAt)) : 0;
    this.#tally.pass(elapsed, working, nodesDown, state);
    if (working > 0) this.#tally.work(working, this.#step, this.#settings.costs.checkpoint);
    this.#time = until;
  }

  #change(node: number, alive: boolean): GridChange {
    const { stages } = this.#settings.grid;
    this.#step = undefined;
    return this.#state.change(Math.floor(node / stages), node % stages, alive);
  }

  run(): RunFigures {
    const { rules, rates, grid, seconds, seed, start } = this.#settings;
    const nodes = new Nodes(grid.pipelines * grid.stages);
    const count = nodes.up;
    if (rules.fails && start === "stationary") {
      const random = new RandomStream(seed, START);
      const share = rates.failure / (rates.failure + rates.repair);
      for (let position = count - 1; position >= 0; position--) {
        if (random.uniform() < share) this.#change(nodes.flip(position), false);
      }
    }
    const random = new RandomStream(seed, EVENTS);
    while (this.#time < seconds) {
      const failing = rules.fails ? rates.failure * nodes.up : 0;
      const total = failing + rates.repair * (count - nodes.up);
      const next = total === 0 ? Infinity : this.#time + random.exponential(1 / total);
      this.#advance(Math.min(seconds, next), count - nodes.up);
      if (next >= seconds) break;
      const fails = random.uniform() * total < failing;
      const position = fails ? random.index(nodes.up) : nodes.up + random.index(count - nodes.up);
      const change = this.#change(nodes.flip(position), !fails);
      if (fails) this.#failure(change);
      else this.#repair(change);
      if (this.#mustRestore && this.#state.activePipelines > 0) this.#restore();
    }
    return this.#tally.figures(seconds);
  }
}

/** Simulates one run: from event to event, not from step to step. The same settings give the same figures, to the bit. */
export function runOnce(settings: RunSettings): RunFigures {
  return new Run(settings).run();
}
