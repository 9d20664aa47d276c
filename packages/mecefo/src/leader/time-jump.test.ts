import { expect, it } from "vitest";
import { slotName, slotsOf } from "../grid/grid.ts";
import { jobHash } from "../job/job-hash.ts";
import { Controller } from "./controller.ts";
import { makeHello, makeJob, until } from "../membership/fake-leadership.testing.ts";
import { createInProcessMembership } from "../membership/in-process-membership.ts";

it("a coordinator that was itself stopped for an hour evicts nobody, and still finds whoever is silent", async () => {
  const timeouts = { heartbeatInterval: 10, suspicionFloor: 200, suspicionCeiling: 1000 };
  const job = { ...makeJob(), grid: { pipelines: 2, stages: 2 }, timeouts };
  let jump = 0;
  const membership = await createInProcessMembership({
    heartbeatInterval: 10, tickInterval: 10,
    createLeadership: async (plane, emit) => {
      const controller = new Controller({ job, jobHash: jobHash(job), plane, emit, now: () => performance.now() + jump });
      await controller.start();
      return controller;
    },
  });
  const slots = slotsOf(job.grid).map(slotName);
  const clients = slots.map((slot) => membership.join(slot));
  for (const [i, client] of clients.entries()) client.report({ ...makeHello(slots[i]!, slots[i]), jobHash: jobHash(job) });
  await until("the grid", () => membership.state?.phase === "training");
  await new Promise((resolve) => setTimeout(resolve, 200));
  const { epoch } = membership.state!;
  for (let round = 0; round < 3; round++) {
    jump += 3_600_000;
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  expect(membership.state).toMatchObject({ epoch, phase: "training" });
  clients[2]!.pause();
  await until("the eviction of the silent one", () => membership.state?.members.length === 3);
  expect(membership.state!.members.map(({ id }) => id)).toEqual([slots[0], slots[1], slots[3]]);
  await membership.close();
});
