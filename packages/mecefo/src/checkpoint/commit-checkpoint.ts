import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError } from "../errors.ts";
import type { StagePartition } from "../grid/stage-partition.ts";
import { jobHash } from "../job/job-hash.ts";
import type { Job } from "../job/job.ts";
import { replaceFile, sizeOfFile, syncFolder } from "../files.ts";
import { checkpointName, listCheckpoints, MANIFEST, partialFolder } from "./folder-names.ts";
import { isPartition, makeManifest, readManifest, type CheckpointManifest, type CheckpointShard } from "./manifest.ts";
import { openShard } from "./stage-shard.ts";

/** Checks a shard against what its writer reported; gives its blocks. */
async function checkShard(folder: string, shard: CheckpointShard, step: number, hash: string): Promise<readonly [number, number]> {
  const path = join(folder, shard.file);
  const size = await sizeOfFile(path, "Its writer reported it");
  if (size !== shard.bytes) throw new CheckpointError(`${path}: has ${size} bytes, its writer reported ${shard.bytes}`);
  const file = await openShard(path);
  await file.close();
  if (file.stage !== shard.stage || file.step !== step || file.jobHash !== hash) {
    const found = `stage ${file.stage} of step ${file.step} of job ${file.jobHash}`;
    throw new CheckpointError(`${path}: holds ${found}, expected ${shard.stage} of ${step} of ${hash}`);
  }
  return file.blocks;
}

const sameShards = (one: readonly CheckpointShard[], other: readonly CheckpointShard[]): boolean =>
  one.length === other.length && one.every(({ sha256 }, index) => sha256 === other[index]!.sha256);

/** A whole checkpoint of the same shards, if this one was committed before (by a leader that died, say). */
async function committedBefore(root: string, step: number, shards: readonly CheckpointShard[]): Promise<string | undefined> {
  for (const checkpoint of (await listCheckpoints(root)).whole) {
    if (checkpoint.step !== step) continue;
    const manifest = await readManifest(checkpoint.folder).catch(() => undefined);
    if (manifest && sameShards(manifest.shards, shards)) return checkpoint.folder;
  }
  return undefined;
}

async function isThere(folder: string): Promise<boolean> {
  return await readdir(folder).then(() => true, () => false);
}

/**
 * Makes a checkpoint of shards that are all written: checks them, adds the manifest, and gives the folder its name in one step. Until then
 * there is no checkpoint of the step; a process killed at any moment leaves the old ones as they were. May be repeated.
 * @param shards of every stage once, in any order
 * @returns the checkpoint's folder
 * @throws CheckpointError if a shard is missing or is not what was reported
 */
export async function commitCheckpoint(
  root: string, step: number, shards: readonly CheckpointShard[], { job, degraded }: { readonly job: Job; readonly degraded: boolean },
): Promise<string> {
  const { stages } = job.grid;
  const ordered = shards.map(({ stage, file, sha256, bytes }) => ({ stage, file, sha256, bytes })).toSorted((a, b) => a.stage - b.stage);
  if (ordered.length !== stages || ordered.some(({ stage }, index) => stage !== index)) {
    const have = ordered.map(({ stage }) => stage).join(", ") || "none";
    throw new CheckpointError(`the checkpoint of step ${step} needs a shard of each of ${stages} stages, there are those of: ${have}`);
  }
  const before = await committedBefore(root, step, ordered);
  if (before !== undefined) return before;
  const folder = partialFolder(root, step);
  if (!(await isThere(folder))) {
    throw new CheckpointError(`${folder}: there is no such folder; was the checkpoint of step ${step} written here?`);
  }
  const hash = jobHash(job);
  const partition: StagePartition = await Promise.all(ordered.map((shard) => checkShard(folder, shard, step, hash)));
  if (!isPartition(partition)) throw new CheckpointError(`${folder}: the blocks ${JSON.stringify(partition)} do not follow one another`);
  // What a writer that was killed left behind.
  const known = new Set([MANIFEST, ...ordered.map(({ file }) => file)]);
  for (const name of await readdir(folder)) if (!known.has(name)) await rm(join(folder, name), { force: true });
  const manifest: CheckpointManifest = makeManifest(job, { step, partition, shards: ordered, degraded });
  await replaceFile(join(folder, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
  return await giveName(root, step, folder);
}

async function giveName(root: string, step: number, folder: string): Promise<string> {
  const earlier = (await listCheckpoints(root)).whole.filter((checkpoint) => checkpoint.step === step);
  const attempt = earlier.length === 0 ? 0 : earlier[0]!.attempt + 1;
  const target = join(root, checkpointName(step, attempt));
  await rename(folder, target);
  await syncFolder(root);
  for (const { folder: replaced } of earlier) await deleteFolder(replaced);
  return target;
}

/** Deletes a checkpoint so that no half of it is ever taken for one. */
async function deleteFolder(folder: string): Promise<void> {
  const hidden = folder.replace(/step-([\d-]+)$/, ".step-$1.deleted");
  await rm(hidden, { recursive: true, force: true });
  await rename(folder, hidden);
  await rm(hidden, { recursive: true, force: true });
}

/**
 * Deletes all but the newest checkpoints, and what is left of older ones that never became whole.
 * @param keep at least 1
 * @returns the folders deleted
 */
export async function pruneCheckpoints(root: string, keep: number): Promise<string[]> {
  if (!Number.isInteger(keep) || keep < 1) throw new CheckpointError(`cannot keep ${keep} checkpoints; use at least 1`);
  const { whole, partial, deleted } = await listCheckpoints(root);
  const old = whole.slice(keep).map(({ folder }) => folder);
  for (const folder of old) await deleteFolder(folder);
  const newest = whole[0]?.step ?? -1;
  const leftover = [...partial.filter(({ step }) => step <= newest).map(({ folder }) => folder), ...deleted];
  for (const folder of leftover) await rm(folder, { recursive: true, force: true });
  return [...old, ...leftover];
}

/** Deletes what earlier runs left unfinished. Before a run begins: while one goes on, its shards are gathering. */
export async function cleanCheckpoints(root: string): Promise<string[]> {
  const { partial, deleted } = await listCheckpoints(root);
  const leftover = [...partial.map(({ folder }) => folder), ...deleted];
  for (const folder of leftover) await rm(folder, { recursive: true, force: true });
  return leftover;
}
