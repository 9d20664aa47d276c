import { SettingsError } from "../errors.ts";

/** How often nodes of a 32-node cluster fail and how long they are away, in the paper's words. */
export interface FailureScenario {
  readonly name: string;
  /** Mean hours between two failures in a whole cluster of `nodes` nodes that are all up. */
  readonly failureEveryHours: number;
  /** The paper's repair time in hours; `RepairReading` says of what. */
  readonly repairHours: number;
  /** The cluster that the rates are said of; larger grids keep the rates of a node. The paper: 32. */
  readonly nodes: number;
}

/**
 * What the paper's repair time is the time of. `per-node`: each failed node is back after that long. `cluster`: Table 9's recovery rates of
 * 1/128, 1/96 and 1/64 an hour and GPU, which is one recovery in that long in a cluster of 32 failed nodes.
 */
export type RepairReading = "per-node" | "cluster";

/** Rates of a two-state Markov chain, a second. */
export interface NodeRates {
  /** Of a node that is up. */
  readonly failure: number;
  /** Of a node that is down. */
  readonly repair: number;
}

/** The paper's scenarios (tables 1 and 9), with the one of its appendix that fails every ten minutes. */
export const paperScenarios: readonly FailureScenario[] = [
  { name: "low", failureEveryHours: 2, repairHours: 4, nodes: 32 },
  { name: "mid", failureEveryHours: 1, repairHours: 3, nodes: 32 },
  { name: "high", failureEveryHours: 0.5, repairHours: 2, nodes: 32 },
  { name: "higher", failureEveryHours: 1 / 6, repairHours: 2 / 3, nodes: 32 },
];

/** @throws SettingsError if no scenario of the paper has that name */
export function paperScenario(name: string): FailureScenario {
  const scenario = paperScenarios.find((one) => one.name === name);
  if (scenario !== undefined) return scenario;
  throw new SettingsError(`scenario "${name}" is none of ${paperScenarios.map((one) => one.name).join(", ")}`);
}

/** A node's rates under a scenario. @throws SettingsError for times that are not positive */
export function nodeRates(scenario: FailureScenario, reading: RepairReading): NodeRates {
  const { failureEveryHours, repairHours, nodes } = scenario;
  for (const [name, value] of Object.entries({ failureEveryHours, repairHours, nodes })) {
    if (!(value > 0 && value < 1e9)) throw new SettingsError(`scenario ${scenario.name}: ${name} is ${value}; use a positive number`);
  }
  return {
    failure: 1 / (failureEveryHours * 3600 * nodes),
    repair: 1 / (repairHours * 3600 * (reading === "cluster" ? nodes : 1)),
  };
}
