import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jobHash } from "../../job/job-hash.ts";
import { makeHello, makeJob, until } from "../fake-leadership.testing.ts";
import type { Membership } from "../membership.ts";
import { createMembership } from "../../runtime/create-membership.ts";
import { startLocalNats, type LocalNatsCluster } from "./local-cluster.ts";
import { hasNatsServer } from "./nats-server.testing.ts";
import { observeNats, publishNatsJob, type NatsObserver } from "./nats-observer.ts";

const installed = hasNatsServer();
const grid = { pipelines: 2, stages: 3 };
const job = { ...makeJob("server-loss"), grid };
const slots = Array.from({ length: 6 }, (_, i) => `p${Math.floor(i / 3)}s${i % 3}`);

describe.skipIf(!installed)("the real leader over three NATS servers", () => {
  let cluster: LocalNatsCluster;
  let members: Membership[];
  let observer: NatsObserver;
  const notes: string[] = [];

  beforeAll(async () => {
    cluster = await startLocalNats({ size: 3 });
    await publishNatsJob({ servers: cluster.servers }, job);
    observer = await observeNats({ servers: cluster.servers, jobName: job.name });
    observer.onEvent((event) => notes.push(JSON.stringify(event)));
    const target = { kind: "nats", servers: cluster.servers, job: job.name } as const;
    members = await Promise.all(slots.map(async (memberId) => await createMembership({ target, token: "", memberId, job })));
    for (const [i, membership] of members.entries()) membership.report({ ...makeHello(slots[i]!, slots[i]), jobHash: jobHash(job) });
    await until("the grid", () => observer.state?.phase === "training", 30_000);
  }, 90_000);

  afterAll(async () => {
    await Promise.all(members.map((membership) => membership.close()));
    await observer.close();
    await cluster.stop();
  });

  it("evicts nobody when a server is killed, or stopped and goes on", async () => {
    const epoch = observer.state!.epoch;
    const healthy = { epoch, phase: "training" };
    for (const how of ["kill", "stop"]) {
      const leads = await cluster.leaderOf(`KV_mecefo_${job.name}`);
      expect(leads).toBeDefined();
      if (how === "kill") await cluster.kill(leads!);
      else cluster.signal(leads!, "SIGSTOP");
      await sleep(8000);
      if (how === "kill") await cluster.restart(leads!);
      else cluster.signal(leads!, "SIGCONT");
      await sleep(3000);
      expect(observer.state, notes.join("\n")).toMatchObject(healthy);
      expect(observer.state!.members.map(({ id }) => id), notes.join("\n")).toEqual(slots);
    }
    // And whoever really ends is found all the same.
    observer.exited(slots[4]!, "ended by SIGKILL");
    await until("the eviction", () => observer.state?.members.length === 5, 20_000);
  }, 120_000);
});
