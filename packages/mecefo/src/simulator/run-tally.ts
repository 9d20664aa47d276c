import type { CostProfile } from "./cost-profile.ts";
import type { GridState } from "./grid-state.ts";
import type { StepTime } from "./step-time.ts";

/** What a run comes to. Shares are of time. */
export interface RunFigures {
  /** Tokens of all steps that were taken, a second. */
  readonly throughput: number;
  /** Without those that were rolled back afterwards: tokens that count. */
  readonly goodput: number;
  readonly nodesDown: number;
  /** All nodes up. */
  readonly healthyShare: number;
  /** Two nodes side by side in one pipeline are down. */
  readonly adjacentPairShare: number;
  /** Some worker hosts three stages or more. */
  readonly longChainShare: number;
  /** Some stage has no pipeline that gives its mixer's gradient: N(l) is empty. */
  readonly emptyMixerShare: number;
  /** Some pipeline does not run. */
  readonly pipelineLostShare: number;
  /** Pipelines that do not run, on average. */
  readonly pipelinesLost: number;
  /** All own workers of some stage are down (neighbours may host it). */
  readonly stageDownShare: number;
  /** No pipeline runs. */
  readonly gridLostShare: number;
  /** Nothing is computed, for whatever reason. */
  readonly stalledShare: number;
  readonly failures: number;
  readonly repairs: number;
  /** Failures that training stood still for. */
  readonly recoveries: number;
  /** Times that a stage's state was left in the checkpoint only. */
  readonly stagesLost: number;
  /** Tokens of steps that were rolled back. */
  readonly rolledBackTokens: number;
  /** Tokens of steps that were begun again. */
  readonly abandonedTokens: number;
}

/** Names of the figures. */
export type RunFigure = keyof RunFigures;

/** Adds up what happens in a run. */
export class RunTally {
  failures = 0;
  repairs = 0;
  recoveries = 0;
  stagesLost = 0;
  #tokens = 0;
  #rolledBack = 0;
  #abandoned = 0;
  /** Of the step under way: share done, and its tokens. */
  #fraction = 0;
  #partial = 0;
  /** Since the last checkpoint. */
  #sinceSeconds = 0;
  #sinceTokens = 0;
  readonly #shares = {
    healthy: 0, adjacentPair: 0, longChain: 0, emptyMixer: 0, pipelineLost: 0, stageDown: 0, gridLost: 0, stalled: 0,
  };
  #nodeSeconds = 0;
  #pipelineSeconds = 0;

  /** Time goes by under one assignment. */
  pass(elapsed: number, working: number, nodesDown: number, state: GridState): void {
    const shares = this.#shares;
    const lost = state.grid.pipelines - state.activePipelines;
    if (nodesDown === 0) shares.healthy += elapsed;
    if (state.adjacentPipelines > 0) shares.adjacentPair += elapsed;
    if (state.longChains > 0) shares.longChain += elapsed;
    if (state.emptyMixers > 0) shares.emptyMixer += elapsed;
    if (lost > 0) shares.pipelineLost += elapsed;
    if (state.stagesDown > 0) shares.stageDown += elapsed;
    if (state.activePipelines === 0) shares.gridLost += elapsed;
    shares.stalled += elapsed - working;
    this.#nodeSeconds += nodesDown * elapsed;
    this.#pipelineSeconds += lost * elapsed;
  }

  /** Steps are taken. */
  work(seconds: number, step: StepTime, { everySeconds, writeSeconds }: CostProfile["checkpoint"]): void {
    const training = seconds * (everySeconds / (everySeconds + writeSeconds));
    const steps = training / step.seconds;
    const tokens = steps * step.tokens;
    this.#tokens += tokens;
    const total = this.#fraction + steps;
    this.#fraction = total % 1;
    this.#partial = total < 1 ? this.#partial + tokens : this.#fraction * step.tokens;
    const since = this.#sinceSeconds + training;
    this.#sinceSeconds = since % everySeconds;
    this.#sinceTokens = since < everySeconds ? this.#sinceTokens + tokens : (this.#sinceSeconds / step.seconds) * step.tokens;
  }

  /** The step under way has to be begun again. */
  abandonStep(): void {
    this.#tokens -= this.#partial;
    this.#abandoned += this.#partial;
    this.#sinceTokens = Math.max(0, this.#sinceTokens - this.#partial);
    this.#fraction = 0;
    this.#partial = 0;
  }

  /** Everybody goes back to the last checkpoint. */
  rollBack(): void {
    this.#rolledBack += this.#sinceTokens;
    this.checkpoint();
  }

  /** A checkpoint is written, or read. */
  checkpoint(): void {
    this.#sinceSeconds = 0;
    this.#sinceTokens = 0;
  }

  figures(seconds: number): RunFigures {
    const share = (value: number): number => value / seconds;
    const shares = this.#shares;
    return {
      throughput: share(this.#tokens),
      goodput: share(this.#tokens - this.#rolledBack),
      nodesDown: share(this.#nodeSeconds),
      healthyShare: share(shares.healthy),
      adjacentPairShare: share(shares.adjacentPair),
      longChainShare: share(shares.longChain),
      emptyMixerShare: share(shares.emptyMixer),
      pipelineLostShare: share(shares.pipelineLost),
      pipelinesLost: share(this.#pipelineSeconds),
      stageDownShare: share(shares.stageDown),
      gridLostShare: share(shares.gridLost),
      stalledShare: share(shares.stalled),
      failures: this.failures,
      repairs: this.repairs,
      recoveries: this.recoveries,
      stagesLost: this.stagesLost,
      rolledBackTokens: this.#rolledBack,
      abandonedTokens: this.#abandoned,
    };
  }
}
