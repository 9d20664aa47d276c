import { describe, expect, it } from "vitest";
import { allTechniques } from "../approximation/stage-mode.ts";
import { assign } from "../grid/assignment.ts";
import { hostPipeline } from "../grid/host-pipeline.ts";
import { GridState } from "./grid-state.ts";
import { RandomStream } from "./random-stream.ts";

describe("GridState", () => {
  it("counts the same as from scratch, whatever happens", () => {
    const random = new RandomStream(5);
    const grid = { pipelines: 3, stages: 5 };
    const state = new GridState(grid, 3);
    const live = Array.from({ length: 3 }, () => new Uint8Array(5).fill(1));
    for (let i = 0; i < 2000; i++) {
      const pipeline = random.index(3);
      const stage = random.index(5);
      const alive = live[pipeline]![stage] === 0;
      const runBefore = live.map((row) => hostPipeline(row, 3));
      const heldBefore = runBefore.map((hosts, p) =>
        hosts ?? [...live[p]!.keys()].filter((s) => live[p]![s] === 1).map((s) => ({ stage: s, from: s, to: s + 1 })),
      );
      live[pipeline]![stage] = alive ? 1 : 0;
      const change = state.change(pipeline, stage, alive);
      const hosts = live.map((row) => hostPipeline(row, 3));
      const stages = [0, 1, 2, 3, 4];
      expect(state.activePipelines).toBe(hosts.filter((one) => one !== undefined).length);
      expect(state.stagesDown).toBe(stages.filter((s) => live.every((row) => row[s] === 0)).length);
      const empty = stages.filter((s) => !hosts.some((one) => one?.some(({ from, to }) => from === s && to === s + 1)));
      expect(state.emptyMixerStages()).toEqual(empty);
      expect(state.emptyMixers).toBe(empty.length);
      expect(state.adjacentPipelines).toBe(live.filter((row) => /00/.test(row.join(""))).length);
      expect(state.longChains).toBe(hosts.filter((one) => one?.some(({ from, to }) => to - from > 2)).length);
      expect(change.wasActive).toBe(runBefore[pipeline] !== undefined);
      expect(change.isActive).toBe(hosts[pipeline] !== undefined);
      const lost = alive ? [] : stages.filter((s) => {
        const holders = heldBefore.flatMap((row, p) =>
          row.filter(({ from, to }) => from <= s && s < to).map((host) => ({ p, own: host.stage })),
        );
        return holders.length === 1 && holders[0]!.p === pipeline && holders[0]!.own === stage;
      });
      expect(change.lostStages).toEqual(lost);
    }
  });

  it("agrees with the assignments that workers go by", () => {
    const random = new RandomStream(6);
    const grid = { pipelines: 4, stages: 6 };
    const maximumChain = 3;
    const state = new GridState(grid, maximumChain);
    const live = Array.from({ length: grid.pipelines }, () => new Uint8Array(grid.stages).fill(1));
    const settings = {
      grid, maximumChain, strategy: "mecefo", techniques: allTechniques, microbatches: 1, lostPipeline: "drop", sharing: "even", emptyMixer: "skip",
    } as const;
    let inactive = 0;
    let empty = 0;
    for (let i = 0; i < 500; i++) {
      const [pipeline, stage] = [random.index(grid.pipelines), random.index(grid.stages)];
      const alive = live[pipeline]![stage] === 0;
      live[pipeline]![stage] = alive ? 1 : 0;
      state.change(pipeline, stage, alive);
      const { pipelines, mixerPipelines } = assign(settings, (slot) => live[slot.pipeline]![slot.stage] === 1);
      for (const { pipeline: number, active, hosts } of pipelines) {
        const runs = hosts.map(({ stage: own, from, to }) => ({ stage: own, from, to }));
        expect(state.hosts(number)).toEqual(active ? runs : undefined);
        inactive += active ? 0 : 1;
      }
      const without = [...mixerPipelines.keys()].filter((each) => mixerPipelines[each]!.length === 0);
      expect(state.emptyMixerStages()).toEqual(without);
      empty += without.length;
    }
    expect(Math.min(inactive, empty)).toBeGreaterThan(0);
  });

  it("says what has to be fetched", () => {
    const state = new GridState({ pipelines: 2, stages: 4 }, 4);
    // 2 takes 1 over; then 3 takes 2 over, and 0 takes 1.
    expect(state.change(0, 1, false)).toEqual({ wasActive: true, isActive: true, fetched: 1, chain: 2, lostStages: [] });
    expect(state.change(0, 2, false)).toEqual({ wasActive: true, isActive: true, fetched: 1, chain: 2, lostStages: [] });
    // 0 is left with all but 3: two more.
    expect(state.change(0, 3, false)).toEqual({ wasActive: true, isActive: true, fetched: 2, chain: 4, lostStages: [] });
    expect(state.change(0, 0, false)).toEqual({ wasActive: true, isActive: false, fetched: 0, chain: 0, lostStages: [] });
    // A returning worker fetches everything; the others nothing.
    expect(state.change(0, 2, true)).toEqual({ wasActive: false, isActive: true, fetched: 4, chain: 4, lostStages: [] });
    // 2 has 3 already: 1, which lies between them, goes to 0.
    expect(state.change(0, 0, true)).toEqual({ wasActive: true, isActive: true, fetched: 2, chain: 2, lostStages: [] });
  });
});
