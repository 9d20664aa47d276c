/** Simulation of a grid under failures and repairs. */
export { simulateAblation, type AblationRow } from "./ablation.ts";
export { costProfileSchema, parseCostProfile, type CostProfile } from "./cost-profile.ts";
export { expectedShares, type ExpectedShares } from "./expected-shares.ts";
export { costsOfModel, lowRankShare, type FlopModelSettings, type MachineAssumptions, type ModelShape } from "./flop-model.ts";
export { formatAblation, formatAssumptions, formatSimulation } from "./format-simulation.ts";
export { paperGrid, paperMachine, paperModelNames, paperModels, paperProfile, type PaperProfileSettings } from "./paper-models.ts";
export { paperAblation, paperThroughputs, type PaperAblation, type PaperModelName, type PaperThroughput } from "./paper-tables.ts";
export { pipelineSeconds, type HostTimes } from "./pipeline-schedule.ts";
export type { RunFigure, RunFigures } from "./run-tally.ts";
export { nodeRates, paperScenario, paperScenarios, type FailureScenario, type NodeRates, type RepairReading } from "./scenario.ts";
export { simulate, type Estimate, type SimulationResult, type SimulationSettings, type StrategyResult } from "./simulate.ts";
export { doubleWorkFactor, stageCosts, type StageCosts, type StageParts } from "./stage-costs.ts";
export { faultFreeThroughput } from "./step-time.ts";
