import type { HostRange } from "../grid/host-pipeline.ts";
import { pipelineSeconds, type HostTimes } from "./pipeline-schedule.ts";
import type { StageCosts } from "./stage-costs.ts";

/** How a host with several stages works: with the techniques, or in full. */
export type DoubleWork = "degraded" | "exact";

/** What a pipeline with certain hosts takes for any number of microbatches. */
export class PipelineTime {
  readonly hosts: readonly HostRange[];
  /** Stages whose mixer a degraded host differentiates all the same. */
  readonly exactMixers: readonly number[];
  readonly #times: readonly HostTimes[];
  readonly #linkSeconds: number;
  readonly #seconds: (number | undefined)[] = [0];

  /** @param stages costs of all stages */
  constructor(
    hosts: readonly HostRange[], stages: readonly StageCosts[], doubleWork: DoubleWork, exactMixers: readonly number[], linkSeconds: number,
  ) {
    this.hosts = hosts;
    this.exactMixers = exactMixers;
    this.#linkSeconds = linkSeconds;
    this.#times = hosts.map(({ from, to }) => {
      const isPlain = doubleWork === "exact" || to - from === 1;
      let forward = 0;
      let backward = 0;
      for (let stage = from; stage < to; stage++) {
        const costs = stages[stage]!;
        forward += isPlain ? costs.forward : costs.degradedForward;
        backward += isPlain ? costs.backward : exactMixers.includes(stage) ? costs.exactMixerBackward : costs.degradedBackward;
      }
      return { forward, backward };
    });
  }

  /** Under the 1F1B schedule. */
  seconds(microbatches: number): number {
    return (this.#seconds[microbatches] ??= pipelineSeconds(this.#times, microbatches, this.#linkSeconds));
  }
}
