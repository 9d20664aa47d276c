import type { Grid } from "../grid/grid.ts";
import { hostPipeline, type HostRange } from "../grid/host-pipeline.ts";

/** What one node's death or return changed. */
export interface GridChange {
  /** Whether the node's pipeline ran before, and runs now. */
  readonly wasActive: boolean;
  readonly isActive: boolean;
  /** The most stages that any one worker has to fetch. */
  readonly fetched: number;
  /** The most stages that a worker which has to fetch some hosts now. */
  readonly chain: number;
  /** Stages that only the dead node held. */
  readonly lostStages: readonly number[];
}

/** Who is up and who hosts what. Only the pipeline that a change touches is assigned anew. */
export class GridState {
  readonly grid: Grid;
  readonly #maximumChain: number;
  readonly #live: Uint8Array[];
  readonly #hosts: (readonly HostRange[] | undefined)[];
  /** By pipeline: the longest chain, 0 where it does not run; and whether two nodes side by side are down. */
  readonly #chains: Int32Array;
  readonly #adjacent: Uint8Array;
  /** By stage: live workers whose own it is; pipelines that give its mixer's gradient. */
  readonly #ownLive: Int32Array;
  readonly #mixers: Int32Array;
  #activePipelines: number;
  #adjacentPipelines = 0;
  #stagesDown = 0;
  #emptyMixers = 0;
  #longChains = 0;

  /** All nodes are up. @param maximumChain 1 = only complete pipelines run */
  constructor(grid: Grid, maximumChain: number) {
    this.grid = grid;
    this.#maximumChain = maximumChain;
    this.#live = Array.from({ length: grid.pipelines }, () => new Uint8Array(grid.stages).fill(1));
    this.#hosts = this.#live.map((live) => hostPipeline(live, maximumChain));
    this.#chains = new Int32Array(grid.pipelines).fill(1);
    this.#adjacent = new Uint8Array(grid.pipelines);
    this.#ownLive = new Int32Array(grid.stages).fill(grid.pipelines);
    this.#mixers = new Int32Array(grid.stages).fill(grid.pipelines);
    this.#activePipelines = grid.pipelines;
  }

  get activePipelines(): number {
    return this.#activePipelines;
  }

  /** Pipelines with two nodes side by side down. */
  get adjacentPipelines(): number {
    return this.#adjacentPipelines;
  }

  /** Stages all of whose own workers are down. */
  get stagesDown(): number {
    return this.#stagesDown;
  }

  /** Stages with N(l) empty: every pipeline's host is dead or has double work. */
  get emptyMixers(): number {
    return this.#emptyMixers;
  }

  /** Pipelines in which a worker hosts three stages or more. */
  get longChains(): number {
    return this.#longChains;
  }

  /** In stage order; undefined: the pipeline does not run. */
  hosts(pipeline: number): readonly HostRange[] | undefined {
    return this.#hosts[pipeline];
  }

  /** Stages of the worker with the most of them; 0: the pipeline does not run. */
  chain(pipeline: number): number {
    return this.#chains[pipeline]!;
  }

  /** Numbers of the stages with N(l) empty. */
  emptyMixerStages(): number[] {
    return [...this.#mixers.keys()].filter((stage) => this.#mixers[stage] === 0);
  }

  #countMixers(hosts: readonly HostRange[] | undefined, by: 1 | -1): void {
    for (const { stage, from, to } of hosts ?? []) {
      if (to - from > 1) continue;
      const before = this.#mixers[stage]!;
      this.#mixers[stage] = before + by;
      if (before === 0) this.#emptyMixers--;
      else if (before + by === 0) this.#emptyMixers++;
    }
  }

  #countOwn(stage: number, by: 1 | -1): void {
    const before = this.#ownLive[stage]!;
    this.#ownLive[stage] = before + by;
    if (before === 0) this.#stagesDown--;
    else if (before + by === 0) this.#stagesDown++;
  }

  /** A node dies or comes back; it must not be so already. */
  change(pipeline: number, stage: number, alive: boolean): GridChange {
    const live = this.#live[pipeline]!;
    const before = this.#hosts[pipeline];
    // What each live worker held: its range, or its own stage where the pipeline did not run.
    const held = Array.from(live, (up, own): HostRange | undefined => (up === 0 ? undefined : { stage: own, from: own, to: own + 1 }));
    for (const host of before ?? []) held[host.stage] = host;
    live[stage] = alive ? 1 : 0;
    const after = hostPipeline(live, this.#maximumChain);
    this.#hosts[pipeline] = after;
    this.#countOwn(stage, alive ? 1 : -1);
    this.#countMixers(before, -1);
    this.#countMixers(after, 1);
    this.#activePipelines += (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
    const isAdjacent = live.some((up, i) => up === 0 && live[i + 1] === 0) ? 1 : 0;
    this.#adjacentPipelines += isAdjacent - this.#adjacent[pipeline]!;
    this.#adjacent[pipeline] = isAdjacent;
    const longest = (after ?? []).reduce((most, { from, to }) => Math.max(most, to - from), 0);
    this.#longChains += (longest > 2 ? 1 : 0) - (this.#chains[pipeline]! > 2 ? 1 : 0);
    this.#chains[pipeline] = longest;

    let fetched = 0;
    let chain = 0;
    for (const { stage: own, from, to } of after ?? (alive ? [{ stage, from: stage, to: stage + 1 }] : [])) {
      const had = held[own];
      const kept = had === undefined ? 0 : Math.max(0, Math.min(to, had.to) - Math.max(from, had.from));
      if (to - from === kept) continue;
      fetched = Math.max(fetched, to - from - kept);
      chain = Math.max(chain, to - from);
    }
    const othersRun = this.#activePipelines > (after === undefined ? 0 : 1);
    const lostStages: number[] = [];
    if (!alive && !othersRun) {
      const { from, to } = held[stage]!;
      for (let of = from; of < to; of++) if (this.#ownLive[of] === 0) lostStages.push(of);
    }
    return { wasActive: before !== undefined, isActive: after !== undefined, fetched, chain, lostStages };
  }
}
