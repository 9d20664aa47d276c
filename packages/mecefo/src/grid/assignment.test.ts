import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allTechniques, noTechniques } from "../approximation/stage-mode.ts";
import { strategyNames } from "../grid/strategy.ts";
import { assign, type Assignment, type AssignmentSettings, type PipelineAssignment } from "./assignment.ts";
import { hostsNeighbours } from "./strategy.ts";
import { slotName, slotsOf, type Grid } from "./grid.ts";

function settings(grid: Grid, more: Partial<AssignmentSettings> = {}): AssignmentSettings {
  return {
    grid, strategy: "mecefo", techniques: allTechniques, maximumChain: grid.stages, lostPipeline: "reroute", sharing: "even", emptyMixer: "exact",
    microbatches: 2, ...more,
  };
}

/** Lives by pipeline: "1011 1111". */
function assignTo(lives: string, more: Partial<AssignmentSettings> = {}): Assignment {
  const rows = lives.split(" ");
  return assign(settings({ pipelines: rows.length, stages: rows[0]!.length }, more), ({ pipeline, stage }) => rows[pipeline]![stage] === "1");
}

const runsOf = ({ hosts }: PipelineAssignment): string => hosts.map(({ stage, from, to }) => `${stage}:${from}-${to}`).join(" ");

/** Hosting in the first pipeline; the second one is whole. */
const hosting = (live: string, more: Partial<AssignmentSettings> = {}): string => {
  const [first] = assignTo(`${live} ${"1".repeat(live.length)}`, more).pipelines;
  return first!.active ? runsOf(first!) : "inactive";
};

const gives = (assignment: Assignment, pipeline: number, stage: number): boolean => {
  const host = assignment.pipelines[pipeline]!.hosts.find(({ from, to }) => from <= stage && stage < to)!;
  const { techniques, exactMixer } = host.modes[stage - host.from]!;
  return techniques?.skipMixerBackward !== true || exactMixer === true;
};

describe("assign", () => {
  it("leaves everybody its own stage while all are there", () => {
    const assignment = assignTo("111 111");
    expect(assignment.pipelines.map(runsOf)).toEqual(["0:0-1 1:1-2 2:2-3", "0:0-1 1:1-2 2:2-3"]);
    expect(assignment.pipelines.flatMap(({ hosts }) => hosts.flatMap(({ modes }) => modes))).toEqual(Array(6).fill({}));
    expect(assignment.mixerPipelines).toEqual([[0, 1], [0, 1], [0, 1]]);
    expect(assignment.pipelines.map(({ microbatches }) => microbatches)).toEqual([[0, 1], [2, 3]]);
    expect(assignment).toMatchObject({ healthy: true, trainable: true, lostStages: [] });
  });

  it("gives a dead stage to s+1, to s-1 where there is none after it, or where s+1 has more to do", () => {
    expect(hosting("1011")).toBe("0:0-1 2:1-3 3:3-4");
    expect(hosting("0111")).toBe("1:0-2 2:2-3 3:3-4");
    expect(hosting("1110")).toBe("0:0-1 1:1-2 2:2-4");
    // Stage 2 has stage 3 already, and stage 0 nothing but its own.
    expect(hosting("1010")).toBe("0:0-2 2:2-4");
  });

  it("gives chains to the nearest, and their middle to whoever has less to do in the end", () => {
    expect(hosting("10011")).toBe("0:0-2 3:2-4 4:4-5");
    expect(hosting("0001")).toBe("3:0-4");
    expect(hosting("100010")).toBe("0:0-3 4:3-6");
    expect(hosting("1000100")).toBe("0:0-3 4:3-7");
    expect(hosting("0010001")).toBe("2:0-4 6:4-7");
  });

  it("takes a pipeline out whose chains exceed the cap, but not one that just fits", () => {
    expect(hosting("1001", { maximumChain: 2 })).toBe("0:0-2 3:2-4");
    expect(hosting("1001", { maximumChain: 1 })).toBe("inactive");
    expect(hosting("10000", { maximumChain: 4 })).toBe("inactive");
    // Possible only with the middle of the gap on the left.
    expect(hosting("1000100", { maximumChain: 4 })).toBe("0:0-3 4:3-7");
    const { pipelines, healthy, trainable, mixerPipelines } = assignTo("1001 1111", { maximumChain: 1 });
    expect(runsOf(pipelines[0]!)).toBe("0:0-1 3:3-4");
    expect(pipelines[0]!.hosts.map(({ modes }) => modes)).toEqual([[{}], [{}]]);
    expect({ healthy, trainable }).toEqual({ healthy: false, trainable: true });
    expect(mixerPipelines).toEqual([[1], [1], [1], [1]]);
  });

  it("reroutes the microbatches of a pipeline that is out, or drops them", () => {
    const lives = "00 11 11";
    expect(assignTo(lives, { microbatches: 3 }).pipelines.map(({ microbatches }) => microbatches)).toEqual([[], [3, 4, 5, 0, 2], [6, 7, 8, 1]]);
    expect(assignTo(lives, { microbatches: 3, lostPipeline: "drop" }).pipelines.map(({ microbatches }) => microbatches)).toEqual([[], [3, 4, 5], [6, 7, 8]]);
    expect(assignTo("00 00", { microbatches: 3 })).toMatchObject({ trainable: false, lostStages: [0, 1] });
  });

  it("leaves the failed stage and its neighbour out of N(l) in their pipeline (spec §1.11, point 5)", () => {
    const assignment = assignTo("1111 1101 1111 1111");
    expect(runsOf(assignment.pipelines[1]!)).toBe("0:0-1 1:1-2 3:2-4");
    expect(assignment.mixerPipelines).toEqual([[0, 1, 2, 3], [0, 1, 2, 3], [0, 2, 3], [0, 2, 3]]);
    expect(assignment.pipelines[1]!.hosts.map(({ modes }) => modes)).toEqual([[{}], [{}], [{ techniques: allTechniques }, { techniques: allTechniques }]]);
  });

  it("counts degraded pipelines in N(l) when technique I is off", () => {
    const { mixerPipelines, pipelines } = assignTo("101 111", { techniques: { ...allTechniques, skipMixerBackward: false } });
    expect(mixerPipelines).toEqual([[0, 1], [0, 1], [0, 1]]);
    expect(pipelines[0]!.hosts.flatMap(({ modes }) => modes.map(({ exactMixer }) => exactMixer))).toEqual([undefined, undefined, undefined]);
  });

  it("has the pipeline whose host has the least to do compute a mixer that nobody else would, or nobody", () => {
    // Stages 2 and 3 have no healthy host: pipeline 0 hosts stage 2 in a chain of three, pipeline 1 in one of two.
    const exact = assignTo("1001 1101");
    expect(exact.pipelines.map(runsOf)).toEqual(["0:0-2 3:2-4", "0:0-1 1:1-2 3:2-4"]);
    expect(exact.mixerPipelines).toEqual([[1], [1], [0], [0]]);
    const longer = assignTo("00011 11101");
    expect(longer.pipelines.map(runsOf)).toEqual(["3:0-4 4:4-5", "0:0-1 1:1-2 2:2-3 4:3-5"]);
    expect(longer.mixerPipelines).toEqual([[1], [1], [1], [1], [0]]);
    const third = longer.pipelines[1]!.hosts.at(-1)!;
    expect(third.modes).toEqual([{ techniques: allTechniques, exactMixer: true }, { techniques: allTechniques }]);
    const skipped = assignTo("1001 1101", { emptyMixer: "skip" });
    expect(skipped.mixerPipelines).toEqual([[1], [1], [], []]);
    expect(skipped.pipelines.flatMap(({ hosts }) => hosts.flatMap(({ modes }) => modes.map(({ exactMixer }) => exactMixer))).some(Boolean)).toBe(false);
  });

  it("names stages that nobody hosts anywhere, also where others of their pipelines live", () => {
    expect(assignTo("101 101", { strategy: "drop-replica" })).toMatchObject({ lostStages: [1], trainable: false });
    expect(assignTo("101 101")).toMatchObject({ lostStages: [], trainable: true });
    expect(assignTo("1000 0001", { maximumChain: 2 })).toMatchObject({ lostStages: [1, 2], trainable: false });
    // Every stage has a holder, but no pipeline can run.
    expect(assignTo("10 01", { strategy: "drop-replica" })).toMatchObject({ lostStages: [], trainable: false });
  });

  it("answers a death as each strategy does", () => {
    const answers = Object.fromEntries(strategyNames.map((strategy) => {
      const { pipelines, trainable, mixerPipelines } = assignTo("101 111", { strategy, techniques: strategy === "mecefo" ? allTechniques : noTechniques });
      return [strategy, { first: pipelines[0]!.active ? runsOf(pipelines[0]!) : "inactive", trainable, middle: mixerPipelines[1] }];
    }));
    expect(answers).toEqual({
      mecefo: { first: "0:0-1 2:1-3", trainable: true, middle: [1] },
      naive: { first: "0:0-1 2:1-3", trainable: true, middle: [0, 1] },
      "drop-replica": { first: "inactive", trainable: true, middle: [1] },
      "checkpoint-restart": { first: "inactive", trainable: false, middle: [1] },
      none: { first: "inactive", trainable: false, middle: [1] },
    });
  });

  it("keeps its promises for any live set", () => {
    const grids = fc.record({ pipelines: fc.integer({ min: 1, max: 5 }), stages: fc.integer({ min: 1, max: 9 }) });
    const cases = grids.chain((grid) => fc.record({
      grid: fc.constant(grid), dead: fc.array(fc.constantFrom(...slotsOf(grid).map(slotName))), maximumChain: fc.integer({ min: 1, max: grid.stages }),
      strategy: fc.constantFrom(...strategyNames), skipMixerBackward: fc.boolean(), emptyMixer: fc.constantFrom("exact" as const, "skip" as const),
      lostPipeline: fc.constantFrom("reroute" as const, "drop" as const), sharing: fc.constantFrom("even" as const, "balanced" as const), microbatches: fc.integer({ min: 1, max: 5 }),
    }));
    fc.assert(fc.property(cases, ({ dead, skipMixerBackward, ...more }) => {
      const { grid, maximumChain, strategy, emptyMixer, lostPipeline, microbatches } = more;
      const full = settings(grid, { ...more, techniques: { ...noTechniques, skipMixerBackward } });
      const isLive = (slot: { pipeline: number; stage: number }): boolean => !dead.includes(slotName(slot));
      const assignment = assign(full, isLive);
      expect(assign(full, isLive)).toEqual(assignment);
      for (const { pipeline, hosts, active, microbatches: share } of assignment.pipelines) {
        expect(hosts.map(({ stage }) => stage)).toEqual(slotsOf(grid).filter((slot) => slot.pipeline === pipeline && isLive(slot)).map(({ stage }) => stage));
        let next = 0;
        for (const { stage, from, to, modes } of hosts) {
          expect(from <= stage && stage < to && modes.length === to - from).toBe(true);
          if (active) expect(from).toBe(next);
          else expect([from, to]).toEqual([stage, stage + 1]);
          next = to;
          if (to - from > 1) expect(to - from <= maximumChain && hostsNeighbours(strategy)).toBe(true);
          expect(modes.every(({ techniques }) => (techniques !== undefined) === (to - from > 1))).toBe(true);
          // Nobody nearer is alive.
          for (let stageOf = from; stageOf < to; stageOf++) {
            expect(hosts.every((other) => Math.abs(other.stage - stageOf) >= Math.abs(stage - stageOf))).toBe(true);
          }
        }
        if (active) expect(next).toBe(grid.stages);
        else expect(share).toEqual([]);
      }
      const trained = assignment.pipelines.flatMap(({ microbatches: share }) => share).toSorted((a, b) => a - b);
      const active = assignment.pipelines.filter((each) => each.active);
      const expected = Array.from({ length: grid.pipelines * microbatches }, (_, i) => i)
        .filter((i) => assignment.pipelines[Math.floor(i / microbatches)]!.active || (lostPipeline === "reroute" && active.length > 0));
      expect(trained).toEqual(expected);
      for (let stage = 0; stage < grid.stages; stage++) {
        const giving = active.filter(({ pipeline }) => gives(assignment, pipeline, stage)).map(({ pipeline }) => pipeline);
        expect(assignment.mixerPipelines[stage]).toEqual(giving);
        if (active.length > 0 && emptyMixer === "exact") expect(giving.length).toBeGreaterThan(0);
        const held = assignment.pipelines.some(({ hosts }) => hosts.some(({ from, to }) => from <= stage && stage < to));
        expect(assignment.lostStages.includes(stage)).toBe(!held);
      }
      expect(assignment.healthy).toBe(dead.length === 0);
      if (assignment.trainable) expect(active.length > 0 && assignment.lostStages.length === 0).toBe(true);
    }), { numRuns: 400 });
  });
});
