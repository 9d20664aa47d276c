/** How failures are answered: the method, naive neighbour-do-both, the peers' ways, or not at all (plain data × pipeline parallelism). */
export type StrategyName = "mecefo" | "naive" | "drop-replica" | "checkpoint-restart" | "none";

/** All strategies. */
export const strategyNames: readonly StrategyName[] = ["mecefo", "naive", "drop-replica", "checkpoint-restart", "none"];

/** Whether a strategy lets neighbours host stages. */
export function hostsNeighbours(strategy: StrategyName): boolean {
  return strategy === "mecefo" || strategy === "naive";
}
