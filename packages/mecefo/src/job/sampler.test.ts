import { describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { createSampler, type SamplerJob } from "./sampler.ts";

const tokens = Int32Array.from({ length: 4000 }, (_, index) => index);
const job: SamplerJob = { grid: { pipelines: 2, stages: 3 }, microbatches: 4, microbatchSize: 3, sequenceLength: 16, seed: 5 };

describe("createSampler", () => {
  it("depends on seed, step and number within the global batch alone", () => {
    const one = createSampler(tokens, job);
    const others = [
      createSampler(tokens, { ...job, grid: { pipelines: 4, stages: 1 }, microbatches: 2 }),
      createSampler(tokens, { ...job, grid: { pipelines: 1, stages: 9 }, microbatches: 8 }),
    ];
    const hashes = new Set<string>();
    for (let step = 0; step < 6; step++) {
      for (let microbatch = 0; microbatch < 8; microbatch++) {
        const expected = one.microbatch(step, microbatch);
        hashes.add(expected.hash);
        for (const other of others) expect(other.microbatch(step, microbatch)).toEqual(expected);
      }
    }
    expect(hashes.size).toBe(48);
    expect(createSampler(tokens, { ...job, seed: 6 }).microbatch(0, 0).hash).not.toBe(one.microbatch(0, 0).hash);
    // The order is part of a run's identity: this may not change between versions.
    expect(one.microbatch(3, 2).hash).toMatchInlineSnapshot(`"ce1779448253ddaf"`);
  });

  it("reads every sequence once an epoch, with the tokens that follow", () => {
    const sampler = createSampler(tokens, job);
    const rows = Math.floor(sampler.stepsPerEpoch * sampler.microbatchesPerStep * job.microbatchSize);
    const starts: number[] = [];
    for (let step = 0; starts.length < rows; step++) {
      for (let microbatch = 0; microbatch < sampler.microbatchesPerStep; microbatch++) {
        const { inputs, targets } = sampler.microbatch(step, microbatch);
        expect(targets).toEqual(inputs.map((id) => id + 1));
        for (let row = 0; row < job.microbatchSize; row++) starts.push(inputs[row * job.sequenceLength]!);
      }
    }
    expect(new Set(starts.slice(0, rows)).size).toBe(rows);
  });

  it("gives the hash of the tokens themselves", () => {
    const sampler = createSampler(tokens, job);
    const moved = createSampler(tokens.map((id) => id + 1), job);
    expect(moved.microbatch(0, 1).inputs).toEqual(sampler.microbatch(0, 1).inputs.map((id) => id + 1));
    expect(moved.microbatch(0, 1).hash).not.toBe(sampler.microbatch(0, 1).hash);
  });

  it("refuses what is not in the run", () => {
    const sampler = createSampler(tokens, job);
    for (const [step, microbatch] of [[0, 8], [0, -1], [-1, 0], [0.5, 0], [0, NaN]] as const) {
      expect(() => sampler.microbatch(step, microbatch)).toThrow(SettingsError);
    }
    expect(() => createSampler(tokens.subarray(0, 16), job)).toThrow("use a smaller sequenceLength or more text");
  });
});
