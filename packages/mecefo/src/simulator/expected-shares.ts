import type { Grid } from "../grid/grid.ts";
import type { NodeRates } from "./scenario.ts";

/** What follows from the rates without a simulation, for nodes that fail and are repaired independently, in the long run. */
export interface ExpectedShares {
  /** Share of time that a node is down: failure / (failure + repair). */
  readonly nodeDown: number;
  /** Nodes down, on average. */
  readonly nodesDown: number;
  /** Share of time that all nodes are up. */
  readonly healthy: number;
  /** Share of time that two nodes side by side in one pipeline are down. */
  readonly adjacentPair: number;
  /** Share of time that all nodes of some stage are down. */
  readonly stageDown: number;
}

/** Probability that among `length` independent nodes in a row no two neighbours are down. */
function noAdjacentPair(length: number, down: number): number {
  let lastUp = 1;
  let lastDown = 0;
  for (let i = 0; i < length; i++) [lastUp, lastDown] = [(lastUp + lastDown) * (1 - down), lastUp * down];
  return lastUp + lastDown;
}

/** The closed forms that simulations are checked against. */
export function expectedShares({ pipelines, stages }: Grid, { failure, repair }: NodeRates): ExpectedShares {
  const nodeDown = failure / (failure + repair);
  return {
    nodeDown,
    nodesDown: pipelines * stages * nodeDown,
    healthy: (1 - nodeDown) ** (pipelines * stages),
    adjacentPair: 1 - noAdjacentPair(stages, nodeDown) ** pipelines,
    stageDown: 1 - (1 - nodeDown ** pipelines) ** stages,
  };
}
