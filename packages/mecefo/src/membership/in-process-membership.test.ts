import { describe, expect, it } from "vitest";
import { FakeLeadership, makeHello, makeState, makeVote, until } from "./fake-leadership.testing.ts";
import { createInProcessMembership } from "./in-process-membership.ts";

async function start(): Promise<{ membership: Awaited<ReturnType<typeof createInProcessMembership>>; leader: FakeLeadership }> {
  let leader: FakeLeadership | undefined;
  const membership = await createInProcessMembership({
    heartbeatInterval: 5, tickInterval: 5,
    createLeadership: async (plane) => leader = await FakeLeadership.create(plane, "test-job"),
  });
  if (leader === undefined) throw new Error("no leader");
  return { membership, leader };
}

describe("createInProcessMembership", () => {
  it("delivers reports, states and commands asynchronously", async () => {
    const { membership, leader } = await start();
    const client = membership.join("a1");
    client.report(makeHello("a1"));
    expect(leader.received).toEqual([]);
    await until("the member", () => client.state?.members.length === 1);
    client.report(makeVote(1, 0));
    await until("the step", () => client.state?.step === 1);
    const commands: string[] = [];
    client.onCommand(({ kind }) => commands.push(kind));
    expect(await membership.command("a1", { kind: "kill" })).toBe(true);
    expect(commands).toEqual([]);
    await until("the command", () => commands.length === 1);
    expect(await membership.command("b2", { kind: "kill" })).toBe(false);
    await membership.close();
    expect(leader.closed).toBe(true);
  });

  it("lets exactly one of two writers win", async () => {
    const { membership } = await start();
    const found = await membership.plane.read();
    const write = async (reason: string): Promise<number | undefined> =>
      await membership.plane.compareAndSet(makeState({ epoch: 1, reason }), found?.revision ?? 0);
    const revisions = await Promise.all([write("one"), write("two"), write("three")]);
    expect(revisions.filter((revision) => revision !== undefined)).toEqual([(found?.revision ?? 0) + 1]);
    expect((await membership.plane.read())?.state.reason).toBe("one");
    await membership.close();
  });

  it("shares nothing with those who read and write", async () => {
    const { membership } = await start();
    const found = await membership.plane.read();
    (found!.state.members as unknown[]).push("changed");
    expect((await membership.plane.read())!.state.members).toEqual([]);
    await membership.close();
  });

  it("kills, stops and resumes a worker's side", async () => {
    const { membership, leader } = await start();
    const stopped = membership.join("a1");
    const killed = membership.join("b2");
    await until("heartbeats", () => leader.heartbeats.includes("a1") && leader.heartbeats.includes("b2"));
    stopped.pause();
    killed.report(makeHello("b2"));
    await until("the member", () => killed.state?.members.length === 1);
    expect(stopped.state?.members ?? []).toEqual([]);
    const before = leader.heartbeats.filter((id) => id === "a1").length;
    killed.kill();
    await until("the disconnection", () => leader.gone.includes("b2"));
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(leader.heartbeats.filter((id) => id === "a1").length - before).toBe(0);
    stopped.resume();
    await until("what was held back", () => stopped.state?.members.length === 1);
    membership.exited("b2", "by signal");
    expect(leader.ended).toEqual(["b2 by signal"]);
    await membership.close();
  });
});
