import { describe, expect, it } from "vitest";
import { slotName } from "../grid/grid.ts";
import { LedCluster } from "./controller.testing.ts";
import { timeoutDefaults } from "../job/timeouts.ts";

async function led(...parameters: ConstructorParameters<typeof LedCluster>): Promise<LedCluster> {
  const cluster = new LedCluster(...parameters);
  await cluster.form();
  return cluster;
}

const checkpoint = { folder: "/c", every: 10 };

describe("Controller, deaths", () => {
  it("evicts at once who is known to have ended, and keeps the step", async () => {
    const cluster = await led();
    await cluster.step(2);
    cluster.controller.exited({ id: cluster.id("p0s1") }, "SIGKILL");
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ epoch: 2, step: 2, cause: "killed", reason: "p0s1: SIGKILL" });
    expect(cluster.events.at(-1)).toMatchObject({ kind: "epoch", live: ["p0s0", "p1s0", "p1s1"], healthy: false });
    await cluster.step();
    expect(cluster.state).toMatchObject({ epoch: 2, step: 3 });
  });

  it("gives a closed connection some time to be made again", async () => {
    const cluster = await led();
    const [id, other] = [cluster.id("p0s1"), cluster.id("p1s0")];
    cluster.controller.disconnected({ id });
    cluster.controller.disconnected({ id: other });
    await cluster.pass(timeoutDefaults.reconnectGrace - 100, [id, other]);
    cluster.controller.heartbeat({ id: other });
    await cluster.pass(200, [id]);
    expect(cluster.state).toMatchObject({ epoch: 2, cause: "killed", reason: "p0s1: its connection closed and was not made again" });
    expect(cluster.ids).toContain(other);
  });

  it("evicts the silent, and nobody because the leader itself stood still", async () => {
    const cluster = await led();
    const silent = cluster.id("p1s1");
    await cluster.pass(2000);
    for (const [i, id] of cluster.ids.entries()) if (i > 0) cluster.vote(id);
    cluster.controller.disconnected({ id: cluster.id("p0s0") });
    for (const first of ["tick", "heartbeat"] as const) {
      cluster.time += 3_600_000;
      if (first === "heartbeat") cluster.controller.heartbeat({ id: cluster.id("p0s1") });
      cluster.controller.tick();
      await cluster.settleDown();
      expect(cluster.state.epoch).toBe(1);
    }
    cluster.controller.heartbeat({ id: cluster.id("p0s0") });
    await cluster.pass(timeoutDefaults.suspicionFloor - 200, [silent]);
    expect(cluster.state.epoch).toBe(1);
    await cluster.pass(400, [silent]);
    expect(cluster.state).toMatchObject({ epoch: 2, cause: "stopped", reason: expect.stringMatching(/^p1s1: silent for 1\d\d\d ms/) as string });
  });

  it("evicts whoever leaves or failed", async () => {
    const cluster = await led({ grid: "3x2" });
    cluster.controller.receive({ id: cluster.id("p0s0") }, { kind: "leaving", reason: "drained" });
    cluster.trouble(cluster.id("p1s1"), "failure");
    await cluster.settleDown();
    expect(cluster.state.members.map(({ slot }) => slotName(slot))).toEqual(["p0s1", "p1s0", "p2s0", "p2s1"]);
    expect(cluster.state.cause).toBe("left");
    expect(cluster.events.filter(({ kind }) => kind === "epoch").slice(1)).toMatchObject([
      { cause: "left", reason: "p0s0: drained" }, { cause: "left", reason: expect.stringMatching(/^p1s1: failure/) as string },
    ]);
  });

  it("does not listen to the dead", async () => {
    const cluster = await led();
    const id = cluster.id("p0s1");
    cluster.controller.exited({ id }, "SIGKILL");
    await cluster.settleDown();
    const before = cluster.state;
    cluster.controller.receive({ id }, { kind: "hello", id, address: "memory:x", pid: 1, hostname: "x", wanted: "p0s1", jobHash: cluster.hash });
    cluster.controller.receive({ id }, { kind: "trouble", epoch: 2, trouble: "link", peer: cluster.id("p0s0"), detail: "x" });
    await cluster.pass(3000);
    expect(cluster.state).toEqual(before);
  });

  it("takes a decision and another epoch in one stroke", async () => {
    const cluster = await led();
    await cluster.step(2);
    const written = cluster.plane.states.length;
    const id = cluster.id("p0s1");
    for (const each of cluster.ids) if (each !== id) cluster.vote(each);
    cluster.plane.gate = Promise.resolve();
    cluster.vote(id);
    // The vote's write is under way: the death is answered after it.
    cluster.controller.exited({ id }, "SIGKILL");
    await cluster.settleDown();
    expect(cluster.plane.states.slice(written).map(({ epoch, step }) => [epoch, step])).toEqual([[1, 3], [2, 3]]);
    // Here the joiner waits for the end of the step, and both are one write.
    const again = cluster.hello("p0s1");
    await cluster.step();
    expect(cluster.plane.states.slice(written + 2)).toMatchObject([{ epoch: 3, step: 4, cause: "joined", decision: { epoch: 2, step: 3 } }]);
    expect(cluster.ids).toContain(again);
    expect(cluster.events.slice(-2)).toMatchObject([{ kind: "step", step: 3, epoch: 2 }, { kind: "epoch", epoch: 3 }]);
  });
});

describe("Controller, troubles", () => {
  it("answers a failed link alone by another epoch with everybody, after a moment", async () => {
    const cluster = await led();
    await cluster.step();
    cluster.trouble(cluster.id("p0s0"), "link", cluster.id("p0s1"));
    await cluster.settleDown();
    expect(cluster.state.epoch).toBe(1);
    await cluster.pass(100);
    expect(cluster.state).toMatchObject({ epoch: 2, step: 1, cause: "link" });
    expect(cluster.ids).toHaveLength(4);
    cluster.trouble(cluster.id("p0s0"), "transfer");
    await cluster.pass(100);
    expect(cluster.state).toMatchObject({ epoch: 3, cause: "transfer" });
  });

  it("answers a failed link and the death behind it by one epoch, whichever is known first", async () => {
    for (const first of ["link", "connection"]) {
      const cluster = await led();
      const dead = cluster.id("p0s1");
      const tell = [() => cluster.trouble(cluster.id("p0s0"), "link", dead), () => cluster.controller.disconnected({ id: dead })];
      for (const each of first === "link" ? tell : tell.toReversed()) each();
      await cluster.settleDown();
      expect(cluster.state).toMatchObject({ epoch: 2, cause: "killed", reason: "p0s1: its connections to the leader and to others closed" });
      await cluster.pass(500);
      expect(cluster.state.epoch).toBe(2);
    }
  });

  it("evicts the end of links that fail again and again", async () => {
    const cluster = await led({ grid: "3x2" });
    const bad = cluster.id("p1s0");
    for (let i = 0; i < 7; i++) {
      cluster.trouble(bad, "link", cluster.ids.find((id) => id !== bad && id !== cluster.id("p2s1"))!);
      for (const id of cluster.ids) if (id !== bad) cluster.trouble(id, "corruption", bad);
      await cluster.pass(100);
    }
    expect(cluster.ids).not.toContain(bad);
    expect(cluster.ids).toHaveLength(5);
    expect(cluster.events.findLast(({ kind }) => kind === "epoch")).toMatchObject({ cause: "link", reason: expect.stringMatching(/^p1s0: its links failed/) as string });
  });

  it("counts barren epochs only without steps between", async () => {
    const cluster = await led();
    for (let i = 0; i < 20; i++) {
      cluster.trouble(cluster.id("p0s0"), "link", cluster.id("p0s1"));
      await cluster.pass(100);
      await cluster.step();
    }
    expect(cluster.ids).toHaveLength(4);
    expect(cluster.state.step).toBe(20);
  });

  it("fails when what the run begins with cannot be loaded, and notes a checkpoint that could not be written", async () => {
    const cluster = await led({ checkpoint });
    cluster.trouble(cluster.id("p0s0"), "checkpoint");
    await cluster.settleDown();
    expect(cluster.state.phase).toBe("training");
    expect(cluster.events.at(-1)).toMatchObject({ kind: "note", text: expect.stringMatching(/^p0s0 could not write/) as string });
    cluster.trouble(cluster.id("p1s0"), "load");
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ phase: "failed", reason: expect.stringMatching(/^p1s0 cannot load/) as string });
  });

  it("evicts whom everybody waits for when a step takes far too long", async () => {
    const cluster = await led({ grid: "2x3" });
    await cluster.step(5);
    const [culprit, one, two] = [cluster.id("p1s1"), cluster.id("p1s0"), cluster.id("p0s0")];
    const waits = (id: string, waitingFor: string): void => {
      cluster.controller.receive({ id }, { kind: "progress", epoch: 1, step: 5, activity: "waits", waitingFor });
    };
    waits(one, culprit);
    waits(two, one);
    waits(cluster.id("p0s1"), two);
    cluster.vote(cluster.id("p0s2"));
    await cluster.pass(timeoutDefaults.stepFloor - 100);
    expect(cluster.state.epoch).toBe(1);
    await cluster.pass(300);
    expect(cluster.state).toMatchObject({ epoch: 2, step: 5, cause: "straggler" });
    expect(cluster.ids).toHaveLength(5);
    expect(cluster.ids).not.toContain(culprit);
  });

  it("evicts whoever does not get ready", async () => {
    const cluster = await led({ timeouts: { settling: 2000 } });
    cluster.settle(cluster.ids.slice(0, 3));
    await cluster.pass(1900);
    expect(cluster.state.epoch).toBe(1);
    await cluster.pass(300);
    expect(cluster.state).toMatchObject({ epoch: 2, cause: "straggler", reason: "p1s1: has not got ready within 2000 ms" });
  });
});

describe("Controller, joining", () => {
  it("lets a worker in at a step's end, and when nothing is being trained at once", async () => {
    const cluster = await led({ strategy: "drop-replica" });
    await cluster.step();
    for (const slot of ["p0s0", "p1s1"]) cluster.controller.exited({ id: cluster.id(slot) }, "SIGKILL");
    await cluster.settleDown();
    const before = cluster.state;
    expect(before.members).toHaveLength(2);
    // No pipeline is whole: nobody has to be waited for.
    cluster.hello("p0s0");
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ epoch: before.epoch + 1, cause: "joined", step: 1, reason: "p0s0 is back" });
    cluster.settle();
    cluster.hello("p1s1");
    await cluster.pass(300);
    expect(cluster.ids).toHaveLength(3);
    await cluster.step();
    expect(cluster.ids).toHaveLength(4);
    expect(cluster.state).toMatchObject({ step: 2, cause: "joined" });
  });

  it("lets a worker in without a step's end when that does not come", async () => {
    const cluster = await led();
    await cluster.step();
    cluster.controller.exited({ id: cluster.id("p0s0") }, "SIGKILL");
    await cluster.settleDown();
    cluster.hello("p0s0");
    await cluster.pass(1900);
    expect(cluster.ids).toHaveLength(3);
    await cluster.pass(300);
    expect(cluster.state).toMatchObject({ cause: "joined", step: 1 });
  });

  it("puts a successor in the place of a member that has fallen silent", async () => {
    const cluster = await led();
    const old = cluster.id("p1s0");
    const successor = cluster.hello("p1s0");
    await cluster.pass(500);
    expect(cluster.ids).toContain(old);
    await cluster.pass(700, [old]);
    expect(cluster.ids).not.toContain(old);
    expect(cluster.ids).toContain(successor);
    expect(cluster.state.cause).toBe("killed");
  });
});

describe("Controller, lost stages", () => {
  const point = { load: { from: "checkpoint" as const, folder: "/c/step-10" }, step: 10 };

  it("goes back to the last checkpoint when nobody holds a stage", async () => {
    const cluster = await led({ checkpoint }, { restorePoint: async () => await Promise.resolve(point) });
    await cluster.step(13);
    const { step } = cluster.state;
    for (const slot of ["p0s1", "p1s1"]) cluster.controller.exited({ id: cluster.id(slot) }, "SIGKILL");
    await cluster.settleDown();
    expect(step).toBeGreaterThan(point.step);
    expect(cluster.state).toMatchObject({ phase: "training", step: 10, load: point.load, cause: "stage-lost", decision: undefined });
    expect(cluster.state.members.every(({ holdings }) => holdings.length === 0)).toBe(true);
    expect(cluster.state.reason).toMatch(/nobody holds stage 1 any more: back to step 10 \(checkpoint\)/);
    await cluster.step();
    expect(cluster.state).toMatchObject({ step: 11, load: undefined });
  });

  it("goes back to the beginning when no checkpoint was written yet, and fails where none ever is", async () => {
    for (const writes of [true, false]) {
      const cluster = await led(writes ? { checkpoint } : {});
      await cluster.step(3);
      for (const slot of ["p0s1", "p1s1"]) cluster.controller.exited({ id: cluster.id(slot) }, "SIGKILL");
      await cluster.settleDown();
      expect(cluster.state).toMatchObject(writes ? { phase: "training", step: 0, load: { from: "seed" }, cause: "stage-lost" } : { phase: "failed" });
    }
  });

  it("loses nothing while what the run began with is still being loaded", async () => {
    const cluster = await led();
    for (const slot of ["p0s1", "p1s1"]) cluster.controller.exited({ id: cluster.id(slot) }, "SIGKILL");
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ phase: "training", epoch: 3, step: 0, load: { from: "seed" }, cause: "killed" });
  });

  it("checkpoint-restart: goes back at every death, and waits for all", async () => {
    const cluster = await led({ strategy: "checkpoint-restart", checkpoint }, { restorePoint: async () => await Promise.resolve(point) });
    await cluster.step(2);
    cluster.controller.exited({ id: cluster.id("p0s1") }, "SIGKILL");
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ step: 10, load: point.load, cause: "killed" });
    cluster.settle();
    await cluster.pass(20_000);
    expect(cluster.ids).toHaveLength(3);
    cluster.hello("p0s1");
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ step: 10, load: point.load, cause: "joined" });
    await cluster.step();
    expect(cluster.state.step).toBe(11);
  });

  it("none: fails by a death, and by a link, since nobody can go back a step", async () => {
    for (const accident of ["death", "link"]) {
      const cluster = await led({ strategy: "none" });
      await cluster.step();
      if (accident === "death") cluster.controller.exited({ id: cluster.id("p0s1") }, "SIGKILL");
      else cluster.trouble(cluster.id("p0s1"), "link", cluster.id("p0s0"));
      await cluster.pass(100);
      expect(cluster.state).toMatchObject({ phase: "failed", reason: expect.stringMatching(/"none" does not survive failures/) as string });
    }
  });
});

describe("Controller, asked to stop", () => {
  const shard = (cluster: LedCluster, stage: number, step: number): void => {
    cluster.controller.receive({ id: cluster.ids[0]! }, { kind: "shard", step, stage, file: `s${stage}`, sha256: "ab", bytes: 1, degraded: false });
  };

  it("takes the step in flight and waits for its checkpoint", async () => {
    const written: number[] = [];
    const commitCheckpoint = async (step: number): Promise<string> => await Promise.resolve(`/c/${written.push(step)}`);
    const cluster = await led({ checkpoint }, { commitCheckpoint });
    await cluster.step(3);
    cluster.controller.requestStop();
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ step: 3, stopAt: 50 });
    await cluster.step();
    expect(cluster.state).toMatchObject({ phase: "training", step: 4, stopAt: 4 });
    shard(cluster, 0, 4);
    await cluster.pass(200);
    expect(cluster.state.phase).toBe("training");
    shard(cluster, 1, 4);
    await cluster.settleDown();
    expect(written).toEqual([4]);
    expect(cluster.state).toMatchObject({ phase: "finished", step: 4 });
  });

  it("ends where training stands still", async () => {
    const cluster = await led({ strategy: "drop-replica" });
    await cluster.step(2);
    for (const slot of ["p0s0", "p1s1"]) cluster.controller.exited({ id: cluster.id(slot) }, "SIGKILL");
    await cluster.settleDown();
    cluster.controller.requestStop();
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ phase: "finished", step: 2, stopAt: 2 });
  });

  it("ends although nobody is there to write a stage", async () => {
    const cluster = await led({ strategy: "checkpoint-restart", grid: "1x2", checkpoint });
    await cluster.step(2);
    cluster.controller.exited({ id: cluster.id("p0s1") }, "SIGKILL");
    await cluster.settleDown();
    cluster.controller.requestStop();
    await cluster.pass(1000);
    expect(cluster.state).toMatchObject({ phase: "finished", step: 0, reason: expect.stringMatching(/nobody has stage 1/) as string });
  });

  it("fails when the last checkpoint cannot be made", async () => {
    const cluster = await led({ checkpoint, steps: 2 }, { commitCheckpoint: async () => await Promise.reject(new Error("disk full")) });
    await cluster.step(2);
    shard(cluster, 0, 2);
    shard(cluster, 1, 2);
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ phase: "failed", reason: "the last checkpoint could not be written: disk full" });
  });
});
