import { expect, it } from "vitest";
import { allTechniques } from "../approximation/stage-mode.ts";
import { assign } from "../grid/assignment.ts";
import { slotName, slotsOf } from "../grid/grid.ts";
import type { ClusterState } from "../membership/cluster-state.ts";
import { planEpoch, type EpochPlan } from "./epoch-plan.ts";

/** Plans of all members, by slot. Lives by pipeline: "101 111". */
function plans(lives: string, { tied = false, maximumChain = 9 } = {}): Record<string, EpochPlan> {
  const rows = lives.split(" ");
  const grid = { pipelines: rows.length, stages: rows[0]!.length };
  const isLive = ({ pipeline, stage }: { pipeline: number; stage: number }): boolean => rows[pipeline]![stage] === "1";
  const assignment = assign({
    grid, strategy: "mecefo", techniques: allTechniques, maximumChain, lostPipeline: "reroute", sharing: "even", emptyMixer: "exact", microbatches: 2,
  }, isLive);
  const state: ClusterState = {
    formatVersion: 1, job: "run", epoch: 4, phase: "training", step: 9, stopAt: 20, cause: "killed", reason: "",
    members: slotsOf(grid).filter(isLive).map((slot) => ({
      id: `id-${slotName(slot)}`, slot, address: `memory:${slotName(slot)}`, pid: 1, hostname: "x", holdings: [],
    })),
  };
  return Object.fromEntries(state.members.map((member) => [slotName(member.slot), planEpoch(state, member, assignment, grid.stages, tied)]));
}

const groupsOf = ({ groups }: EpochPlan): string[] =>
  groups.map(({ channel, participants, rank }) => `${channel}: ${participants.map(({ id }) => id.slice(3)).join(" ")} @${rank}`);

it("reduces each stage over its hosts, pipeline by pipeline", () => {
  const all = plans("111 111");
  expect(groupsOf(all["p0s1"]!)).toEqual(["1: p0s1 p1s1 @0"]);
  expect(groupsOf(all["p1s1"]!)).toEqual(["1: p0s1 p1s1 @1"]);
  expect(all["p1s1"]).toMatchObject({
    epoch: 4, active: true, hosts: 3, position: 1, microbatches: [2, 3], previous: { id: "id-p1s0", address: "memory:p1s0" }, next: { id: "id-p1s2" },
  });
  expect(all["p0s0"]!.previous).toBeUndefined();
  expect(all["p0s2"]!.next).toBeUndefined();
  expect(all["p0s1"]!.peers.map(({ id }) => id)).toEqual(["id-p0s0", "id-p0s2", "id-p1s0", "id-p1s1", "id-p1s2"]);
});

it("puts a neighbour into the groups of all stages that it hosts", () => {
  const all = plans("101 111");
  expect(groupsOf(all["p0s2"]!)).toEqual(["1: p0s2 p1s1 @0", "2: p0s2 p1s2 @0"]);
  expect(groupsOf(all["p1s1"]!)).toEqual(["1: p0s2 p1s1 @1"]);
  expect(all["p0s2"]).toMatchObject({ hosts: 2, position: 1, previous: { id: "id-p0s0" } });
  expect(all["p0s0"]!.pipelinePeers).toEqual([{ stage: 2, peer: { id: "id-p0s2", address: "memory:p0s2" } }]);
});

it("reduces a tied matrix over both ends of all pipelines, each worker once", () => {
  const all = plans("111 010", { tied: true });
  expect(groupsOf(all["p0s0"]!)).toEqual(["0: p0s0 p1s1 @0", "3: p0s0 p0s2 p1s1 @0"]);
  expect(groupsOf(all["p0s1"]!)).toEqual(["1: p0s1 p1s1 @0"]);
  expect(groupsOf(all["p1s1"]!)).toEqual(["0: p0s0 p1s1 @1", "1: p0s1 p1s1 @1", "2: p0s2 p1s1 @1", "3: p0s0 p0s2 p1s1 @2"]);
});

it("keeps the workers of a pipeline that is out in the groups, but not in a pipeline", () => {
  const all = plans("1001 1111", { maximumChain: 1 });
  expect(all["p0s3"]).toMatchObject({ active: false, microbatches: [], previous: undefined, next: undefined });
  expect(groupsOf(all["p0s3"]!)).toEqual(["3: p0s3 p1s3 @0"]);
  expect(groupsOf(all["p1s1"]!)).toEqual(["1: p1s1 @0"]);
});

it.each(["111 111", "101 111", "000 111", "010 101", "0001 1000 0110", "1001 0110"])("has every stage's shard written once, and all groups agree (%s)", (lives) => {
  for (const maximumChain of [1, 2, 9]) {
    const all = Object.values(plans(lives, { tied: true, maximumChain }));
    const hosted = new Set(all.flatMap(({ host }) => Array.from({ length: host.to - host.from }, (_, i) => host.from + i)));
    expect(all.flatMap(({ shards }) => shards).toSorted((a, b) => a - b)).toEqual([...hosted].toSorted((a, b) => a - b));
    const orders = new Map<number, string>();
    for (const { groups, member } of all) {
      expect(groups.map(({ channel }) => channel)).toEqual(groups.map(({ channel }) => channel).toSorted((a, b) => a - b));
      for (const { channel, participants, rank } of groups) {
        const order = participants.map(({ id }) => id).join();
        expect(orders.get(channel) ?? order).toBe(order);
        orders.set(channel, order);
        expect(participants[rank]!.id).toBe(member.id);
      }
    }
  }
});
