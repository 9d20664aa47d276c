import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FormatError, SettingsError } from "../errors.ts";
import { checkJob, createJob, type JobOptions } from "./create-job.ts";
import { readJob, writeJob } from "./job-file.ts";
import { canonicalJson, jobHash } from "./job-hash.ts";
import type { Job } from "./job.ts";
import { presetConfiguration } from "./model-presets.ts";
import { timeoutsSchema } from "./timeouts.ts";

const data = { folder: "corpus", sha256: "a".repeat(64), vocabularySize: 258 };
const job = (options: Partial<JobOptions> = {}): Job => createJob({ data, ...options });

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecefo-job-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

describe("createJob", () => {
  it("fills in what is left open", () => {
    expect(job()).toMatchObject({
      grid: { pipelines: 2, stages: 4 }, strategy: "mecefo", maximumChain: 4, lostPipeline: "reroute", emptyMixer: "exact", hashEvery: 1,
      techniques: { skipMixerBackward: true, recomputeFeedForward: true, lowRankWeightGradients: true }, codec: "float32",
      data: { folder: resolve("corpus"), sha256: data.sha256 }, optimizer: { warmupSteps: 20, betas: [0.9, 0.999] },
      model: { kind: "decoder", configuration: { numHiddenLayers: 4, vocabularySize: 258 } },
    });
    expect(job({ strategy: "drop-replica" })).toMatchObject({ lostPipeline: "drop", techniques: { skipMixerBackward: false } });
    expect(job({ strategy: "naive" })).toMatchObject({ lostPipeline: "reroute", techniques: { lowRankWeightGradients: false } });
    expect(job({ grid: "1x2" }).strategy).toBe("none");
    const restarting = job({ grid: "1x2", checkpoint: { folder } });
    expect(restarting).toMatchObject({ strategy: "checkpoint-restart", checkpoint: { every: 100, keep: 3 } });
    expect(job({ techniques: { lowRankWeightGradients: false } }).techniques).toEqual({
      skipMixerBackward: true, recomputeFeedForward: true, lowRankWeightGradients: false,
    });
    expect(job({ optimizer: { learningRate: 0.5, epsilon: undefined } }).optimizer).toMatchObject({ learningRate: 0.5, epsilon: 1e-8 });
    expect(job({ model: "micro", grid: { pipelines: 3, stages: 2 }, threads: undefined }).threads).toBeGreaterThan(0);
    expect(job({ model: { module: "stages.js" } }).model).toEqual({ kind: "module", path: resolve("stages.js") });
    expect(job({ sequenceLength: 2048 }).model).toMatchObject({ configuration: { maxPositionEmbeddings: 2048 } });
  });

  it("names the option that is wrong", () => {
    const wrong: [string, Partial<JobOptions>][] = [
      ["grid: 5 stages for a model of 4 blocks", { grid: "2x5" }],
      ["grid \"two\"", { grid: "two" }],
      ["sequenceLength: 1024 is more than the model's 512", {
        model: presetConfiguration("nano", { vocabularySize: 258 }), sequenceLength: 1024,
      }],
      ['"mecefo" needs at least 2 pipelines, the grid is 1x4', { grid: "1x4", strategy: "mecefo" }],
      ["only copy of a lost worker's weights", { grid: "1x4", strategy: "naive" }],
      ["needs at least 2 pipelines", { grid: "1x1", strategy: "drop-replica" }],
      ["techniques: skipMixerBackward with strategy \"naive\"", { strategy: "naive", techniques: { skipMixerBackward: true } }],
      ["needs a folder", { strategy: "checkpoint-restart" }],
      ["maximumChain: 5 of 4", { maximumChain: 5 }],
      ["warmupSteps: 300 of 200", { optimizer: { warmupSteps: 300 } }],
      ["optimizer.betas", { optimizer: { betas: [0.9, 1] } }],
      ["projection.rank: 2.5", { projection: { rank: 2.5 } }],
      ["name:", { name: "a b" }],
      ["microbatches:", { microbatches: 0 }],
      ["timeouts", { timeouts: { heartbeat: 5 } as never }],
      ['model "giant" is no preset', { model: "giant" as never }],
      ["vocabularySize", { data: { folder: "x", sha256: data.sha256 } }],
      ["too small for the data's 258", { model: presetConfiguration("nano", { vocabularySize: 257 }) }],
      ["hiddenSize", { model: { ...presetConfiguration("nano", { vocabularySize: 258 }), hiddenSize: -1 } }],
      ["data.sha256", { data: { ...data, sha256: "abc" } }],
    ];
    for (const [message, options] of wrong) {
      expect(() => job(options), message).toThrow(SettingsError);
      expect(() => job(options)).toThrow(message);
    }
  });

  it("hashes a job whatever the order of its keys", () => {
    const one = job();
    const reversed = Object.fromEntries(Object.entries(one).toReversed()) as unknown as Job;
    expect(jobHash(reversed)).toBe(jobHash(one));
    expect(jobHash(checkJob(JSON.parse(JSON.stringify(one))))).toBe(jobHash(one));
    expect(jobHash({ ...one, seed: 1 })).not.toBe(jobHash(one));
    expect(jobHash({ ...one, checkpoint: undefined })).toBe(jobHash(one));
    expect(canonicalJson({ b: [{ d: 1, c: undefined }], a: 0 })).toBe('{"a":0,"b":[{"d":1}]}');
  });

  it("writes and reads job files, and names those that are wrong", async () => {
    const path = join(folder, "job.json");
    const one = job({ checkpoint: { folder, every: 7 }, timeouts: { settling: 5 } });
    await writeJob(path, one);
    expect(await readJob(path)).toEqual(one);
    await writeFile(path, JSON.stringify({ ...one, grid: { pipelines: 1, stages: 4 } }));
    await expect(readJob(path)).rejects.toThrow(/job\.json: is no valid job: strategy/);
    await writeFile(path, JSON.stringify(one).slice(0, -5));
    await expect(readJob(path)).rejects.toThrow("not JSON");
    await writeFile(path, JSON.stringify({ ...one, extra: 1 }));
    await expect(readJob(path)).rejects.toBeInstanceOf(FormatError);
    await writeFile(path, " ".repeat((1 << 20) + 1));
    await expect(readJob(path)).rejects.toThrow("at most 1048576");
    await expect(readJob(join(folder, "absent.json"))).rejects.toThrow("there is no such file");
    await expect(readJob(folder)).rejects.toThrow("not a plain file");
  });

  it("refuses limits by which everybody would be suspected", () => {
    expect(() => timeoutsSchema.parse({ heartbeatInterval: 1000 })).toThrow(/heartbeatInterval has to be shorter/);
    expect(timeoutsSchema.parse({ heartbeatInterval: 1000, suspicionFloor: 4000 })).toEqual({ heartbeatInterval: 1000, suspicionFloor: 4000 });
  });
});
