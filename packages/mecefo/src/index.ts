/** Fault-tolerant training: runs and their parts, the method's pieces, the simulator, chaos, reports. For Node. */
export * from "./errors.ts";

export {
  startTraining, trainFaultTolerant, type TrainingOptions, type TrainingResult, type TrainingRun,
} from "./runtime/training-run.ts";
export { runWorker, type RunWorkerOptions } from "./runtime/run-worker.ts";
export type { GridRuntime, WorkerFault } from "./runtime/grid-runtime.ts";
export { InProcessGrid, type InProcessGridOptions } from "./runtime/in-process-grid.ts";
export { ProcessGrid, type LaunchedControl, type ProcessGridOptions } from "./runtime/process-grid.ts";
export { startEmbeddedControl, type EmbeddedControlOptions } from "./runtime/embedded-control.ts";
export { createMembership, type NetworkMembershipOptions } from "./runtime/create-membership.ts";
export { startNatsControl } from "./runtime/nats-control.ts";
export { leaderCheckpoints, resumePoint, workerCheckpoints, type LeaderCheckpoints } from "./runtime/job-checkpoints.ts";
export { parseJoinUrl, type JoinTarget } from "./membership/join-url.ts";
export { Worker } from "./worker/worker.ts";
export type { WorkerCheckpoints, WorkerOptions, WorkerOutcome } from "./worker/worker-options.ts";
export type { HeldStage } from "./worker/held-stage.ts";
export type { StageParameter, StageReplica, StageReplicaOptions } from "./worker/stage-replica.ts";
export type { ParameterState, StageState } from "./worker/stage-state.ts";

export { checkJob, createJob, type JobOptions } from "./job/create-job.ts";
export { readJob, writeJob } from "./job/job-file.ts";
export { jobHash } from "./job/job-hash.ts";
export type { Job, JobModel, OptimizerSettings } from "./job/job.ts";
export { hostsNeighbours, strategyNames, type StrategyName } from "./grid/strategy.ts";
export {
  isModelPreset, modelPresetNames, modelPresets, presetConfiguration, type ModelPresetName, type PresetSettings, type PresetSizes,
} from "./job/model-presets.ts";
export type { StageFactory, StageParts } from "./job/stage-factory.ts";
export { decoderStageFactory, openStageFactory } from "./job/decoder-stages.ts";
export { openCodec } from "./job/open-codec.ts";
export type { TokenizerChoice } from "./job/data-tokenizer.ts";
export type { TextSource } from "./job/text-files.ts";
export {
  describeData, openData, openTokenizer, prepareData, type DataOptions, type PreparedData, type TokenData,
} from "./job/prepare-data.ts";
export { createSampler, type Microbatch, type MicrobatchSampler, type SamplerJob } from "./job/sampler.ts";

export { checkGrid, formatGrid, parseGrid, parseSlot, slotName, slotsOf, type Grid, type Slot } from "./grid/grid.ts";
export { partitionBlocks, type StagePartition } from "./grid/stage-partition.ts";
export {
  assign, type Assignment, type AssignmentSettings, type HostAssignment, type PipelineAssignment,
} from "./grid/assignment.ts";

export {
  allTechniques, noTechniques, type ProjectionBasis, type ProjectionSettings, type StageMode, type Techniques,
} from "./approximation/stage-mode.ts";
export { exactWeightGradient, lowRankCoordinates, lowRankWeightGradient, projectInputs } from "./approximation/low-rank-gradient.ts";
export { rankOf, rightSingularBasis, type BasisOptions } from "./approximation/right-singular-basis.ts";
export {
  ProjectionStore, type CapturedEnergy, type FeedForwardMatrix, type ProjectionStoreOptions, type WeightGradientParts,
} from "./approximation/projection-store.ts";
export {
  averageGradient, expectedAveragingError, expectedProjectionError, relativeSquaredError, type GradientPair,
} from "./approximation/gradient-error.ts";
export { StageExecutor, type StageExecutorOptions } from "./pipeline/stage-executor.ts";
export type { GradientSource, StageGradients } from "./collectives/stage-gradients.ts";
export { GradientSums } from "./pipeline/gradient-sums.ts";
export type { StageInput, StagePass } from "./pipeline/stage-pass.ts";
export { oneForwardOneBackward, type PipelineAction } from "./pipeline/one-forward-one-backward.ts";
export { VirtualGrid, type VirtualGridOptions, type VirtualStep } from "./virtual-grid/virtual-grid.ts";
export { ringAllReduce, ringReduceInOrder, type RingAllReduceOptions } from "./collectives/ring-all-reduce.ts";

export {
  messageKinds, type MessageKind, type MessageTag, type Peer, type ReceivedMessage, type Transport, type TransportFault,
  type TransportStatistics,
} from "./transport/transport.ts";
export { createSocketTransport, type SocketTransport, type SocketTransportOptions } from "./transport/socket-transport.ts";
export { createThreadedTransport, type ThreadedTransport, type ThreadedTransportOptions } from "./transport/threaded-transport.ts";
export { startNetworkThread, type NetworkThread, type NetworkThreadOptions } from "./start-network-thread.ts";
export {
  createMemoryTransport, MemoryHub, type MemoryTransport, type MemoryTransportOptions,
} from "./transport/memory-transport.ts";
export type { Link, LinkDriver } from "./transport/link-table.ts";
export { Mailbox, type MailboxOptions } from "./transport/mailbox.ts";

export { timeoutDefaults, type TimeoutName, type Timeouts } from "./job/timeouts.ts";
export type { ControlPlane, Leadership, Membership, Sender } from "./membership/membership.ts";
export {
  epochCauses, type ClusterState, type Decision, type EpochCause, type LoadSource, type Member, type RestorePoint,
} from "./membership/cluster-state.ts";
export type {
  Hello, Leaving, ProgressReport, Settled, Shard, StageVote, StepTimings, Trouble, Vote, WorkerCommand, WorkerReport,
} from "./membership/worker-report.ts";
export { Controller, type ControllerOptions } from "./leader/controller.ts";
export type { CommitCheckpoint } from "./leader/checkpoint-book.ts";
export {
  startCoordinator, type Coordinator, type CoordinatorOptions, type CoordinatorStatistics,
} from "./membership/coordinator.ts";
export type { CreateLeadership, StoppableLeadership } from "./membership/leadership-host.ts";
export { createCoordinatorMembership, type CoordinatorMembershipOptions } from "./membership/coordinator-membership.ts";
export {
  createNatsMembership, type NatsCreateLeadership, type NatsMembership, type NatsMembershipOptions,
} from "./membership/nats/nats-membership.ts";
export {
  fetchNatsJob, observeNats, publishNatsJob, removeNatsJob, type NatsObserver, type NatsObserverOptions,
} from "./membership/nats/nats-observer.ts";
export type { NatsAccess } from "./membership/nats/nats-link.ts";
export { natsAccess } from "./membership/join-access.ts";
export type { ClusterObserver } from "./membership/cluster-observer.ts";
export { observeCluster } from "./membership/observe-cluster.ts";
export {
  createInProcessMembership, type InProcessClient, type InProcessMembership, type InProcessMembershipOptions,
} from "./membership/in-process-membership.ts";

export { latestCheckpoint, openCheckpoint, type Checkpoint } from "./checkpoint/open-checkpoint.ts";
export type { CheckpointManifest, CheckpointShard, ResumeIdentity } from "./checkpoint/manifest.ts";
export {
  evaluateCheckpoint, exportModel, openTrainedModel, type Evaluation, type EvaluationOptions,
} from "./checkpoint/trained-model.ts";

export {
  faultKinds, parseFaults, parseFaultScheduleSettings, type Fault, type FaultKind, type FaultScheduleSettings,
} from "./chaos/fault-schedule-format.ts";
export { createFaultSchedule, type FaultSchedule } from "./chaos/fault-schedule.ts";
export { readFaults, ReplayedFaults, type FaultSource } from "./chaos/replayed-faults.ts";
export { attachedTarget } from "./chaos/attached-target.ts";
export { Chaos, toWorkerFault, type ChaosOptions, type ChaosReport, type ChaosTarget } from "./chaos/run-chaos.ts";
export { judgeSoak, type SoakVerdict } from "./chaos/soak-verdict.ts";

export {
  startDashboard, type Dashboard, type DashboardFault, type DashboardOptions,
} from "./dashboard/dashboard-server.ts";
export type { RunMetrics } from "./dashboard/metrics.ts";
export type { EpochEvent, RecoveryEvent, RunEvent, StepEvent } from "./membership/run-event.ts";
export {
  EventLog, readEvents, streamEvents, type BrokenLastLine, type EventLogContents, type ReadEventsOptions,
} from "./report/event-log.ts";
export {
  checkLedger, compareDataOrder, type LedgerJob, type LedgerReport, type LedgerViolation, type LedgerViolationKind, type Rollback,
} from "./report/ledger.ts";
export { summarizeRun, type RecoveryFigures, type RunSummary } from "./report/run-summary.ts";
export { renderRunReport, type ReportedRun } from "./report/run-report.ts";
export { MissingPeerError } from "./report/charts.ts";

export {
  costProfileSchema, costsOfModel, doubleWorkFactor, expectedShares, faultFreeThroughput, formatAblation, formatAssumptions,
  formatSimulation, lowRankShare, nodeRates, paperAblation, paperGrid, paperMachine, paperModelNames, paperModels, paperProfile,
  paperScenario, paperScenarios, paperThroughputs, parseCostProfile, pipelineSeconds, simulate, simulateAblation, stageCosts,
  type AblationRow, type CostProfile, type Estimate, type ExpectedShares, type FailureScenario, type FlopModelSettings, type HostTimes,
  type MachineAssumptions, type ModelShape, type NodeRates, type PaperAblation, type PaperModelName, type PaperProfileSettings,
  type PaperThroughput, type RepairReading, type RunFigure, type RunFigures, type SimulationResult, type SimulationSettings,
  type StageCosts, type StageParts as StageCostParts, type StrategyResult,
} from "./simulator/index.ts";
