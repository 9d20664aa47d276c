import { join, resolve } from "node:path";
import { CheckpointError, FormatError } from "../errors.ts";
import type { ParameterState } from "../worker/stage-state.ts";
import { sizeOfFile } from "../files.ts";
import { listCheckpoints } from "./folder-names.ts";
import { readManifest, type CheckpointManifest, type CheckpointShard } from "./manifest.ts";
import { openShard, type ShardFile } from "./stage-shard.ts";

/** A checkpoint whose manifest was checked, and whose files are there at their sizes. Their bytes are checked when they are read. */
export interface Checkpoint {
  /** Absolute. */
  readonly folder: string;
  readonly manifest: CheckpointManifest;
}

/** A parameter to look for: its name in the whole model, and its shape. */
export interface WantedParameter {
  readonly name: string;
  readonly shape: readonly number[];
}

/** Opens a checkpoint. @throws CheckpointError naming what is missing or damaged */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  const manifest = await readManifest(folder);
  for (const { file, bytes } of manifest.shards) {
    const path = join(folder, file);
    const size = await sizeOfFile(path, "The checkpoint is not whole; use another").catch((cause: unknown) => {
      throw cause instanceof FormatError ? new CheckpointError(cause.message, { cause }) : cause;
    });
    if (size !== bytes) throw new CheckpointError(`${path}: has ${size} bytes, the manifest says ${bytes}; use another checkpoint`);
  }
  return { folder: resolve(folder), manifest };
}

/**
 * The newest checkpoint of a run; undefined if there is none.
 * @param onDamaged told of a newer one that is damaged, for which an older one is taken. Without it, a damaged one is an error
 * @throws CheckpointError
 */
export async function latestCheckpoint(root: string, onDamaged?: (error: CheckpointError) => void): Promise<Checkpoint | undefined> {
  for (const { folder } of (await listCheckpoints(root)).whole) {
    try {
      return await openCheckpoint(folder);
    } catch (error) {
      if (!(error instanceof CheckpointError) || onDamaged === undefined) throw error;
      onDamaged(error);
    }
  }
  return undefined;
}

async function openVerified(folder: string, shard: CheckpointShard, { step, job }: CheckpointManifest): Promise<ShardFile> {
  const file = await openShard(join(folder, shard.file));
  if (file.stage === shard.stage && file.step === step && file.jobHash === job.hash) return file;
  await file.close();
  throw new CheckpointError(
    `${file.path}: holds stage ${file.stage} of step ${file.step}, the manifest says ${shard.stage} of ${step} of job ${job.hash}`,
  );
}

function checkShape({ name, shape }: WantedParameter, found: readonly number[], path: string): void {
  if (shape.join() === found.join()) return;
  throw new CheckpointError(`${path}: ${name} is [${found.join(", ")}], the model's is [${shape.join(", ")}]`);
}

/**
 * Reads parameters one after another, from whichever shards hold them, in the order of the shards.
 * @param moments false leaves the moments empty
 * @throws CheckpointError if one is missing, has another shape, or is in a file whose checksum is not the manifest's
 */
export async function* readParameters(
  { folder, manifest }: Checkpoint, wanted: readonly WantedParameter[], { moments = true }: { readonly moments?: boolean } = {},
): AsyncGenerator<ParameterState> {
  const missing = new Map(wanted.map((parameter) => [parameter.name, parameter]));
  for (const shard of manifest.shards) {
    if (missing.size === 0) break;
    const file = await openVerified(folder, shard, manifest);
    try {
      const here = [...missing.values()].filter(({ name }) => file.parameters.has(name));
      if (here.length === 0) continue;
      for (const parameter of here) checkShape(parameter, file.parameters.get(parameter.name)!, file.path);
      const sha256 = await file.sha256();
      if (sha256 !== shard.sha256) {
        throw new CheckpointError(`${file.path}: has the sha256 ${sha256}, the manifest says ${shard.sha256}; use another checkpoint`);
      }
      for (const { name } of here) {
        missing.delete(name);
        yield await file.read(name, moments);
      }
    } finally {
      await file.close();
    }
  }
  if (missing.size === 0) return;
  const names = [...missing.keys()];
  const more = names.length > 3 ? ` and ${names.length - 3} more` : "";
  throw new CheckpointError(`${folder}: no shard holds ${names.slice(0, 3).join(", ")}${more}`);
}

/**
 * A stage's parameters with their moments, in the order they are wanted in. The stage need not be one of the checkpoint's: another grid, or
 * another partition of the blocks, finds its parameters in several shards.
 * @throws CheckpointError as `readParameters`
 */
export async function readStage(checkpoint: Checkpoint, wanted: readonly WantedParameter[]): Promise<ParameterState[]> {
  const found = new Map<string, ParameterState>();
  for await (const parameter of readParameters(checkpoint, wanted)) found.set(parameter.name, parameter);
  return wanted.map(({ name }) => found.get(name)!);
}
