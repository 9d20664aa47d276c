import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { openSafetensors, readerFromFile, type RandomAccessReader, type SafetensorsFile } from "@frugal/tensor-core";
import { z } from "zod";
import { CheckpointError } from "../errors.ts";
import type { ParameterState, StageState } from "../worker/stage-state.ts";
import { replaceFileWith, sizeOfFile, writeAll } from "../files.ts";
import { partialFolder, shardFileName } from "./folder-names.ts";

/** What a shard says of itself besides the stage's state. */
export interface ShardOrigin {
  /** `jobHash` of the run. */
  readonly jobHash: string;
  /** The stage's blocks: from inclusive, to exclusive. */
  readonly blocks: readonly [from: number, to: number];
}

/** A stage's file that is on disk. */
export interface WrittenShard {
  /** Its name in the step's folder. */
  readonly file: string;
  /** In hexadecimal. */
  readonly sha256: string;
  readonly bytes: number;
}

/** The three arrays of a parameter, as they are called in the file. */
const arrays = ["weight", "firstMoment", "secondMoment"] as const satisfies readonly (keyof ParameterState)[];

const CHUNK_BYTES = 1 << 22;

function headerOf(state: StageState, { jobHash, blocks }: ShardOrigin): Uint8Array {
  const header: [string, unknown][] = [["__metadata__", {
    format: "mecefo-stage", formatVersion: "1", stage: String(state.stage), step: String(state.step), jobHash, blocks: blocks.join("-"),
    parameterSteps: JSON.stringify(Object.fromEntries(state.parameters.map(({ name, steps }) => [name, steps]))),
  }]];
  const names = new Set<string>();
  let offset = 0;
  for (const parameter of state.parameters) {
    const { name, shape } = parameter;
    if (names.has(name)) throw new CheckpointError(`stage ${state.stage} has two parameters ${name}`);
    names.add(name);
    const size = shape.reduce((product, length) => product * length, 1);
    for (const array of arrays) {
      if (parameter[array].length !== size) {
        const found = `${parameter[array].length} numbers for [${shape.join(", ")}]`;
        throw new CheckpointError(`stage ${state.stage}: ${array} of ${name} has ${found}`);
      }
      header.push([`${array}.${name}`, { dtype: "F32", shape, data_offsets: [offset, (offset += size * 4)] }]);
    }
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const paddedLength = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + paddedLength).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(paddedLength), true);
  bytes.set(json, 8);
  return bytes;
}

/** Each piece of the file in turn, without a copy. */
function* piecesOf(state: StageState, header: Uint8Array): Generator<Uint8Array> {
  yield header;
  for (const parameter of state.parameters) {
    for (const array of arrays) {
      const { buffer, byteOffset, byteLength } = parameter[array];
      for (let at = 0; at < byteLength; at += CHUNK_BYTES) {
        yield new Uint8Array(buffer, byteOffset + at, Math.min(CHUNK_BYTES, byteLength - at));
      }
    }
  }
}

/**
 * Writes a stage's state as a safetensors file into the folder where its step's shards gather: weights as "weight.<name>", moments as
 * "firstMoment.<name>" and "secondMoment.<name>". Equal states give equal bytes. It is on disk when this resolves.
 * @param root folder of the run's checkpoints, where every worker can write
 * @throws CheckpointError if the state is not whole, or the file cannot be written
 */
export async function writeShard(root: string, state: StageState, origin: ShardOrigin): Promise<WrittenShard> {
  const header = headerOf(state, origin);
  const folder = partialFolder(root, state.step);
  const file = shardFileName(state.stage);
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    await mkdir(folder, { recursive: true });
    await replaceFileWith(join(folder, file), async (handle) => {
      for (const piece of piecesOf(state, header)) {
        hash.update(piece);
        await writeAll(handle, piece);
        bytes += piece.byteLength;
      }
    });
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new CheckpointError(`stage ${state.stage} of step ${state.step} could not be written to ${folder}: ${detail}`, { cause });
  }
  return { file, sha256: hash.digest("hex"), bytes };
}

/** A shard opened for reading. */
export interface ShardFile extends ShardOrigin {
  readonly path: string;
  readonly stage: number;
  readonly step: number;
  /** Names of the parameters, with their shapes. */
  readonly parameters: ReadonlyMap<string, readonly number[]>;
  /** SHA-256 of the whole file, in hexadecimal. */
  sha256(): Promise<string>;
  /** One parameter: moments are left empty unless they are wanted. */
  read(name: string, moments: boolean): Promise<ParameterState>;
  close(): Promise<void>;
}

const metadataSchema = z.object({
  format: z.literal("mecefo-stage"),
  formatVersion: z.literal("1"),
  stage: z.coerce.number().int().min(0).max(4095),
  step: z.coerce.number().int().min(0),
  jobHash: z.string().max(64),
  blocks: z.string().regex(/^\d{1,5}-\d{1,5}$/),
  parameterSteps: z.string(),
});
const stepsSchema = z.record(z.string(), z.int().min(0));

function stepsOf(text: string, path: string): Map<string, number> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(`${path}: its parameterSteps are no JSON`, { cause });
  }
  const parsed = stepsSchema.safeParse(value);
  if (!parsed.success) throw new CheckpointError(`${path}: its parameterSteps are no counts by name`);
  return new Map(Object.entries(parsed.data));
}

function parametersOf(file: SafetensorsFile, steps: ReadonlyMap<string, number>, path: string): Map<string, readonly number[]> {
  const parameters = new Map<string, readonly number[]>();
  for (const name of steps.keys()) {
    const [weight, ...moments] = arrays.map((array) => file.entries.get(`${array}.${name}`));
    const isWhole = weight?.dtype === "F32"
      && moments.every((moment) => moment?.dtype === "F32" && moment.shape.join() === weight.shape.join());
    if (!isWhole) throw new CheckpointError(`${path}: weight and moments of ${name} are not three F32 tensors of one shape`);
    parameters.set(name, weight.shape);
  }
  if (file.entries.size === arrays.length * parameters.size) return parameters;
  throw new CheckpointError(`${path}: ${file.entries.size} tensors for ${parameters.size} parameters; it is no stage of a checkpoint`);
}

async function sha256Of(reader: RandomAccessReader): Promise<string> {
  const hash = createHash("sha256");
  for (let at = 0; at < reader.byteLength; at += CHUNK_BYTES) {
    hash.update(await reader.read(at, Math.min(CHUNK_BYTES, reader.byteLength - at)));
  }
  return hash.digest("hex");
}

const floats = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.slice().buffer);

/** What reading and safetensors threw, as an error of the checkpoint. */
async function asCheckpoint<Result>(path: string, read: () => Promise<Result>): Promise<Result> {
  try {
    return await read();
  } catch (cause) {
    if (cause instanceof CheckpointError || !(cause instanceof Error)) throw cause;
    throw new CheckpointError(cause.message.startsWith(path) ? cause.message : `${path}: ${cause.message}`, { cause });
  }
}

/**
 * Opens a shard and checks what its header says; tensors are read one at a time.
 * @throws CheckpointError naming the file
 */
export async function openShard(path: string): Promise<ShardFile> {
  return await asCheckpoint(path, async () => {
    await sizeOfFile(path, "The checkpoint is not whole; use another");
    const reader = await readerFromFile(path);
    try {
      const file = await openSafetensors(reader);
      const metadata = metadataSchema.safeParse(Object.fromEntries(file.metadata));
      if (!metadata.success) {
        const issue = metadata.error.issues[0]!;
        throw new CheckpointError(`${path}: is no stage of a checkpoint: ${issue.path.join(".")}: ${issue.message}`);
      }
      const { stage, step, jobHash, blocks, parameterSteps } = metadata.data;
      const steps = stepsOf(parameterSteps, path);
      const parameters = parametersOf(file, steps, path);
      const [from, to] = blocks.split("-").map(Number) as [number, number];
      return {
        path, stage, step, jobHash, blocks: [from, to], parameters,
        sha256: () => asCheckpoint(path, () => sha256Of(reader)),
        read: (name, moments) => asCheckpoint(path, async () => {
          const shape = parameters.get(name);
          if (shape === undefined) throw new CheckpointError(`${path}: there is no parameter ${name}`);
          const read = async (array: string): Promise<Float32Array> => floats(await file.read(`${array}.${name}`));
          const empty = new Float32Array(0);
          return {
            name, shape, steps: steps.get(name)!,
            weight: await read("weight"),
            firstMoment: moments ? await read("firstMoment") : empty,
            secondMoment: moments ? await read("secondMoment") : empty,
          };
        }),
        close: () => reader.close(),
      };
    } catch (error) {
      await reader.close();
      throw error;
    }
  });
}
