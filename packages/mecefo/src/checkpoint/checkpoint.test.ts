import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSafetensors, readerFromFile, serializeSafetensors } from "@frugal/tensor-core";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CheckpointError } from "../errors.ts";
import { jobHash } from "../job/job-hash.ts";
import { cleanCheckpoints, commitCheckpoint, pruneCheckpoints } from "./commit-checkpoint.ts";
import { checkResume, type CheckpointManifest } from "./manifest.ts";
import { latestCheckpoint, openCheckpoint, readStage, type Checkpoint } from "./open-checkpoint.ts";
import { sampleJob, sampleState, tinyState, writeSampleCheckpoint, writeSampleShards } from "./sample-states.testing.ts";
import { openShard, writeShard } from "./stage-shard.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "mecefo-checkpoint-"));
});
afterEach(async () => {
  await rm(root, { recursive: true });
});

const job = sampleJob();
const origin = { jobHash: jobHash(job), blocks: [0, 2] as const };

describe("writeShard", () => {
  it("writes safetensors that others read, with the hash and size that it reports", async () => {
    const state = sampleState(job, 0, 120);
    const written = await writeShard(root, state, origin);
    const path = join(root, ".step-00000120.partial", written.file);
    const bytes = await readFile(path);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    expect(written).toEqual({ file: "stage-0000.safetensors", sha256, bytes: bytes.length });
    const file = await openSafetensors(await readerFromFile(path));
    expect(file.entries.size).toBe(3 * state.parameters.length);
    const moment = new Float32Array((await file.read("firstMoment.model.layers.1.mlp.up_proj.weight")).slice().buffer);
    expect(moment).toEqual(state.parameters.find(({ name }) => name === "model.layers.1.mlp.up_proj.weight")!.firstMoment);
    await file.close();
    // Whoever of the replicas writes it, and however often.
    expect(await writeShard(root, sampleState(job, 0, 120), origin)).toEqual(written);
    expect(await readdir(join(root, ".step-00000120.partial"))).toEqual([written.file]);
  });

  it("refuses states that are not whole, and says where it cannot write", async () => {
    const state = tinyState(0, 5, 1);
    const [parameter] = state.parameters;
    const wrong = { ...state, parameters: [{ ...parameter!, firstMoment: new Float32Array(3) }] };
    await expect(writeShard(root, wrong, origin)).rejects.toThrow("firstMoment of layers.0.weight has 3 numbers for [32, 32]");
    const twice = { ...state, parameters: [parameter!, parameter!] };
    await expect(writeShard(root, twice, origin)).rejects.toThrow("two parameters layers.0.weight");
    await writeFile(join(root, "file"), "");
    await expect(writeShard(join(root, "file"), state, origin)).rejects.toThrow(/stage 0 of step 5 could not be written to .*file/);
    expect(await readdir(root)).toEqual(["file"]);
  });
});

describe("checkpoints", () => {
  it("come back bit for bit, on the same grid and on others", async () => {
    const folder = await writeSampleCheckpoint(root, job, 120, { degraded: true });
    expect(folder).toBe(join(root, "step-00000120"));
    const checkpoint = (await latestCheckpoint(root))!;
    expect(checkpoint).toMatchObject({
      folder,
      manifest: { step: 120, degraded: true, grid: { pipelines: 2, stages: 2 }, partition: [[0, 2], [2, 4]], job: { hash: jobHash(job) } },
    });
    for (const grid of ["2x2", "2x1", "2x3", "2x4"]) {
      const other = sampleJob({ grid });
      for (let stage = 0; stage < other.grid.stages; stage++) {
        const expected = sampleState(other, stage, 120).parameters;
        const found = await readStage(checkpoint, expected.map(({ name, shape }) => ({ name, shape })));
        // Their sample counts of updates go by the place in the stage.
        const same = grid === "2x2" ? expected : expected.map((parameter, i) => ({ ...parameter, steps: found[i]!.steps }));
        expect(found).toEqual(same);
      }
    }
    const read = (name: string): Promise<unknown> => readStage(checkpoint, [{ name, shape: [4] }]);
    await expect(read("model.layers.9.mlp.up_proj.weight")).rejects.toThrow("no shard holds model.layers.9");
    await expect(read("model.norm.weight")).rejects.toThrow("model.norm.weight is [48], the model's is [4]");
  });

  it("hold a tied matrix once for each stage that has it", async () => {
    await writeSampleCheckpoint(root, job, 3, { tied: true });
    const checkpoint = (await latestCheckpoint(root))!;
    const last = sampleState(job, 1, 3, true).parameters;
    const found = await readStage(checkpoint, last.map(({ name, shape }) => ({ name, shape })));
    expect(found.map(({ name }) => name)).toEqual(last.map(({ name }) => name));
    expect(found.map(({ weight }) => weight)).toEqual(last.map(({ weight }) => weight));
  });

  it("exist only once every stage is there, as it was reported", async () => {
    const shards = await writeSampleShards(root, job, [sampleState(job, 0, 7), sampleState(job, 1, 7)]);
    const commit = (given = shards, step = 7, of = job): Promise<string> =>
      commitCheckpoint(root, step, given, { job: of, degraded: false });
    await expect(commit([shards[1]!])).rejects.toThrow("a shard of each of 2 stages, there are those of: 1");
    await expect(commit([shards[1]!, shards[1]!])).rejects.toBeInstanceOf(CheckpointError);
    await expect(commit([shards[0]!, { ...shards[1]!, bytes: 4 }])).rejects.toThrow("its writer reported 4");
    await expect(commit([shards[0]!, { ...shards[0]!, stage: 1 }])).rejects.toThrow("holds stage 0 of step 7");
    await expect(commit(shards, 7, sampleJob({ seed: 3 }))).rejects.toThrow("expected 0 of 7 of");
    await expect(commit(shards, 8)).rejects.toThrow("was the checkpoint of step 8 written here?");
    expect(await latestCheckpoint(root)).toBeUndefined();
    await writeFile(join(root, ".step-00000007.partial", "stage-0001.safetensors.99-abc.tmp"), "left by a worker that was killed");
    const folder = await commit(shards.toReversed());
    expect((await readdir(folder)).toSorted()).toEqual(["manifest.json", "stage-0000.safetensors", "stage-0001.safetensors"]);
    // A second leader comes to the same end.
    expect(await commit()).toBe(folder);
  });

  it("replace one of the same step without a moment without either", async () => {
    const first = await writeSampleCheckpoint(root, job, 40);
    const states = [tinyState(0, 40, 1), tinyState(1, 40, 1)];
    const second = await commitCheckpoint(root, 40, await writeSampleShards(root, job, states), { job, degraded: false });
    expect(second).not.toBe(first);
    expect(await readdir(root)).toEqual(["step-00000040-1"]);
    expect((await latestCheckpoint(root))!.folder).toBe(second);
    const third = await writeSampleCheckpoint(root, job, 40);
    expect(await readdir(root)).toEqual(["step-00000040-2"]);
    expect((await openCheckpoint(third)).manifest.step).toBe(40);
  });

  it("are pruned, with what never became whole", async () => {
    for (const step of [10, 20, 30]) {
      const shards = await writeSampleShards(root, job, [tinyState(0, step, 1), tinyState(1, step, 1)]);
      await commitCheckpoint(root, step, shards, { job, degraded: false });
    }
    for (const step of [25, 35]) await writeSampleShards(root, job, [tinyState(0, step, 1)]);
    await mkdir(join(root, ".step-00000001.deleted", "stage"), { recursive: true });
    await writeFile(join(root, "notes.txt"), "mine");
    expect((await latestCheckpoint(root))!.manifest.step).toBe(30);
    await pruneCheckpoints(root, 2);
    // Step 35 may still be gathering.
    expect((await readdir(root)).toSorted()).toEqual([".step-00000035.partial", "notes.txt", "step-00000020", "step-00000030"]);
    await cleanCheckpoints(root);
    expect((await readdir(root)).toSorted()).toEqual(["notes.txt", "step-00000020", "step-00000030"]);
    await expect(pruneCheckpoints(root, 0)).rejects.toThrow("cannot keep 0");
    expect(await latestCheckpoint(join(root, "absent"))).toBeUndefined();
  });
});

describe("damaged checkpoints", () => {
  const wantedOf = (checkpoint: Checkpoint): Parameters<typeof readStage> => [checkpoint, sampleState(job, 1, 9).parameters];

  it("are refused with the file's name, and older ones taken where that is allowed", async () => {
    await writeSampleCheckpoint(root, job, 5);
    const folder = await writeSampleCheckpoint(root, job, 9);
    const path = join(folder, "stage-0001.safetensors");
    const whole = await readFile(path);
    const open = (): Promise<Checkpoint> => openCheckpoint(folder);

    const flipped = Buffer.from(whole);
    flipped[whole.length - 50]! ^= 4;
    await writeFile(path, flipped);
    await expect(readStage(...wantedOf(await open()))).rejects.toThrow(/stage-0001\.safetensors: has the sha256/);

    await truncate(path, whole.length - 1);
    await expect(open()).rejects.toThrow(/stage-0001\.safetensors: has \d+ bytes, the manifest says/);
    await expect(latestCheckpoint(root)).rejects.toBeInstanceOf(CheckpointError);
    const damaged: string[] = [];
    expect((await latestCheckpoint(root, ({ message }) => damaged.push(message)))!.manifest.step).toBe(5);
    expect(damaged).toEqual([expect.stringContaining("stage-0001.safetensors")]);

    await rm(path);
    await expect(open()).rejects.toThrow(/stage-0001\.safetensors: there is no such file/);
    await rename(join(folder, "stage-0000.safetensors"), path);
    await expect(open()).rejects.toBeInstanceOf(CheckpointError);
    await rm(join(folder, "manifest.json"));
    await expect(open()).rejects.toThrow(/manifest\.json: there is no such file/);
  });

  it("do not exchange their stages, or those of another run", async () => {
    const folder = await writeSampleCheckpoint(root, job, 9);
    const other = await writeSampleCheckpoint(join(root, "other"), sampleJob({ seed: 1 }), 9);
    await writeFile(join(folder, "stage-0001.safetensors"), await readFile(join(other, "stage-0001.safetensors")));
    // Same size, same names: the run's hash tells.
    await expect(readStage(...wantedOf(await openCheckpoint(folder)))).rejects.toThrow("the manifest says 1 of 9 of job");
  });

  it("have manifests that are checked before anything is believed", async () => {
    const folder = await writeSampleCheckpoint(root, job, 9);
    const path = join(folder, "manifest.json");
    const manifest = JSON.parse(await readFile(path, "utf8")) as CheckpointManifest & Record<string, unknown>;
    const wrong: [string, unknown][] = [
      ["formatVersion", { ...manifest, formatVersion: 2 }],
      ["kind", { ...manifest, kind: "other" }],
      ["shards of stages 0 for the grid 2x2", { ...manifest, shards: manifest.shards.slice(0, 1) }],
      ["shards of stages 1, 0", { ...manifest, shards: manifest.shards.toReversed() }],
      ["shards.0.file", { ...manifest, shards: manifest.shards.map((shard) => ({ ...shard, file: "../../secrets.safetensors" })) }],
      ["no partition", { ...manifest, partition: [[0, 2], [3, 4]] }],
      ["no partition", { ...manifest, partition: [[0, 4]] }],
      ["resume", { ...manifest, resume: undefined }],
      ["step", { ...manifest, step: -1 }],
      ["manifest", 5],
    ];
    for (const [message, value] of wrong) {
      await writeFile(path, JSON.stringify(value));
      await expect(openCheckpoint(folder), message).rejects.toThrow(message);
      await expect(openCheckpoint(folder)).rejects.toBeInstanceOf(CheckpointError);
    }
    await writeFile(path, "{");
    await expect(openCheckpoint(folder)).rejects.toThrow(/manifest\.json: is not JSON/);
    await writeFile(path, Buffer.alloc((1 << 24) + 1, 32));
    await expect(openCheckpoint(folder)).rejects.toThrow("at most 16777216 are read");
  });

  it("have shards that are checked before anything is believed", async () => {
    const path = join(root, "stage-0000.safetensors");
    const bytes = new Uint8Array(new Float32Array(4).buffer);
    const entry = (name: string, shape = [4]) => ({ name, dtype: "F32" as const, shape, bytes });
    const metadata = {
      format: "mecefo-stage", formatVersion: "1", stage: "0", step: "9", jobHash: "", blocks: "0-2", parameterSteps: '{"a":3}',
    };
    const whole = [entry("weight.a"), entry("firstMoment.a"), entry("secondMoment.a")];
    await writeFile(path, await serializeSafetensors(whole, metadata));
    const opened = await openShard(path);
    expect(opened.parameters).toEqual(new Map([["a", [4]]]));
    await expect(opened.read("b", true)).rejects.toThrow("there is no parameter b");
    await opened.close();
    const wrong: [string, Parameters<typeof serializeSafetensors>][] = [
      ["format", [whole, { ...metadata, format: "pt" }]],
      ["formatVersion", [whole, { ...metadata, formatVersion: "2" }]],
      ["stage", [whole, { ...metadata, stage: "-1" }]],
      ["blocks", [whole, { ...metadata, blocks: "all" }]],
      ["no JSON", [whole, { ...metadata, parameterSteps: "{" }]],
      ["no counts", [whole, { ...metadata, parameterSteps: '{"a":-3}' }]],
      ["weight and moments of b", [whole, { ...metadata, parameterSteps: '{"a":3,"b":1}' }]],
      ["weight and moments of a", [[...whole.slice(0, 2), entry("secondMoment.a", [2, 2])], metadata]],
      ["3 tensors for 0 parameters", [whole, { ...metadata, parameterSteps: "{}" }]],
    ];
    for (const [message, given] of wrong) {
      await writeFile(path, await serializeSafetensors(...given));
      await expect(openShard(path), message).rejects.toThrow(message);
    }
    const good = await serializeSafetensors(whole, metadata);
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.nat(255), fc.boolean(), async (at, value, cut) => {
        const damaged = cut ? good.slice(0, at) : good.with(at, value);
        await writeFile(path, damaged);
        const error = await openShard(path).then((file) => file.close(), (cause: unknown) => cause);
        if (cut) expect(error).toBeInstanceOf(CheckpointError);
        else expect(error === undefined || error instanceof CheckpointError).toBe(true);
      }),
      { numRuns: 150 },
    );
  });
});

describe("checkResume", () => {
  it("allows what does not change the run's course, and names what does", async () => {
    const { manifest } = await openCheckpoint(await writeSampleCheckpoint(root, job, 9));
    const same = [
      { grid: "1x4", microbatches: 8, strategy: "none" as const },
      { grid: "4x1", microbatches: 2, microbatchSize: 2 },
      { grid: "2x2", microbatches: 2, microbatchSize: 4, codec: "float16", timeouts: { settling: 9 }, name: "again", threads: 2 },
      { strategy: "naive" as const, data: { folder: "moved", sha256: "a".repeat(64), vocabularySize: 258 } },
    ];
    for (const options of same) expect(() => checkResume(manifest, sampleJob(options))).not.toThrow();
    const other: [string, Parameters<typeof sampleJob>[0]][] = [
      ["seed 0 → 1", { seed: 1 }],
      ["globalBatch 16 → 8", { microbatches: 2 }],
      ["sequenceLength 16 → 8", { sequenceLength: 8 }],
      ["steps 200 → 300", { steps: 300 }],
      ["optimizer.betas.1 0.999 → 0.95", { optimizer: { betas: [0.9, 0.95] } }],
      ["model.configuration.hiddenSize 48 → 128", { model: "micro" }],
      ["dataSha256", { data: { folder: "nowhere", sha256: "b".repeat(64), vocabularySize: 258 } }],
      ["model.kind \"decoder\" → \"module\"", { model: { module: "stages.js" } }],
    ];
    for (const [message, options] of other) {
      expect(() => checkResume(manifest, sampleJob(options)), message).toThrow(CheckpointError);
      expect(() => checkResume(manifest, sampleJob(options))).toThrow(message);
    }
  });
});
