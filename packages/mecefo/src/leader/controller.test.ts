import { describe, expect, it } from "vitest";
import { LedCluster, FakePlane } from "./controller.testing.ts";
import { timeoutDefaults } from "../job/timeouts.ts";

async function led(...parameters: ConstructorParameters<typeof LedCluster>): Promise<LedCluster> {
  const cluster = new LedCluster(...parameters);
  await cluster.form();
  return cluster;
}

const kinds = ({ events }: LedCluster): string[] => events.map(({ kind }) => kind);

describe("Controller, forming", () => {
  it("waits for a whole grid, then begins at the seed's weights", async () => {
    const cluster = new LedCluster();
    await cluster.controller.start();
    for (const slot of ["p1s1", "p0s0", "p0s1"]) cluster.hello(slot);
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ epoch: 0, phase: "forming", members: [] });
    cluster.hello("p1s0");
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ epoch: 1, phase: "training", step: 0, stopAt: 50, load: { from: "seed" }, cause: "formed" });
    expect(cluster.ids).toEqual(["p0s0-1", "p0s1-1", "p1s0-1", "p1s1-1"]);
    expect(cluster.state.members.every(({ holdings }) => holdings.length === 0)).toBe(true);
  });

  it("gives places to those who want none, leaves wishes to those who have them, and lets a second one for a slot wait", async () => {
    const cluster = new LedCluster();
    await cluster.controller.start();
    cluster.hello("any", { wanted: undefined });
    cluster.hello("p0s0");
    cluster.hello("p0s0");
    cluster.hello("p1s1");
    await cluster.settleDown();
    expect(cluster.state.phase).toBe("forming");
    cluster.hello("p1s0");
    await cluster.settleDown();
    expect(cluster.ids).toEqual(["p0s0-1", "any-1", "p1s0-1", "p1s1-1"]);
  });

  it("refuses another job and a slot that is none", async () => {
    const cluster = new LedCluster();
    await cluster.controller.start();
    const stranger = cluster.hello("p0s0", { jobHash: "f".repeat(64) });
    const misplaced = cluster.hello("p2s0");
    expect(cluster.plane.commands).toEqual([
      { id: stranger, command: { kind: "refused", reason: "it was started with another job (ffffffffffff)" } },
      { id: misplaced, command: { kind: "refused", reason: "there is no slot p2s0 in 2x2" } },
    ]);
    for (const slot of ["p0s1", "p1s0", "p1s1"]) cluster.hello(slot);
    await cluster.settleDown();
    expect(cluster.state.phase).toBe("forming");
  });

  it("fails when the grid does not fill up in time, and ends when asked to", async () => {
    const late = new LedCluster();
    await late.controller.start();
    await late.pass(timeoutDefaults.forming - 100);
    expect(late.state.phase).toBe("forming");
    await late.pass(300);
    expect(late.state).toMatchObject({ phase: "failed", reason: "the grid did not fill up in time" });
    const stopped = new LedCluster();
    await stopped.controller.start();
    stopped.controller.requestStop();
    await stopped.settleDown();
    expect(stopped.state.phase).toBe("finished");
  });

  it("begins where it is resumed from", async () => {
    const resume = { load: { from: "checkpoint" as const, folder: "/x" }, step: 7 };
    const cluster = await led({}, { resume });
    expect(cluster.state).toMatchObject({ step: 7, load: resume.load });
  });

  it("does not wait for an applicant that went away", async () => {
    const cluster = new LedCluster();
    await cluster.controller.start();
    const id = cluster.hello("p0s0");
    cluster.controller.exited({ id }, "exit code 1");
    // What it sent before it ended comes late.
    cluster.controller.receive({ id }, { kind: "hello", id, address: "memory:x", pid: 1, hostname: "x", wanted: "p0s0", jobHash: cluster.hash });
    for (const slot of ["p0s1", "p1s0", "p1s1"]) cluster.hello(slot);
    await cluster.settleDown();
    expect(cluster.state.phase).toBe("forming");
    cluster.hello("p0s0");
    await cluster.settleDown();
    expect(cluster.ids[0]).toBe("p0s0-2");
  });
});

describe("Controller, steps", () => {
  it("takes a step when all have voted, with the norm of all stages", async () => {
    const cluster = await led();
    cluster.settle();
    for (const id of cluster.ids.slice(1)) cluster.vote(id);
    cluster.vote(cluster.ids[1]!);
    await cluster.pass(200);
    expect(cluster.state.step).toBe(0);
    cluster.vote(cluster.ids[0]!);
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ epoch: 1, step: 1, decision: { epoch: 1, step: 0, squaredNorm: 3 }, load: undefined });
    expect(kinds(cluster)).toEqual(["epoch", "recovery", "step"]);
    await cluster.step(2);
    expect(cluster.state.step).toBe(3);
    expect(cluster.state.epoch).toBe(1);
  });

  it("ignores votes of another epoch, another step, strangers and the dead", async () => {
    const cluster = await led();
    const [first, ...others] = cluster.ids;
    for (const id of others) cluster.vote(id);
    cluster.vote(first!, undefined, { epoch: 0 });
    cluster.vote(first!, undefined, { epoch: 2 });
    cluster.vote(first!, undefined, { step: 1 });
    cluster.controller.receive({ id: "p0s0-9" }, { kind: "vote", epoch: 1, step: 0, stages: [], batches: [], timings: { step: 0, busy: 0, waiting: 0, allReduce: 0 } });
    await cluster.settleDown();
    expect(cluster.state.step).toBe(0);
    cluster.vote(first!);
    await cluster.settleDown();
    expect(cluster.state.step).toBe(1);
  });

  it("skips a step whose gradient is not finite, and fails after twenty in a row", async () => {
    const cluster = await led();
    const bad = async (): Promise<void> => {
      for (const id of cluster.ids) cluster.vote(id, (stage) => ({ ...stage, squaredNorm: stage.stage === 1 ? null : 1 }));
      await cluster.settleDown();
    };
    await bad();
    expect(cluster.state.decision).toEqual({ epoch: 1, step: 0, squaredNorm: null });
    expect(cluster.events.at(-1)).toMatchObject({ kind: "step", skipped: true, gradientNorm: null });
    await cluster.step();
    for (let i = 0; i < 19; i++) await bad();
    expect(cluster.state.phase).toBe("training");
    await bad();
    expect(cluster.state).toMatchObject({ phase: "failed", reason: expect.stringMatching(/20 steps in a row had no finite gradient/) as string });
  });

  it("finishes after the last step", async () => {
    const cluster = await led({ steps: 3 });
    await cluster.step(3);
    expect(cluster.state).toMatchObject({ phase: "finished", step: 3 });
    expect(kinds(cluster).slice(-2)).toEqual(["step", "finished"]);
  });

  it("begins the step again when averages differ, under another epoch", async () => {
    const cluster = await led();
    await cluster.step();
    cluster.ids.forEach((id, i) => cluster.vote(id, (stage) => ({ ...stage, gradientHash: i === 2 ? "cd" : "ab" })));
    await cluster.pass(100);
    expect(cluster.state).toMatchObject({ epoch: 2, step: 1, cause: "corruption", reason: "stage 0: 2 different averages of 4 workers" });
    expect(cluster.ids).toHaveLength(4);
    await cluster.step();
    expect(cluster.state.step).toBe(2);
  });

  it("fails, instead of going round for ever, when averages differ again and again", async () => {
    const cluster = await led();
    for (let i = 0; i < 10 && cluster.state.phase === "training"; i++) {
      cluster.ids.forEach((id, k) => cluster.vote(id, (stage) => ({ ...stage, gradientHash: k === 2 ? "cd" : "ab" })));
      await cluster.pass(100);
    }
    expect(cluster.state).toMatchObject({ phase: "failed", reason: expect.stringMatching(/nobody is to blame/) as string });
  });
});

describe("Controller, divergence", () => {
  const wrong = { stateHash: "bad" };

  it("evicts the minority", async () => {
    const cluster = await led({ grid: "3x2" });
    await cluster.step();
    for (const id of cluster.ids) cluster.vote(id, (stage) => ({ ...stage, ...(id === "p1s1-1" && wrong) }));
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ epoch: 2, step: 1, cause: "divergence" });
    expect(cluster.state.reason).toMatch(/^p1s1: its stage 1 differs/);
    expect(cluster.ids).not.toContain("p1s1-1");
  });

  it("goes back to the checkpoint when there is no majority, and fails without one", async () => {
    for (const folder of ["/c", undefined]) {
      const restorePoint = async () => await Promise.resolve(folder === undefined ? undefined : { load: { from: "checkpoint" as const, folder }, step: 0 });
      const cluster = await led({ steps: 9 }, { restorePoint });
      await cluster.step(2);
      for (const id of cluster.ids) cluster.vote(id, (stage) => ({ ...stage, ...(id === "p1s1-1" && wrong) }));
      await cluster.settleDown();
      if (folder === undefined) expect(cluster.state).toMatchObject({ phase: "failed", reason: expect.stringMatching(/replicas differ and none is right/) as string });
      else {
        expect(cluster.state).toMatchObject({ phase: "training", epoch: 2, step: 0, load: { from: "checkpoint", folder }, cause: "divergence", decision: undefined });
        expect(cluster.ids).toHaveLength(4);
      }
    }
  });
});

describe("Controller, compare and set", () => {
  it("does nothing more when another has written, or when a write failed", async () => {
    for (const failure of [undefined, new Error("no quorum")]) {
      const cluster = await led();
      if (failure === undefined) cluster.plane.states.push(cluster.state);
      else cluster.plane.failure = failure;
      const written = cluster.plane.states.length;
      await cluster.step();
      cluster.plane.failure = undefined;
      await cluster.step();
      await cluster.pass(10_000, cluster.ids);
      expect(cluster.deposed).toBe(1);
      expect(cluster.plane.states).toHaveLength(written);
    }
  });

  it("is deposed at the start when another was faster", async () => {
    const plane = new FakePlane();
    const [one, other] = [new LedCluster({}, {}, plane), new LedCluster({}, {}, plane)];
    await Promise.all([one.controller.start(), other.controller.start()]);
    expect([one.deposed, other.deposed]).toEqual([0, 1]);
  });

  it("goes on from what the leader before wrote", async () => {
    const cluster = await led();
    await cluster.step(3);
    cluster.vote(cluster.ids[0]!);
    cluster.controller.close();
    cluster.controller = cluster.newController();
    await cluster.controller.start();
    expect(cluster.controller.state).toEqual(cluster.state);
    // Votes that the one before had are told again.
    await cluster.step();
    expect(cluster.state).toMatchObject({ epoch: 1, step: 4 });
    for (const id of cluster.ids) if (id !== cluster.id("p1s0")) cluster.vote(id);
    await cluster.pass(timeoutDefaults.suspicionCeiling + 100, [cluster.id("p1s0")]);
    expect(cluster.ids).toEqual(["p0s0-1", "p0s1-1", "p1s1-1"]);
    expect(cluster.state).toMatchObject({ epoch: 2, cause: "stopped" });
  });

  it("takes what came while a state was being written into the next one", async () => {
    const cluster = await led();
    let open: (() => void) | undefined;
    cluster.plane.gate = new Promise((resolve) => (open = resolve));
    for (const id of cluster.ids) cluster.vote(id);
    cluster.controller.exited({ id: cluster.id("p0s0") }, "SIGKILL");
    await cluster.settleDown();
    expect(cluster.state.step).toBe(0);
    open!();
    await cluster.settleDown();
    expect(cluster.state).toMatchObject({ epoch: 2, step: 1, cause: "killed", reason: "p0s0: SIGKILL" });
    expect(cluster.plane.states.at(-2)).toMatchObject({ epoch: 1, step: 1 });
  });
});
