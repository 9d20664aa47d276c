import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LinkError, MembershipError } from "../errors.ts";
import { startNetworkThread, type NetworkThread } from "../start-network-thread.ts";
import { startCoordinator, type Coordinator } from "./coordinator.ts";
import { FakeLeadership, makeHello, makeJob, makeVote, until } from "./fake-leadership.testing.ts";
import { fetchJob } from "./fetch-job.ts";
import { startLocalNats } from "./nats/local-cluster.ts";
import { hasNatsServer } from "./nats/nats-server.testing.ts";
import { publishNatsJob } from "./nats/nats-observer.ts";
import type { NetworkMembershipOptions } from "../runtime/create-membership.ts";
import { createThreadedMembership } from "./threaded-membership.ts";
import { observeCluster } from "./observe-cluster.ts";

const token = "a token for tests";
const installed = hasNatsServer();
let folder: string;
let coordinator: Coordinator;
let leader: FakeLeadership;
const threads: NetworkThread[] = [];

function start(options: Partial<NetworkMembershipOptions>): NetworkThread {
  const membership: NetworkMembershipOptions = {
    target: { kind: "coordinator", address: coordinator.address }, token, memberId: "a1", job: makeJob(),
    timeouts: { heartbeatInterval: 20, linkEstablishment: 500 }, ...options,
  };
  const thread = startNetworkThread({ membership });
  threads.push(thread);
  return thread;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecefo-"));
  coordinator = await startCoordinator({
    listen: `unix:${join(folder, "control.sock")}`, token, job: makeJob(),
    createLeadership: async (plane) => leader = await FakeLeadership.create(plane, "test-job"),
  });
});

afterAll(async () => {
  await Promise.all(threads.map((thread) => thread.terminate()));
  await coordinator.close();
  await rm(folder, { recursive: true, force: true });
});

describe("createThreadedMembership", () => {
  it("carries everything between the main thread and the coordinator", async () => {
    const membership = await createThreadedMembership(start({}).membershipPort);
    const commands: string[] = [];
    membership.onCommand(({ kind }) => commands.push(kind));
    membership.report(makeHello("a1"));
    await until("the member", () => membership.state?.members.length === 1);
    membership.report(makeVote(1, 0));
    await until("the step", () => membership.state?.step === 1);
    expect(await coordinator.command("a1", { kind: "kill" })).toBe(true);
    await until("the command", () => commands.includes("kill"));
    const batches = Array.from({ length: 12_000 }, (_, microbatch) => ({ microbatch, hash: "0".repeat(64) }));
    expect(() => membership.report({ ...makeVote(1, 1), batches })).toThrow(MembershipError);
    await membership.close();
    await until("the disconnection", () => leader.gone.includes("a1"));
  }, 20_000);

  it("beats on while the main thread computes", async () => {
    // This thread is the main one and the coordinator's at once: what arrived while it was blocked is counted afterwards.
    const membership = await createThreadedMembership(start({ memberId: "b2" }).membershipPort);
    await until("a heartbeat", () => leader.heartbeats.includes("b2"));
    const before = leader.heartbeats.filter((id) => id === "b2").length;
    const end = performance.now() + 600;
    while (performance.now() < end); // a long kernel
    await new Promise((resolve) => setTimeout(resolve, 15));
    expect(leader.heartbeats.filter((id) => id === "b2").length - before).toBeGreaterThan(8);
    await membership.close();
  }, 20_000);

  it("gives the thread's error as the typed one", async () => {
    await expect(createThreadedMembership(start({ token: "guessed" }).membershipPort)).rejects.toThrow(/token is wrong/);
    await expect(createThreadedMembership(start({ token: "guessed" }).membershipPort)).rejects.toBeInstanceOf(MembershipError);
    const nowhere = { kind: "coordinator", address: `unix:${join(folder, "nobody.sock")}` } as const;
    await expect(createThreadedMembership(start({ target: nowhere }).membershipPort)).rejects.toBeInstanceOf(LinkError);
  }, 20_000);

  it.skipIf(!installed)("leads from the network thread in NATS mode", async () => {
    const cluster = await startLocalNats();
    try {
      const access = { servers: cluster.servers };
      const job = { ...makeJob("threads"), grid: { pipelines: 2, stages: 1 } };
      await publishNatsJob(access, job);
      const target = { kind: "nats", servers: cluster.servers, job: "threads" } as const;
      expect(await fetchJob(target, token)).toEqual(job);
      const observer = await observeCluster(target, token);
      const members = await Promise.all(["a1", "b2"].map(async (memberId) =>
        await createThreadedMembership(start({ target, memberId, job }).membershipPort)));
      const { jobHash } = await import("../job/job-hash.ts");
      for (const [index, membership] of members.entries()) {
        membership.report({ ...makeHello(["a1", "b2"][index]!, `p${index}s0`), jobHash: jobHash(job) });
      }
      await until("the real leader to form the grid", () => observer.state?.phase === "training");
      expect(observer.state?.members.map(({ id }) => id)).toEqual(["a1", "b2"]);
      await Promise.all(members.map((membership) => membership.close()));
      await observer.close();
    } finally {
      await cluster.stop();
    }
  }, 60_000);
});
