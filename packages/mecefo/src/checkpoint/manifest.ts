import { join } from "node:path";
import { z } from "zod";
import { CheckpointError, FormatError } from "../errors.ts";
import { formatGrid, type Grid } from "../grid/grid.ts";
import type { StagePartition } from "../grid/stage-partition.ts";
import { strategyNames, type StrategyName } from "../grid/strategy.ts";
import { canonicalJson, jobHash } from "../job/job-hash.ts";
import { jobModelSchema, optimizerSettingsSchema, type Job, type JobModel, type OptimizerSettings } from "../job/job.ts";
import { readBoundedJson } from "../files.ts";
import { MANIFEST } from "./folder-names.ts";

/** The part of a job that a run's course depends on: whoever resumes it has to have the same. */
export interface ResumeIdentity {
  readonly model: JobModel;
  readonly dataSha256: string;
  readonly seed: number;
  /** The learning rate follows a schedule over all of them. */
  readonly steps: number;
  readonly optimizer: OptimizerSettings;
  /** Sequences of a step: pipelines × microbatches × microbatchSize. */
  readonly globalBatch: number;
  readonly sequenceLength: number;
}

/** A stage's file in a checkpoint. */
export interface CheckpointShard {
  readonly stage: number;
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** What a checkpoint's manifest.json says. */
export interface CheckpointManifest {
  readonly formatVersion: 1;
  readonly kind: "mecefo-checkpoint";
  /** The step that would be taken next. */
  readonly step: number;
  readonly job: { readonly name: string; readonly hash: string; readonly strategy: StrategyName; readonly dataFolder: string };
  readonly resume: ResumeIdentity;
  readonly grid: Grid;
  /** Blocks of each stage. */
  readonly partition: StagePartition;
  /** In the order of stages. */
  readonly shards: readonly CheckpointShard[];
  /** Whether any worker was degraded when it was written. */
  readonly degraded: boolean;
  /** ISO 8601. */
  readonly createdAt: string;
}

const LARGEST_MANIFEST_BYTES = 1 << 24;
const count = z.int().min(0);
const side = z.int().min(1).max(4096);

const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/);

const manifestSchema: z.ZodType<CheckpointManifest> = z.object({
  formatVersion: z.literal(1),
  kind: z.literal("mecefo-checkpoint"),
  step: count,
  job: z.object({
    name: z.string().max(48),
    hash: sha256Schema,
    strategy: z.enum(strategyNames as [StrategyName, ...StrategyName[]]),
    dataFolder: z.string().max(1024),
  }),
  resume: z.object({
    model: jobModelSchema, dataSha256: sha256Schema, seed: count, steps: count, optimizer: optimizerSettingsSchema, globalBatch: count,
    sequenceLength: count,
  }),
  grid: z.object({ pipelines: side, stages: side }),
  partition: z.array(z.tuple([count, count])).min(1).max(4096),
  shards: z.array(z.object({
    stage: count, file: z.string().regex(/^stage-\d{4}\.safetensors$/), sha256: sha256Schema, bytes: count,
  })).min(1).max(4096),
  degraded: z.boolean(),
  createdAt: z.string().max(40),
});

/** What a job gives a checkpoint to be compared by. */
export function resumeIdentity(job: Job): ResumeIdentity {
  const { grid, microbatches, microbatchSize, model, data, seed, steps, optimizer, sequenceLength } = job;
  return {
    model, dataSha256: data.sha256, seed, steps, optimizer, sequenceLength,
    globalBatch: grid.pipelines * microbatches * microbatchSize,
  };
}

/** The manifest of a checkpoint that is written now. */
export function makeManifest(
  job: Job, { step, partition, shards, degraded }: Pick<CheckpointManifest, "step" | "partition" | "shards" | "degraded">,
): CheckpointManifest {
  return {
    formatVersion: 1,
    kind: "mecefo-checkpoint",
    step,
    job: { name: job.name, hash: jobHash(job), strategy: job.strategy, dataFolder: job.data.folder },
    resume: resumeIdentity(job),
    grid: job.grid,
    partition,
    shards,
    degraded,
    createdAt: new Date().toISOString(),
  };
}

/** Whether the stages' blocks follow one another from 0. */
export function isPartition(partition: StagePartition): boolean {
  return partition.every(([from, to], stage) => from === (stage === 0 ? 0 : partition[stage - 1]![1]) && to > from);
}

/** Reads and checks the manifest of a checkpoint. @throws CheckpointError naming the file and what is wrong */
export async function readManifest(folder: string): Promise<CheckpointManifest> {
  const path = join(folder, MANIFEST);
  let value: unknown;
  try {
    value = await readBoundedJson(path, LARGEST_MANIFEST_BYTES, "Without it this is no checkpoint; use another");
  } catch (cause) {
    if (cause instanceof FormatError) throw new CheckpointError(cause.message, { cause });
    throw cause;
  }
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new CheckpointError(`${path}: ${issue.path.join(".") || "manifest"}: ${issue.message}`);
  }
  const manifest = parsed.data;
  const { grid, shards, partition } = manifest;
  if (shards.length !== grid.stages || shards.some(({ stage }, index) => stage !== index)) {
    throw new CheckpointError(`${path}: shards of stages ${shards.map(({ stage }) => stage).join(", ")} for the grid ${formatGrid(grid)}`);
  }
  if (partition.length !== grid.stages || !isPartition(partition)) {
    throw new CheckpointError(`${path}: the blocks ${JSON.stringify(partition)} are no partition into ${grid.stages} stages`);
  }
  return manifest;
}

const shown = (value: unknown): string => {
  const text = canonicalJson(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
};

/** Where two values differ, as "optimizer.betas.1 0.9 → 0.99". */
function differencesOf(before: unknown, after: unknown, path: string): string[] {
  if (canonicalJson({ value: before }) === canonicalJson({ value: after })) return [];
  if (typeof before !== "object" || typeof after !== "object" || before === null || after === null) {
    return [`${path} ${before === undefined ? "absent" : shown(before)} → ${after === undefined ? "absent" : shown(after)}`];
  }
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  const entry = (value: object, key: string): unknown => (value as Record<string, unknown>)[key];
  return [...keys].flatMap((key) => differencesOf(entry(before, key), entry(after, key), path === "" ? key : `${path}.${key}`));
}

/**
 * A job may go on from a checkpoint: model, data, seed, steps, optimizer, global batch and sequence length are the same. Grid, strategy,
 * techniques, codec, timeouts and folders may be others.
 * @throws CheckpointError naming what differs
 */
export function checkResume(manifest: CheckpointManifest, job: Job): void {
  const found = differencesOf(manifest.resume, resumeIdentity(job), "");
  if (found.length === 0) return;
  const more = found.length > 6 ? ` and ${found.length - 6} more` : "";
  throw new CheckpointError(
    `the checkpoint of step ${manifest.step} (run "${manifest.job.name}") is of another job: ${found.slice(0, 6).join("; ")}${more}; ` +
    "give the job the same values, or begin anew in another folder",
  );
}
