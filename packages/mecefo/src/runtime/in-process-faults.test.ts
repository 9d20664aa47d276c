import { rawActivationCodec, type ActivationCodec } from "@frugal/language-model";
import { tensor } from "@frugal/tensor-core";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCodec } from "../job/open-codec.ts";
import type { Job } from "../job/job.ts";
import type { TransportFault } from "../transport/transport.ts";
import { expectedBatches, hashesOf, runGrid, type Action, type EndedRun } from "./grid-run.testing.ts";
import { forbidLeaks } from "./leaks.testing.ts";
import { tinyJob } from "./tiny-run.testing.ts";

forbidLeaks();

const inject = (slot: string, fault: TransportFault): Action => (grid) => grid.inject(slot, fault);

function expectExact(job: Job, { outcome, steps }: EndedRun): void {
  expect(outcome).toEqual({ kind: "finished", step: job.steps });
  expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: job.steps }, (_, step) => step));
  for (const { step, batches } of steps) expect(batches).toEqual(expectedBatches(job, step));
}

describe("InProcessGrid with faults on its links", () => {
  it("begins a step again after a cut or changed bytes, and trains on with the same bits", async () => {
    const job = tinyJob({ steps: 16 });
    const whole = await runGrid(job);
    const hurt = await runGrid(job, { after: {
      2: inject("p0s0", { kind: "cut" }), 6: inject("p1s1", { kind: "corrupt", frames: 1 }), 10: inject("p0s1", { kind: "corrupt", frames: 3 }),
    } });
    expectExact(job, hurt);
    expect(hashesOf(hurt.steps)).toEqual(hashesOf(whole.steps));
    const causes = hurt.epochs.map(({ cause }) => cause);
    expect(causes).toContain("link");
    expect(causes).toContain("corruption");
    expect(hurt.epochs.every(({ live, reason }) => live.length === 4 && reason !== "")).toBe(true);
    expect(hurt.epochs.find(({ cause }) => cause === "corruption")!.reason).toMatch(/p[01]s[01]: link to p1s1 failed: corruption/);
  });

  it("waits for a slow worker without another epoch", async () => {
    const job = tinyJob({ steps: 8 });
    const run = await runGrid(job, { after: { 2: inject("p0s0", { kind: "slow", delayMilliseconds: 20, durationMilliseconds: 300 }) } });
    expectExact(job, run);
    expect(run.epochs).toHaveLength(1);
    expect(hashesOf(run.steps)).toEqual(hashesOf((await runGrid(job)).steps));
  });

  it("takes a silent worker for dead, and goes on without it", async () => {
    const job = tinyJob({ steps: 60, timeouts: { heartbeatInterval: 20, suspicionFloor: 250, suspicionCeiling: 500 } });
    const run = await runGrid(job, { after: { 8: (grid) => grid.inject("p1s0", { kind: "stop", durationMilliseconds: 3000 }) }, on: (event) => {
      if (event.kind === "epoch" && event.cause === "stopped") expect(event.live).toEqual(["p0s0", "p0s1", "p1s1"]);
    } });
    expectExact(job, run);
    expect(run.epochs.map(({ cause }) => cause)).toContain("stopped");
  });
});

describe("InProcessGrid with codecs", () => {
  it("trains through float16 links, from the first stage's hashes on differently from float32", async () => {
    const job = tinyJob({ steps: 10, codec: "float16" });
    const run = await runGrid(job, { more: { codec: rawActivationCodec("float16") } });
    expectExact(job, run);
    const exact = await runGrid(tinyJob({ steps: 10 }));
    expect(hashesOf(run.steps)[0]).toEqual(hashesOf(exact.steps)[0]);
    expect(hashesOf(run.steps)[2]).not.toEqual(hashesOf(exact.steps)[2]);
    run.steps.forEach(({ loss }, i) => expect(loss).toBeCloseTo(exact.steps[i]!.loss!, 2));
  });

  it("trains through a codec of somebody's module", async () => {
    const folder = await mkdtemp(join(tmpdir(), "mecefo-test-"));
    try {
      const path = join(folder, "codec.mjs");
      // Scales by two on the way, which changes no bit of what arrives.
      await writeFile(path, `
        const seen = globalThis.mecefoTestCodec = { encoded: 0 };
        const { tensor } = globalThis.mecefoTestTensor;
        export default {
          name: "doubling",
          async encode(hidden) {
            seen.encoded++;
            return new Uint8Array((await hidden.data("float32")).map((x) => x * 2).buffer);
          },
          async decode(bytes, context, device) {
            const values = new Float32Array(bytes.slice().buffer).map((x) => x / 2);
            return tensor(values, [values.length / 16, 16], { device });
          },
        };`);
      (globalThis as { mecefoTestTensor?: unknown }).mecefoTestTensor = { tensor };
      const codec: ActivationCodec = await openCodec(path);
      const job = tinyJob({ steps: 5, codec: path });
      const run = await runGrid(job, { more: { codec } });
      expectExact(job, run);
      expect(hashesOf(run.steps)).toEqual(hashesOf((await runGrid(tinyJob({ steps: 5 }))).steps));
      // Forward and backward of three microbatches, two pipelines, five steps.
      expect((globalThis as { mecefoTestCodec?: { encoded: number } }).mecefoTestCodec!.encoded).toBe(60);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
