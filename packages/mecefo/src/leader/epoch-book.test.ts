import { describe, expect, it } from "vitest";
import type { ClusterState, Member } from "../membership/cluster-state.ts";
import type { Trouble } from "../membership/worker-report.ts";
import { EpochBook, type ChangeOccasion } from "./epoch-book.ts";

const member = (id: string, stage: number): Member => ({
  id, slot: { pipeline: 0, stage }, address: "unix:/tmp/none", pid: 1, hostname: "here", holdings: [stage],
});
const [first, second] = [member("a", 0), member("b", 1)];
const link = (peer: string): Trouble => ({ kind: "trouble", epoch: 1, trouble: "link", peer, detail: `link to ${peer} failed` });

function occasion(now: number, more: Partial<ChangeOccasion> = {}): ChangeOccasion {
  return { now, decision: undefined, joining: [], joinsNow: false, isStopped: false, restorePoint: undefined, ...more };
}

function stateOf(members: readonly Member[]): ClusterState {
  return { formatVersion: 1, job: "run", epoch: 2, phase: "training", step: 5, stopAt: 9, members, cause: "killed", reason: "" };
}

const newBook = (): EpochBook => new EpochBook([first, second], { began: 0, isReady: false });

describe("EpochBook", () => {
  it("is ready once, when all have what they host", () => {
    const book = newBook();
    const settled = { kind: "settled", epoch: 1, transfers: [], milliseconds: 1 } as const;
    expect(book.settle("a", settled)).toBe(false);
    expect(book.unsettled).toEqual(["b"]);
    expect([book.settle("b", settled), book.settle("b", settled)]).toEqual([true, false]);
  });

  it("keeps the first cause of an eviction, and notes none of strangers", () => {
    const book = newBook();
    book.evict("b", "killed", "gone", 10);
    book.evict("b", "stopped", "silent", 20);
    book.evict("c", "killed", "gone", 20);
    expect(book.staying).toEqual([first]);
    expect(book.change(occasion(20))).toMatchObject({ gone: new Set(["b"]), cause: "killed", reason: "p0s1: gone" });
  });

  it("waits a moment before it answers a broken link: the death behind it may be heard of", () => {
    const book = newBook();
    book.addTrouble(link("b"), "a", 100);
    expect(book.change(occasion(139))).toBeUndefined();
    expect(book.change(occasion(140))).toMatchObject({ cause: "link", reason: "p0s0: link to b failed" });
    book.disconnect("b", 141);
    expect(book.change(occasion(141))).toMatchObject({ gone: new Set(["b"]), cause: "killed" });
  });

  it("evicts whom a peer cannot reach while its connection is closed, in either order", () => {
    const book = newBook();
    book.disconnect("b", 5);
    book.addTrouble(link("b"), "a", 6);
    expect(book.staying).toEqual([first]);
    expect(book.troubles).toEqual([]);
  });

  it("gives a closed connection its grace, which the leader's own pause does not use up", () => {
    const book = newBook();
    book.disconnect("b", 0);
    book.shift(1000, 1000);
    book.evictDisconnected(300, 1299);
    expect(book.staying).toHaveLength(2);
    book.evictDisconnected(300, 1300);
    expect(book.staying).toEqual([first]);
    const other = newBook();
    other.disconnect("b", 0);
    other.reconnect("b");
    other.evictDisconnected(300, 9000);
    expect(other.staying).toHaveLength(2);
  });

  it("lets others join with the end of a step, with any other change, or when told", () => {
    const book = new EpochBook([first], { began: 0, isReady: true });
    const joining = [second];
    expect(book.change(occasion(0, { joining }))).toBeUndefined();
    for (const more of [{ joinsNow: true }, { decision: { epoch: 1, step: 4, squaredNorm: 1 } }]) {
      expect(book.change(occasion(0, { joining, ...more }))).toMatchObject({ joining, cause: "joined", reason: "p0s1 is back" });
    }
    book.discard("stage 0: two answers, and no majority");
    expect(book.change(occasion(0, { joining }))).toMatchObject({ joining, discard: true, cause: "divergence" });
    book.discard(undefined);
    expect(book.change(occasion(0))).toBeUndefined();
  });

  it("names whom a step waits for among those that have not voted", () => {
    const book = newBook();
    book.waits("a", "b");
    expect(book.culpritOf(5)).toBe("b");
    book.waits("a", undefined);
    expect(book.culpritOf(5)).toBe("a");
  });

  it("hands on what is known of those who stay, and when the cause was learnt of", () => {
    const book = newBook();
    book.evict("a", "killed", "gone", 50);
    book.disconnect("b", 60);
    const next = book.next(stateOf([second]), { now: 80, joinedAt: [] });
    expect(next).toMatchObject({ began: 80, causeAt: 50 });
    expect([next.isMember("a"), next.isMember("b")]).toEqual([false, true]);
    expect(next.change(occasion(80))).toBeUndefined();
    next.evictDisconnected(300, 360);
    expect(next.change(occasion(360))).toMatchObject({ gone: new Set(["b"]) });
    expect(next.next(stateOf([]), { now: 400, joinedAt: [] }).causeAt).toBe(360);
  });
});
