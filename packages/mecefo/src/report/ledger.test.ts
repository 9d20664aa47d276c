import { describe, expect, it } from "vitest";
import type { Job } from "../job/job.ts";
import { checkLedger, compareDataOrder, type LedgerReport } from "./ledger.ts";
import { fabricatedJob, fabricateEpoch, fabricateRun, fabricateStep } from "./run-events.testing.ts";
import type { RunEvent, StepEvent } from "../membership/run-event.ts";

const job: Job = { ...fabricatedJob, steps: 6 };
const good = fabricateRun(job, [{ slot: "p0s1", from: 2, to: 4 }]);

/** The good log with the event of a step put otherwise. */
function altered(step: number, alter: (event: StepEvent) => readonly RunEvent[]): RunEvent[] {
  return good.flatMap((event) => (event.kind === "step" && event.step === step ? alter(event) : [event]));
}
function kinds({ violations }: LedgerReport): string[] {
  return violations.map(({ kind, step }) => `${kind} ${step}`);
}

describe("the ledger", () => {
  it("finds nothing in a good log", () => {
    expect(checkLedger(good, job)).toEqual({
      ok: true, finished: true, firstStep: 0, steps: 6, microbatches: 24, hashedSteps: 6, dropped: [], rollbacks: [], lost: 0,
      duplicated: 0, divergences: 0, violations: [],
    });
    expect(checkLedger(good.filter(({ kind }) => kind !== "finished"), job)).toMatchObject({ ok: true, finished: false });
  });

  it("finds steps that were lost, in the middle, at the beginning, at the end", () => {
    const middle = checkLedger(altered(3, () => []), job);
    expect(kinds(middle)).toEqual(["lost-step 3"]);
    expect(middle).toMatchObject({ ok: false, lost: 4, duplicated: 0, steps: 5 });
    expect(kinds(checkLedger(altered(5, () => []), job))).toEqual(["lost-step 5"]);
    expect(kinds(checkLedger(good.slice(3), job))).toEqual(["wrong-epoch 1", "lost-step 0"]);
    const resumed = [fabricateEpoch(job, 1, 4, []), fabricateStep(job, 1, 4), fabricateStep(job, 1, 5)];
    expect(checkLedger(resumed, job)).toMatchObject({ ok: true, firstStep: 4, steps: 2 });
    expect(kinds(checkLedger(resumed, job, { firstStep: 0 }))).toEqual(["lost-step 0"]);
    expect(kinds(checkLedger([{ ...resumed[0]!, cause: "killed" } as RunEvent, ...resumed.slice(1)], job))).toEqual(["lost-step 0"]);
    // The run goes on in the same log: what it did after its last checkpoint is taken again.
    const rollbacks = [{ cause: "formed", from: 6, to: 4 }];
    expect(checkLedger([...good.slice(0, -1), ...resumed], job)).toMatchObject({ ok: true, steps: 6, rollbacks });
  });

  it("finds steps that were taken twice", () => {
    const report = checkLedger(altered(3, (event) => [event, event]), job);
    expect(kinds(report)).toEqual(["duplicated-step 3"]);
    expect(report).toMatchObject({ ok: false, lost: 0, duplicated: 4, steps: 6 });
  });

  it("finds microbatches that were lost, doubled, or of nobody", () => {
    const lost = checkLedger(altered(3, (event) => [{ ...event, batches: event.batches.slice(1) }]), job);
    expect(kinds(lost)).toEqual(["lost-batch 3"]);
    expect(lost).toMatchObject({ ok: false, lost: 1 });
    const doubled = checkLedger(altered(3, (event) => [{ ...event, batches: [...event.batches, event.batches[2]!] }]), job);
    expect(kinds(doubled)).toEqual(["duplicated-batch 3"]);
    expect(doubled).toMatchObject({ ok: false, duplicated: 1 });
    expect(kinds(checkLedger(altered(3, (event) => [{ ...event, batches: [...event.batches, { microbatch: 4, hash: "a" }] }]), job)))
      .toEqual(["foreign-batch 3"]);
  });

  it("lets a lost pipeline's microbatches be left out only where the job says so", () => {
    const down = ["p0s0", "p0s1", "p0s2", "p0s3"];
    const log = [
      fabricateEpoch(job, 1, 0, []), fabricateStep(job, 1, 0), fabricateEpoch(job, 2, 1, down, { lostPipelines: [0] }),
      fabricateStep(job, 2, 1, {
        batches: [2, 3].map((microbatch) => ({ microbatch, hash: "1" })),
        stateHashes: [0, 1, 2, 3].map((stage) => ({ stage, hash: "1", replicas: 1 })),
      }),
    ];
    expect(kinds(checkLedger(log, job))).toEqual(["lost-batch 1", "lost-batch 1"]);
    const dropping = checkLedger(log, { ...job, lostPipeline: "drop" });
    const dropped = [{ step: 1, microbatch: 0 }, { step: 1, microbatch: 1 }];
    expect(dropping).toMatchObject({ ok: true, lost: 0, microbatches: 6, dropped });
    // The pipeline that runs may not leave any out.
    const other = log.map((event) => (event.kind === "epoch" ? { ...event, lostPipelines: event.epoch === 2 ? [1] : [] } : event));
    expect(checkLedger(other, { ...job, lostPipeline: "drop" })).toMatchObject({ ok: false, lost: 2 });
  });

  it("finds replicas that diverged, and those that nobody looked at", () => {
    const hashes = (change: (event: StepEvent) => Partial<StepEvent>): LedgerReport =>
      checkLedger(altered(3, (event) => [{ ...event, ...change(event) }]), job);
    const diverged = hashes(({ stateHashes }) => ({ stateHashes: [...stateHashes, { stage: 2, hash: "other", replicas: 1 }] }));
    expect(kinds(diverged)).toEqual(["divergence 3"]);
    expect(diverged).toMatchObject({ ok: false, divergences: 1, lost: 0 });
    const unhashed = hashes(({ stateHashes }) => ({ stateHashes: stateHashes.slice(1) }));
    expect(unhashed).toMatchObject({ ok: false, divergences: 1, hashedSteps: 5 });
    // One that was noticed and undone is one all the same.
    const undone = [...good.filter(({ kind }) => kind !== "finished"), fabricateEpoch(job, 9, 6, [], { cause: "divergence" })];
    expect(checkLedger(undone, job)).toMatchObject({ ok: false, divergences: 1, lost: 0 });
    expect(kinds(hashes(({ stateHashes }) => ({ stateHashes: stateHashes.map((one) => ({ ...one, replicas: 1 })) })))).toHaveLength(4);
    const foreign = { stage: 9, hash: "1", replicas: 2 };
    expect(kinds(hashes(({ stateHashes }) => ({ stateHashes: [...stateHashes, foreign] })))).toEqual(["divergence 3"]);
    const none = altered(3, (event) => [{ ...event, stateHashes: [] }]);
    expect(checkLedger(none, { ...job, hashEvery: 2 }).ok).toBe(true);
    expect(checkLedger(none, { ...job, hashEvery: 3 }).ok).toBe(false);
  });

  it("finds steps of epochs that are over", () => {
    expect(kinds(checkLedger(altered(3, (event) => [{ ...event, epoch: 1 }]), job))).toEqual(["wrong-epoch 3"]);
  });

  it("counts the later take after weights went back, holds it against the earlier, and asks for a reason", () => {
    const back = (cause: "stage-lost" | "killed", more: Partial<StepEvent> = {}, later: Partial<StepEvent> = {}): RunEvent[] => [
      ...good.filter((event) => event.kind !== "finished"),
      fabricateEpoch(job, 9, 4, [], { cause }), fabricateStep(job, 9, 4, more), fabricateStep(job, 9, 5, later),
      { kind: "finished", at: 0, step: 6 },
    ];
    expect(checkLedger(back("stage-lost"), job)).toMatchObject({
      ok: true, steps: 6, microbatches: 24, rollbacks: [{ epoch: 9, cause: "stage-lost", from: 6, to: 4 }],
    });
    expect(kinds(checkLedger(back("killed"), job))).toEqual(["unexplained-rollback 4"]);
    expect(checkLedger(back("killed"), job).duplicated).toBe(8);
    expect(checkLedger(back("killed"), { ...job, strategy: "checkpoint-restart" }).ok).toBe(true);
    const otherTokens = fabricateStep(job, 9, 5).batches.map(({ microbatch }) => ({ microbatch, hash: "other" }));
    expect(kinds(checkLedger(back("stage-lost", {}, { batches: otherTokens }), job))).toEqual(Array(4).fill("changed-batch 5"));
    const otherState = [0, 1, 2, 3].map((stage) => ({ stage, hash: "other", replicas: 2 }));
    // A restored state is the one that was saved; what comes of it later may differ, the grid being another.
    expect(kinds(checkLedger(back("stage-lost", { stateHashes: otherState }), job))).toEqual(Array(4).fill("divergence 4"));
    expect(checkLedger(back("stage-lost", {}, { stateHashes: otherState }), job).ok).toBe(true);
    expect(kinds(checkLedger(back("stage-lost").filter((event) => !(event.kind === "step" && event.epoch === 9 && event.step === 5)), job)))
      .toEqual(["lost-step 5"]);
  });
});

describe("the data order of two runs", () => {
  it("is the same microbatch by microbatch", () => {
    const other = fabricateRun(job, []);
    expect(compareDataOrder(good, other)).toEqual({ compared: 24, different: [] });
    const changed = altered(3, ({ batches, ...rest }) => [
      { ...rest, batches: [batches[0]!, { microbatch: 1, hash: "x" }, ...batches.slice(2)] },
    ]);
    expect(compareDataOrder(changed, other)).toEqual({ compared: 24, different: [{ step: 3, microbatch: 1 }] });
    expect(compareDataOrder(good, []).compared).toBe(0);
  });
});
