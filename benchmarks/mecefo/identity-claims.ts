/** What has to be the same, to the bit: with fault tolerance and without, in one process and in four, with kills and without. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Claim, Measured } from "../src/check.ts";
import type { Effort } from "../src/rounds.ts";
import { compareDataOrder, createSampler, openCheckpoint, openData, openStageFactory, VirtualGrid } from "@frugal/mecefo";
import { inTemporaryFolder, isQuick, killInTurn, plentyOfSteps, train, trainOnce, type EndedRun } from "./runs.ts";

/** By "step.stage": the hash of weights and moments before the step. */
function hashesOf({ result: { events } }: EndedRun): Map<string, string> {
  return new Map(events.flatMap((event) => (
    event.kind === "step" ? event.stateHashes.map(({ stage, hash }) => [`${event.step}.${stage}`, hash] as const) : []
  )));
}

/** By stage: SHA-256 of the tensors in the last checkpoint, weights and moments after the last step. Headers name the job: it differs. */
async function shardsOf({ result: { checkpoint } }: EndedRun): Promise<Map<string, string>> {
  const { folder, manifest: { shards } } = await openCheckpoint(checkpoint!);
  return new Map(await Promise.all(shards.map(async ({ stage, file }) => {
    const bytes = await readFile(join(folder, file));
    return [`${stage}`, createHash("sha256").update(bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)))).digest("hex")] as const;
  })));
}

async function referenceHashes({ run: { job } }: EndedRun, steps: number): Promise<Map<string, string>> {
  const data = await openData(job.data.folder, job.data.sha256);
  using grid = new VirtualGrid({ job, factory: await openStageFactory(job), sampler: createSampler(data.tokens, job) });
  const hashes = new Map<string, string>();
  for (let step = 0; step < steps; step++) {
    (await grid.hashes()).forEach((hash, stage) => hashes.set(`${step}.${stage}`, hash));
    await grid.step();
  }
  return hashes;
}

/** Equal values of those that either has. */
function equalIn(first: ReadonlyMap<string, string>, second: ReadonlyMap<string, string>): { equal: number; total: number } {
  const keys = new Set([...first.keys(), ...second.keys()]);
  return { equal: [...keys].filter((key) => first.get(key) === second.get(key)).length, total: keys.size };
}

async function noFailure(effort: Effort): Promise<Measured> {
  const steps = isQuick(effort) ? 6 : 20;
  return await inTemporaryFolder(async (folder) => {
    const protectedRun = await train(`${folder}/mecefo`, { strategy: "mecefo", steps });
    const plain = await train(`${folder}/none`, { strategy: "none", steps });
    const hashes = hashesOf(protectedRun);
    if (hashes.size !== 2 * steps) throw new Error(`${hashes.size} hashes for ${steps} steps of 2 stages`);
    const comparisons = [equalIn(hashes, hashesOf(plain)), equalIn(hashes, await referenceHashes(protectedRun, steps))];
    comparisons.push(equalIn(await shardsOf(protectedRun), await shardsOf(plain)));
    const sum = (pick: "equal" | "total"): number => comparisons.reduce((total, comparison) => total + comparison[pick], 0);
    return {
      value: sum("equal") / sum("total"),
      note: `weights and moments of 2 stages before each of ${steps} steps, 2x2 processes: strategy mecefo as none, and as one replica in `
        + "one process; tensors of both last checkpoints",
    };
  });
}

async function dataOrder(effort: Effort): Promise<Measured> {
  const kills = ["p0s1", "p1s0", "p0s0", "p1s1"].slice(0, isQuick(effort) ? 2 : 4);
  const killed = await trainOnce(
    { strategy: "mecefo", steps: plentyOfSteps, allowFaults: true, onEvent: killInTurn(kills, 200) }, ({ result }) => result,
  );
  const { epochs, ledger, faults, steps } = killed.summary;
  if (faults !== kills.length) throw new Error(`${faults} of ${kills.length} workers were killed before the run ended`);
  const whole = await trainOnce({ strategy: "mecefo", steps }, ({ result }) => result);
  const { compared, different } = compareDataOrder(whole.events, killed.events);
  const microbatches = whole.events.reduce((sum, event) => sum + (event.kind === "step" ? event.batches.length : 0), 0);
  return {
    value: different.length + microbatches - compared + ledger!.lost + ledger!.duplicated,
    note: `${compared} of ${microbatches} microbatches of ${steps} steps compared by the hash of their tokens; ${faults} kill -9 in the other `
      + `run, ${epochs} epochs`,
  };
}

/** Bits. */
export const identityClaims: readonly Claim[] = [
  { id: "no-failure-bit-identical", unit: "share of the hashes", target: 1, better: "larger", measure: noFailure },
];
/** The ledger. */
export const dataOrderClaims: readonly Claim[] = [
  { id: "token-exact-data-order", unit: "microbatches that differ", target: 0, better: "smaller", measure: dataOrder },
];
