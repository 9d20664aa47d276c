import { SettingsError } from "../errors.ts";
import { formatGrid, type Grid } from "../grid/grid.ts";
import { stagesOfProfile, type CostProfile } from "./cost-profile.ts";
import type { GridState } from "./grid-state.ts";
import type { HostRange } from "../grid/host-pipeline.ts";
import { PipelineTime, type DoubleWork } from "./pipeline-time.ts";
import { balancedSeconds, evenSeconds } from "./sharing-seconds.ts";
import type { StageCosts } from "./stage-costs.ts";

/** What the time of a step depends on besides who is up. */
export interface StepTimeSettings {
  readonly grid: Grid;
  readonly costs: CostProfile;
  readonly doubleWork: DoubleWork;
  readonly lostPipeline: "reroute" | "drop";
  readonly emptyMixer: "exact" | "skip";
  /** As many microbatches for each pipeline, or as many as it is fast. */
  readonly sharing: "even" | "balanced";
}

/** Time and tokens of a step. */
export interface StepTime {
  /** Infinity where no pipeline runs. */
  readonly seconds: number;
  readonly tokens: number;
}

/** Pipelines with the same hosts take the same time; so many are remembered. */
const REMEMBERED = 10_000;

/** Times of steps under changing assignments. The schedule is walked through once for each distinct pipeline and number of microbatches. */
export class StepTimes {
  readonly #settings: StepTimeSettings;
  readonly #stages: readonly StageCosts[];
  readonly #known = new Map<string, PipelineTime>();
  readonly #last: { hosts: readonly HostRange[]; time: PipelineTime }[] = [];

  /** @throws SettingsError if the costs are of another number of stages */
  constructor(settings: StepTimeSettings) {
    this.#settings = settings;
    this.#stages = stagesOfProfile(settings.costs, settings.grid.stages);
  }

  #timeOf(hosts: readonly HostRange[], exactMixers: readonly number[]): PipelineTime {
    const key = `${exactMixers.join()} ${hosts.map(({ from }) => from).join()}`;
    let time = this.#known.get(key);
    if (time === undefined) {
      time = new PipelineTime(hosts, this.#stages, this.#settings.doubleWork, exactMixers, this.#settings.costs.linkSeconds);
      if (this.#known.size >= REMEMBERED) this.#known.clear();
      this.#known.set(key, time);
    }
    return time;
  }

  #timeOfPipeline(pipeline: number, hosts: readonly HostRange[]): PipelineTime {
    const last = this.#last[pipeline];
    if (last?.hosts === hosts) return last.time;
    const time = this.#timeOf(hosts, []);
    this.#last[pipeline] = { hosts, time };
    return time;
  }

  /** A step is as long as its slowest pipeline, and the update of the worker with the most stages. */
  step(state: GridState): StepTime {
    const { grid, costs, doubleWork, lostPipeline, emptyMixer, sharing } = this.#settings;
    const active = state.activePipelines;
    if (active === 0) return { seconds: Infinity, tokens: 0 };
    const total = costs.microbatches * (lostPipeline === "reroute" ? grid.pipelines : active);
    let chain = 1;
    const times: PipelineTime[] = [];
    for (let pipeline = 0; pipeline < grid.pipelines; pipeline++) {
      const hosts = state.hosts(pipeline);
      if (hosts === undefined) continue;
      times.push(this.#timeOfPipeline(pipeline, hosts));
      chain = Math.max(chain, state.chain(pipeline));
    }
    if (doubleWork === "degraded" && emptyMixer === "exact" && state.emptyMixers > 0) {
      this.#giveExactMixers(times, state.emptyMixerStages());
    }
    let seconds = sharing === "even" ? evenSeconds(times, total) : balancedSeconds(times, total);
    seconds += chain * costs.updateSeconds;
    if (doubleWork === "degraded" && chain > 1) seconds += (chain * costs.projection.seconds) / costs.projection.refreshInterval;
    return { seconds, tokens: total * costs.tokensPerMicrobatch };
  }

  /** Each mixer that nobody gives a gradient of is done exactly by the pipeline that has the most time left. */
  #giveExactMixers(times: PipelineTime[], stages: readonly number[]): void {
    for (const stage of stages) {
      const load = times.map((time) => time.seconds(this.#settings.costs.microbatches));
      const least = load.indexOf(Math.min(...load));
      const { hosts, exactMixers } = times[least]!;
      times[least] = this.#timeOf(hosts, [...exactMixers, stage]);
    }
  }
}

/** Tokens a second while nobody fails. @throws SettingsError if the costs are of another number of stages, or take no time */
export function faultFreeThroughput(costs: CostProfile, grid: Grid): number {
  const hosts = Array.from({ length: grid.stages }, (_, stage) => ({ stage, from: stage, to: stage + 1 }));
  const time = new PipelineTime(hosts, stagesOfProfile(costs, grid.stages), "exact", [], costs.linkSeconds);
  const seconds = time.seconds(costs.microbatches) + costs.updateSeconds;
  if (!(seconds > 0)) throw new SettingsError(`costs ${costs.name} of grid ${formatGrid(grid)}: a step takes ${seconds} s`);
  return (grid.pipelines * costs.microbatches * costs.tokensPerMicrobatch) / seconds;
}
