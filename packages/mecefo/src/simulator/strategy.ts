import type { StrategyName } from "../grid/strategy.ts";
import type { DoubleWork } from "./pipeline-time.ts";

/** What sets a strategy apart in the simulation. */
export interface StrategyRules {
  readonly strategy: StrategyName;
  /** What the simulation takes for granted about it. */
  readonly assumption: string;
  /** Whether nodes fail at all. */
  readonly fails: boolean;
  /** Whether a neighbour takes a dead worker's stage over. */
  readonly neighbours: boolean;
  readonly doubleWork: DoubleWork;
  /** Whether a failure sends everybody back to the last checkpoint. */
  readonly rollsBack: boolean;
}

/** The rules of all strategies. */
export const strategyRules: Readonly<Record<StrategyName, StrategyRules>> = {
  mecefo: {
    strategy: "mecefo", fails: true, neighbours: true, doubleWork: "degraded", rollsBack: false,
    assumption: "a neighbour does both jobs with the techniques; a failure costs the step under way, detection, settling and a fetch " +
      "from a peer",
  },
  naive: {
    strategy: "naive", fails: true, neighbours: true, doubleWork: "exact", rollsBack: false,
    assumption: "as mecefo, but both jobs in full; memory is not limited",
  },
  "drop-replica": {
    strategy: "drop-replica", fails: true, neighbours: false, doubleWork: "exact", rollsBack: false,
    assumption: "only complete pipelines train (torchft); live workers of the others stay replicas, so that only the returning one fetches",
  },
  "checkpoint-restart": {
    strategy: "checkpoint-restart", fails: true, neighbours: false, doubleWork: "exact", rollsBack: true,
    assumption: "a failure in a training pipeline restarts all from the last checkpoint on the complete pipelines; one that becomes " +
      "complete again is taken in by a planned restart",
  },
  none: {
    strategy: "none", fails: false, neighbours: false, doubleWork: "exact", rollsBack: false,
    assumption: "nobody fails: the reference of every drop",
  },
};
