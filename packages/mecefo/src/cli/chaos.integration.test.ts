import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import type { SoakVerdict } from "../chaos/soak-verdict.ts";
import { hasNatsServer } from "../membership/nats/nats-server.testing.ts";

const command = fileURLToPath(new URL("../cli.ts", import.meta.url));

/** The short form of the soaks that `npm run verify -- mecefo` runs in full: real processes, real signals. */
async function soak(...options: string[]): Promise<SoakVerdict & { readonly serversKilled: number }> {
  const output = await mkdtemp(join(tmpdir(), "mecefo-soak-"));
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [
      command, "chaos", "--json", "--grid", "2x2", "--sequence-length", "16", "--microbatches", "2", "--output", join(output, "run"), ...options,
    ]);
    return JSON.parse(stdout) as SoakVerdict & { readonly serversKilled: number };
  } finally {
    await rm(output, { recursive: true, force: true });
  }
}

const clean = { passed: true, isWhole: true, hangs: 0, divergences: 0, lostBatches: 0, duplicatedBatches: 0, unloggedRecoveries: 0, violations: [] };

describe("mecefo chaos", () => {
  it("survives kills, stops, cuts, slow links and corrupted frames, with the built-in coordinator", async () => {
    const verdict = await soak("--faults", "14", "--fault-seed", "5");
    expect(verdict).toMatchObject({ ...clean, faults: 14, rollbacks: 0 });
    expect(verdict.faultsByKind["kill"]).toBeGreaterThan(0);
    expect(verdict.recoveries).toBeGreaterThan(0);
  });

  it("goes back to a checkpoint when a stage is struck everywhere, and says so", async () => {
    const verdict = await soak("--faults", "3", "--kinds", "kill", "--slots", "p0s1", "p1s1", "--strike-stages", "--mtbf", "100", "--mttr", "3000");
    expect(verdict).toMatchObject({ ...clean, faults: 3 });
  });

  it.skipIf(!hasNatsServer())("survives with NATS, one of whose three servers is killed as well", async () => {
    const verdict = await soak("--faults", "8", "--fault-seed", "5", "--local-nats", "3", "--kill-nats");
    expect(verdict).toMatchObject({ ...clean, faults: 8, serversKilled: 1 });
  });
});
