import { keep, tensor, tidy, type Parameter, type Tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { noTechniques } from "../approximation/stage-mode.ts";
import type { ParameterState } from "../worker/stage-state.ts";
import { assign } from "../grid/assignment.ts";
import { partitionBlocks } from "../grid/stage-partition.ts";
import { decoderStageFactory } from "../job/decoder-stages.ts";
import { ProjectionStore } from "../approximation/projection-store.ts";
import { GradientSums } from "../pipeline/gradient-sums.ts";
import { StageExecutor } from "../pipeline/stage-executor.ts";
import { runThrough, tinyBatch } from "../pipeline/stage-executor.testing.ts";
import { forbidLeaks } from "../runtime/leaks.testing.ts";
import { tinyConfiguration, tinyJob } from "../runtime/tiny-run.testing.ts";
import { StageReplica } from "../worker/stage-replica.ts";
import { tinyReplica } from "../worker/state.testing.ts";
import { ringReduceInOrder } from "./ring-all-reduce.ts";
import { StageGradients, tiedParameters, type GradientSource } from "./stage-gradients.ts";

forbidLeaks();

/** Sums given by hand. */
function source(entries: readonly (readonly [Parameter, Tensor, number])[]): GradientSource {
  return {
    get: (parameter) => entries.find(([own]) => own === parameter)?.[1],
    contributions: (parameter) => entries.find(([own]) => own === parameter)?.[2] ?? 0,
  };
}

describe("Eq. 1", () => {
  it("averages mixers over N(l) and all the rest over all ranks, with real passes (spec §1.11, point 5)", async () => {
    const [STAGES, MICROBATCHES] = [4, 2];
    const factory = decoderStageFactory(tinyConfiguration(false));
    const job = tinyJob({ grid: "4x4", microbatches: MICROBATCHES }, false);
    const techniques = { ...noTechniques, skipMixerBackward: true };
    const assignment = assign({ ...job, techniques }, ({ pipeline, stage }) => !(pipeline === 1 && stage === 2));
    expect(assignment.pipelines[1]!.hosts.at(-1)).toMatchObject({ stage: 3, from: 2, to: 4 });
    const partition = partitionBlocks(factory.blockCount, STAGES);
    const replicas = partition.map((blocks, stage) =>
      new StageReplica({ stage, parts: { blocks, embedding: stage === 0, head: stage === STAGES - 1 }, factory, job }));
    /** By pipeline: means of its own gradients over its microbatches; absent where it has none. */
    const means: Map<Parameter, Float32Array>[] = [];
    const buffers: Float32Array[][] = replicas.map(() => []);
    const gradients = replicas.map(({ parameters }) => new StageGradients(parameters));
    for (const { pipeline, hosts } of assignment.pipelines) {
      const stages = replicas.map(({ model }, stage) => {
        const sums = new GradientSums();
        const host = hosts.find(({ from, to }) => from <= stage && stage < to)!;
        const mode = host.modes[stage - host.from]!;
        return { sums, executor: new StageExecutor(model, { mode, projections: new ProjectionStore(job.projection), sums }) };
      });
      for (let i = 0; i < MICROBATCHES; i++) {
        await runThrough(stages as unknown as Parameters<typeof runThrough>[0], tinyBatch(10 * pipeline + i, 2, 8));
      }
      const found = new Map<Parameter, Float32Array>();
      for (const [stage, replica] of replicas.entries()) {
        const { sums } = stages[stage]!;
        await gradients[stage]!.fill(sums);
        buffers[stage]!.push(gradients[stage]!.values.slice());
        for (const { parameter } of replica.parameters) {
          const sum = await sums.get(parameter)?.data("float32");
          if (sum) found.set(parameter, sum.map((value) => value / MICROBATCHES));
        }
        sums.dispose();
      }
      means.push(found);
    }
    for (const [stage, replica] of replicas.entries()) {
      gradients[stage]!.values.set(ringReduceInOrder(buffers[stage]!));
      const squaredNorm = gradients[stage]!.average();
      const averaged = gradients[stage]!.gradients(1);
      let expectedNorm = 0;
      for (const { parameter, mixerBlock, name } of replica.parameters) {
        const giving = means.flatMap((found, rank) => (found.has(parameter) ? [rank] : []));
        const ranks = mixerBlock !== undefined && stage >= 2 ? [0, 2, 3] : [0, 1, 2, 3];
        expect(giving, name).toEqual(ranks);
        const tensorOf = averaged.get(parameter)!;
        const values = await tensorOf.data("float32");
        let [difference, size] = [0, 0];
        for (let i = 0; i < values.length; i++) {
          const mean = ranks.reduce((sum, rank) => sum + means[rank]!.get(parameter)![i]!, 0) / ranks.length;
          difference = Math.max(difference, Math.abs(values[i]! - mean));
          size = Math.max(size, Math.abs(mean));
          expectedNorm += mean * mean;
        }
        expect(difference, name).toBeLessThan(1e-6 * size + 1e-9);
        tensorOf.dispose();
      }
      expect(squaredNorm! / expectedNorm).toBeCloseTo(1, 4);
      replica.dispose();
    }
  });
});

describe("StageGradients", () => {
  it("sums, counts, averages, and tells infinities", async () => {
    const replica = tinyReplica(1, false);
    const mixer = replica.parameters.find(({ mixerBlock }) => mixerBlock !== undefined)!;
    const rest = replica.parameters.find(({ mixerBlock }) => mixerBlock === undefined)!;
    const parts = [mixer, rest];
    const fill = async (value: number, counts: readonly [number, number]): Promise<StageGradients> => {
      const gradients = new StageGradients(parts);
      const sums = parts.map(({ parameter }) => keep(tensor(new Float32Array(parameter.size).fill(value), parameter.shape)));
      await gradients.fill(source(parts.flatMap(({ parameter }, i) => (counts[i]! > 0 ? [[parameter, sums[i]!, counts[i]!] as const] : []))));
      for (const sum of sums) sum.dispose();
      return gradients;
    };
    const [healthy, degraded] = [await fill(6, [3, 3]), await fill(4, [0, 2])];
    healthy.accumulate(degraded);
    const n = mixer.parameter.size;
    expect(Array.from(healthy.values.slice(-2))).toEqual([3, 5]);
    expect(healthy.average()).toBeCloseTo(n * 4 + rest.parameter.size * 4, 2);
    expect(new Set(healthy.values.slice(0, n))).toEqual(new Set([2]));
    expect(new Set(healthy.values.slice(n, -2))).toEqual(new Set([2]));
    const hash = healthy.hash();
    healthy.values[5]! += 1e-6;
    expect(healthy.hash()).not.toBe(hash);
    expect((await fill(Number.POSITIVE_INFINITY, [1, 1])).average()).toBeNull();
    expect((await fill(Number.NaN, [1, 1])).average()).toBeNull();
    replica.dispose();
  });

  it("has no gradient for what nobody contributed to, so that weights and moments stay as they are", async () => {
    const replica = tinyReplica(0, false);
    const step = async (without: boolean): Promise<ParameterState[]> => {
      const gradients = new StageGradients(replica.parameters);
      const sums = replica.parameters.map(({ parameter, mixerBlock }) => {
        const half = keep(tensor(new Float32Array(parameter.size).fill(0.5), parameter.shape));
        return [parameter, half, without && mixerBlock === 1 ? 0 : 2] as const;
      });
      await gradients.fill(source(sums.filter(([, , count]) => count > 0)));
      for (const [, sum] of sums) sum.dispose();
      expect(gradients.average()).not.toBeNull();
      tidy(() => {
        const found = gradients.gradients(1);
        replica.update(replica.parameters.map(({ parameter }) => found.get(parameter)), 1);
      });
      return [...(await replica.state()).parameters];
    };
    const one = await step(false);
    const two = await step(true);
    const mixers = replica.parameters.map(({ mixerBlock }) => mixerBlock);
    expect(mixers).toContain(1);
    two.forEach((parameter, i) => {
      if (mixers[i] === 1) expect(parameter).toEqual(one[i]);
      else expect(parameter.steps).toBe(2);
    });
    replica.dispose();
  });

  it("knows the two ends of a tied matrix, and counts one of them", async () => {
    const ends = [tinyReplica(0, true), tinyReplica(1, true)];
    const tied = ends.map((replica) => tiedParameters(replica.model, 2));
    expect(tied.map((parameters) => parameters.map(({ shape }) => shape))).toEqual([[[40, 16]], [[40, 16]]]);
    expect(tiedParameters(ends[0]!.model, 1)).toEqual([]);
    const untied = tinyReplica(0, false);
    expect(tiedParameters(untied.model, 2)).toEqual([]);
    const [parameter] = tied[0]!;
    const sum = keep(tensor(new Float32Array(640).fill(3), [40, 16]));
    const [embedding, head] = [0, 1].map(() => new StageGradients([{ parameter: parameter!, mixerBlock: undefined }]));
    await embedding!.fill(source([[parameter!, sum, 4]]));
    await head!.fill(source([[parameter!, sum, 4]]), { countless: true });
    embedding!.accumulate(head!);
    embedding!.average();
    // Both ends' gradients are summed, over the microbatches of one.
    expect(new Set(embedding!.values.slice(0, 640))).toEqual(new Set([1.5]));
    sum.dispose();
    for (const replica of [...ends, untied]) replica.dispose();
  });
});
