import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { slotName } from "../grid/grid.ts";
import { LedCluster } from "../leader/controller.testing.ts";
import type { Member } from "./cluster-state.ts";
import { assignmentOf, donorsOf, hostedStages } from "./holdings.ts";

async function led(...parameters: ConstructorParameters<typeof LedCluster>): Promise<LedCluster> {
  const cluster = new LedCluster(...parameters);
  await cluster.form();
  return cluster;
}

describe("donorsOf", () => {
  const member = (name: string, holdings: number[]): Member => ({
    id: name, slot: { pipeline: Number(name[1]), stage: Number(name[3]) }, address: "memory:x", pid: 1, hostname: "x", holdings,
  });

  it("prefers the neighbour, else goes round the other pipelines, at most four", () => {
    const members = [member("p0s0", [0, 1]), ...[1, 2, 3, 4, 5].map((pipeline) => member(`p${pipeline}s1`, [1]))];
    const names = (requester: Member): string[] => donorsOf({ members }, 1, requester).map(({ id }) => id);
    expect(names(member("p0s1", []))).toEqual(["p0s0"]);
    expect(names(member("p7s0", []))).toEqual(["p1s1", "p2s1", "p3s1", "p4s1"]);
    expect(names(member("p8s0", []))).toEqual(["p2s1", "p3s1", "p4s1", "p5s1"]);
    expect(donorsOf({ members }, 2, member("p0s1", []))).toEqual([]);
    // Not oneself.
    expect(donorsOf({ members: [member("p0s0", [0])] }, 0, member("p0s0", [0]))).toEqual([]);
  });
});

describe("holdings", () => {
  it("names no donor that does not hold the stage, whatever happens", async () => {
    const event = fc.oneof(
      { weight: 4, arbitrary: fc.constant({ kind: "step" as const }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant("kill" as const), which: fc.nat(20) }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant("start" as const), which: fc.nat(20) }) },
      { weight: 1, arbitrary: fc.constant({ kind: "trouble" as const }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("settle" as const), which: fc.nat(20) }) },
    );
    await fc.assert(fc.asyncProperty(fc.array(event, { maxLength: 25 }), fc.constantFrom("3x3", "2x4"), async (happenings, grid) => {
      const cluster = await led({ grid, steps: 1000, checkpoint: { folder: "/c", every: 1000 } });
      /** What each worker really holds: stage to step. Follows the workers' own rules. */
      const held = new Map<string, Map<number, number>>();
      let seen = 0;
      const hosted = (id: string): number[] => {
        const { slot } = cluster.state.members.find((member) => member.id === id)!;
        return hostedStages(assignmentOf(cluster.job, cluster.state), slot);
      };
      const settle = (id: string): void => {
        const { step, load, epoch } = cluster.state;
        const member = cluster.state.members.find((candidate) => candidate.id === id)!;
        const own = held.get(id) ?? new Map<number, number>();
        held.set(id, own);
        if (load !== undefined) own.clear();
        for (const [stage, at] of own) if (at !== step) own.delete(stage);
        for (const stage of hosted(id)) {
          if (own.has(stage)) continue;
          if (load === undefined) {
            const donors = donorsOf(cluster.state, stage, member);
            expect(donors.length).toBeGreaterThan(0);
            for (const donor of donors) expect(held.get(donor.id)?.get(stage)).toBe(step);
          }
          own.set(stage, step);
        }
        expect(epoch).toBe(cluster.state.epoch);
        cluster.settle([id]);
      };
      /** Epochs that were begun: the old step's decision is applied by those who voted. */
      const follow = async (): Promise<void> => {
        await cluster.settleDown();
        for (const state of cluster.plane.states.slice(seen)) {
          if (state.load !== undefined) for (const own of held.values()) own.clear();
        }
        seen = cluster.plane.states.length;
      };
      await follow();
      for (const happening of happenings) {
        if (cluster.state.phase !== "training") return;
        const { ids } = cluster;
        if (happening.kind === "step") {
          if (!assignmentOf(cluster.job, cluster.state).trainable) continue;
          for (const id of ids) settle(id);
          const votersHost = new Map(ids.map((id) => [id, hosted(id)]));
          const { step } = cluster.state;
          for (const id of ids) cluster.vote(id);
          for (const [id, stages] of votersHost) held.set(id, new Map(stages.map((stage) => [stage, step + 1])));
          await follow();
          expect(cluster.state.step).toBe(step + 1);
        } else if (happening.kind === "kill" && ids.length > 0) {
          const id = ids[happening.which % ids.length]!;
          held.delete(id);
          cluster.controller.exited({ id }, "SIGKILL");
          await follow();
        } else if (happening.kind === "start") {
          const { pipelines, stages } = cluster.job.grid;
          const at = happening.which % (pipelines * stages);
          const slot = slotName({ pipeline: Math.floor(at / stages), stage: at % stages });
          if (cluster.state.members.every((member) => slotName(member.slot) !== slot)) cluster.hello(slot);
          await follow();
        } else if (happening.kind === "settle" && ids.length > 0) {
          settle(ids[happening.which % ids.length]!);
          await follow();
        } else if (happening.kind === "trouble" && ids.length > 0) {
          cluster.trouble(ids[0]!, "link", ids.at(-1));
          await cluster.pass(100);
          await follow();
        }
        if (cluster.state.phase !== "training") return;
        // What the record says a member holds when an epoch begins, it holds, of this very step.
        if (cluster.state.decision?.epoch === cluster.state.epoch) continue;
        for (const { id, holdings } of cluster.state.members) {
          if (cluster.state.load === undefined) for (const stage of holdings) expect(held.get(id)?.get(stage)).toBe(cluster.state.step);
        }
      }
    }), { numRuns: 100 });
  });
});
