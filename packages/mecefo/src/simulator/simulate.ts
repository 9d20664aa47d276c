import { SettingsError } from "../errors.ts";
import { checkGrid, type Grid } from "../grid/grid.ts";
import { strategyNames, type StrategyName } from "../grid/strategy.ts";
import type { CostProfile } from "./cost-profile.ts";
import { expectedShares, type ExpectedShares } from "./expected-shares.ts";
import { runOnce } from "./run-once.ts";
import type { RunFigure, RunFigures } from "./run-tally.ts";
import { nodeRates, type FailureScenario, type RepairReading } from "./scenario.ts";
import { faultFreeThroughput, StepTimes } from "./step-time.ts";
import { strategyRules } from "./strategy.ts";

/** What to simulate. */
export interface SimulationSettings {
  readonly grid: Grid;
  readonly costs: CostProfile;
  readonly scenario: FailureScenario;
  /** Default "per-node". */
  readonly reading?: RepairReading;
  /** Default: all. */
  readonly strategies?: readonly StrategyName[];
  /** Simulated time of each run. Default: 1000 hours, 24 for grids of over 1000 nodes. */
  readonly hours?: number;
  /** Runs of each strategy. Default 5. */
  readonly seeds?: number;
  /** Of the first run; the others follow. Default 1. */
  readonly seed?: number;
  /** Stages that one worker may host, its own included. Default 4. */
  readonly maximumChain?: number;
  /** What becomes of the microbatches of a pipeline that cannot run. Default "drop". */
  readonly lostPipeline?: "reroute" | "drop";
  /** Default "exact". */
  readonly emptyMixer?: "exact" | "skip";
  /** Microbatches for each pipeline: as many for each, or as many as it is fast, which the paper does not do. Default "even". */
  readonly sharing?: "even" | "balanced";
  /** As many nodes up at the beginning as in the long run, or all. Default "stationary". */
  readonly start?: "healthy" | "stationary";
}

/** A mean over runs. */
export interface Estimate {
  readonly mean: number;
  /** Of the mean; null if there was one run only. */
  readonly standardError: number | null;
}

/** What one strategy comes to. */
export interface StrategyResult {
  readonly strategy: StrategyName;
  readonly assumption: string;
  /** Loss of throughput against nobody failing, a share. */
  readonly throughputDrop: Estimate;
  /** The same of tokens that count. */
  readonly goodputDrop: Estimate;
  readonly figures: { readonly [Name in RunFigure]: Estimate };
}

/** A simulation. */
export interface SimulationResult {
  readonly grid: Grid;
  readonly costs: { readonly name: string; readonly basis: string };
  readonly scenario: FailureScenario;
  readonly reading: RepairReading;
  readonly hours: number;
  readonly seeds: number;
  readonly seed: number;
  readonly maximumChain: number;
  readonly lostPipeline: "reroute" | "drop";
  readonly emptyMixer: "exact" | "skip";
  readonly sharing: "even" | "balanced";
  readonly start: "healthy" | "stationary";
  /** Tokens a second while nobody fails. */
  readonly faultFreeThroughput: number;
  /** Closed forms of the long run. */
  readonly expected: ExpectedShares;
  readonly strategies: readonly StrategyResult[];
}

/** Grids above this are simulated for a day, unless told otherwise. */
const MANY_NODES = 1000;
const MOST_SEEDS = 10_000;
/** Of all runs together; a run takes about a microsecond for each of its events and pipelines. */
const MOST_EVENTS = 1e9;

function estimate(values: readonly number[]): Estimate {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (values.length < 2) return { mean, standardError: null };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  return { mean, standardError: Math.sqrt(variance / values.length) };
}

function checkCount(name: string, value: number, greatest: number): void {
  if (!Number.isInteger(value) || value < 1 || value > greatest) {
    throw new SettingsError(`${name} is ${value}; use an integer from 1 to ${greatest}`);
  }
}

/**
 * Simulates a grid under failures and repairs, from event to event. All strategies meet the same failures; the same settings give the same
 * result.
 * @throws SettingsError for settings outside their range, or costs of another number of stages
 */
export function simulate(settings: SimulationSettings): SimulationResult {
  const { costs, scenario, reading = "per-node", strategies = strategyNames, seeds = 5, seed = 1, maximumChain = 4 } = settings;
  const { lostPipeline = "drop", emptyMixer = "exact", sharing = "even", start = "stationary" } = settings;
  const grid = checkGrid(settings.grid);
  const nodes = grid.pipelines * grid.stages;
  const hours = settings.hours ?? (nodes > MANY_NODES ? 24 : 1000);
  checkCount("seeds", seeds, MOST_SEEDS);
  checkCount("maximumChain", maximumChain, 4096);
  if (!Number.isSafeInteger(seed)) throw new SettingsError(`seed is ${seed}; use a safe integer`);
  const rates = nodeRates(scenario, reading);
  const expected = expectedShares(grid, rates);
  const events = 2 * (nodes - expected.nodesDown) * rates.failure * hours * 3600 * seeds * strategies.length;
  if (!(hours > 0) || !(events <= MOST_EVENTS)) {
    throw new SettingsError(
      `${hours} hours of ${nodes} nodes: use a positive time with at most ${MOST_EVENTS} failures and repairs in all runs`,
    );
  }
  const reference = faultFreeThroughput(costs, grid);
  const results = strategies.map((strategy): StrategyResult => {
    const rules = strategyRules[strategy];
    const stepTimes = new StepTimes({ grid, costs, doubleWork: rules.doubleWork, lostPipeline, emptyMixer, sharing });
    const runs: RunFigures[] = Array.from({ length: seeds }, (_, i) =>
      runOnce({ rules, costs, rates, stepTimes, maximumChain, grid, seconds: hours * 3600, seed: seed + i, start }),
    );
    const of = (name: RunFigure): Estimate => estimate(runs.map((run) => run[name]));
    return {
      strategy,
      assumption: rules.assumption,
      throughputDrop: estimate(runs.map(({ throughput }) => 1 - throughput / reference)),
      goodputDrop: estimate(runs.map(({ goodput }) => 1 - goodput / reference)),
      figures: Object.fromEntries((Object.keys(runs[0]!) as RunFigure[]).map((name) => [name, of(name)])) as StrategyResult["figures"],
    };
  });
  return {
    grid, costs: { name: costs.name, basis: costs.basis }, scenario, reading, hours, seeds, seed, maximumChain, lostPipeline, emptyMixer,
    sharing, start, faultFreeThroughput: reference, expected, strategies: results,
  };
}
