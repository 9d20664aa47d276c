import { describe, expect, it } from "vitest";
import { makeHello, makeState, makeVote } from "./fake-leadership.testing.ts";
import { PendingReports } from "./pending-reports.ts";
import type { WorkerReport } from "./worker-report.ts";

const settled = (epoch: number): WorkerReport => ({ kind: "settled", epoch, transfers: [], milliseconds: 1 });
const trouble = (epoch: number, detail: string): WorkerReport => ({ kind: "trouble", epoch, trouble: "link", peer: "b2", detail });
const shard = (step: number, stage: number): WorkerReport =>
  ({ kind: "shard", step, stage, file: `${stage}`, sha256: "ab", bytes: 1, degraded: false });
const member = { id: "a1", slot: { pipeline: 0, stage: 0 }, address: "memory:a1", pid: 1, hostname: "h", holdings: [] };

describe("PendingReports", () => {
  it("keeps each report until the state has moved on", () => {
    const pending = new PendingReports();
    for (const report of [makeHello("a1"), settled(2), makeVote(2, 7), trouble(2, "cut")]) pending.add(report);
    pending.settle(makeState({ epoch: 2, step: 7 }));
    expect(pending.list().map(({ kind }) => kind)).toEqual(["hello", "settled", "vote", "trouble"]);
    pending.settle(makeState({ epoch: 2, step: 7, members: [member] }));
    expect(pending.list().map(({ kind }) => kind)).toEqual(["settled", "vote", "trouble"]);
    pending.settle(makeState({ epoch: 2, step: 8, members: [member], decision: { epoch: 2, step: 7, squaredNorm: 1 } }));
    expect(pending.list().map(({ kind }) => kind)).toEqual(["trouble"]);
    pending.settle(makeState({ epoch: 3, step: 8, members: [member] }));
    expect(pending.list()).toEqual([]);
  });

  it("keeps the newest of what replaces another, and no progress", () => {
    const pending = new PendingReports();
    pending.add({ kind: "progress", epoch: 1, step: 0, activity: "forward" });
    for (const report of [settled(1), settled(2), makeVote(1, 5), makeVote(2, 5), makeVote(2, 5), makeVote(2, 6)]) pending.add(report);
    expect(pending.list()).toEqual([settled(2), makeVote(2, 5), makeVote(2, 6)]);
    for (const detail of ["cut", "cut", "reset"]) pending.add(trouble(2, detail));
    expect(pending.list().filter(({ kind }) => kind === "trouble")).toEqual([trouble(2, "cut"), trouble(2, "reset")]);
    for (let n = 0; n < 200; n++) pending.add(trouble(2, `cut ${n}`));
    expect(pending.list().filter(({ kind }) => kind === "trouble")).toHaveLength(64);
    pending.add(trouble(3, "again"));
    expect(pending.list().filter(({ kind }) => kind === "trouble")).toEqual([trouble(3, "again")]);
  });

  it("keeps the shards of two checkpoints", () => {
    const pending = new PendingReports();
    for (const step of [10, 20, 30]) for (const stage of [0, 1]) pending.add(shard(step, stage));
    pending.add(shard(30, 1));
    expect(pending.list()).toEqual([shard(20, 0), shard(20, 1), shard(30, 0), shard(30, 1)]);
  });
});
