import { memory, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { allTechniques, noTechniques, type Techniques } from "../approximation/stage-mode.ts";
import { MecefoError, SettingsError } from "../errors.ts";
import { runThrough, TestStage, tiny, tinyBatch, tinyModel, wholeModelGradients } from "./stage-executor.testing.ts";

const flags = [false, true];
const combinations: Techniques[] = flags.flatMap((skipMixerBackward) => flags.flatMap((recomputeFeedForward) =>
  flags.map((lowRankWeightGradients) => ({ skipMixerBackward, recomputeFeedForward, lowRankWeightGradients }))));

const isMixer = (name: string): boolean => name.includes("attention");
const isProjected = (name: string): boolean => /feedForward\.(gate|up|down)/.test(name);

describe("StageExecutor, healthy", () => {
  it.each([false, true])("gives over three stages the bits of ordinary differentiation of the whole model (tied: %s)", async (tied) => {
    const whole = tinyModel({}, { tied });
    const stages = [
      new TestStage(tinyModel({ blocks: [0, 1], head: false }, { tied })),
      new TestStage(tinyModel({ blocks: [1, 3], embedding: false, head: false }, { tied })),
      new TestStage(tinyModel({ blocks: [3, 4], embedding: false }, { tied })),
    ];
    const batch = tinyBatch(1);
    const expected = await wholeModelGradients(whole, batch);
    expect(await runThrough(stages, batch)).toBe(expected.loss);
    let compared = 0;
    for (const { model, sums } of stages) {
      const [from] = model.blockRange;
      for (const [name, parameter] of model.namedParameters()) {
        // The tied matrix has two halves of a gradient here, one on either end.
        if (tied && /embedding/i.test(name)) continue;
        const wholeName = name.replace(/^blocks\.(\d+)/, (_, i: string) => `blocks.${from + Number(i)}`);
        expect(sums.contributions(parameter)).toBe(1);
        expect(await sums.get(parameter)!.data("float32"), name).toEqual(expected.gradients[wholeName]);
        compared++;
      }
    }
    expect(compared).toBe(4 * 9 + (tied ? 1 : 3));
    for (const stage of [...stages, whole]) stage.dispose();
  });

  it("counts a matrix that is embedding and head at once as one contribution, of both uses", async () => {
    const stage = new TestStage(tinyModel({}, { tied: true }));
    const batches = [tinyBatch(1), tinyBatch(2)];
    for (const batch of batches) await runThrough([stage], batch);
    const expected = await Promise.all(batches.map((batch) => wholeModelGradients(stage.model, batch)));
    const matrix = stage.model.embeddingParameters()[0]!;
    expect(stage.sums.contributions(matrix)).toBe(2);
    const [first, second] = expected.map(({ gradients }) => gradients["embedding.weight"]!) as [Float32Array, Float32Array];
    expect(await stage.sums.get(matrix)!.data("float32")).toEqual(first.map((value, i) => value + second[i]!));
    stage.sums.clear();
    expect(stage.sums.get(matrix)).toBeUndefined();
    expect(stage.sums.contributions(matrix)).toBe(0);
    stage.dispose();
  });
});

describe("StageExecutor, degraded", () => {
  it.each(combinations.map((techniques) => [JSON.stringify(techniques), techniques] as const))("%s", async (_, techniques) => {
    const model = tinyModel();
    const stage = new TestStage(model, { techniques }, { rank: 4 });
    const batch = tinyBatch(3);
    const exact = await wholeModelGradients(model, batch);
    // Forward is exact whatever is left out later.
    expect(await runThrough([stage], batch)).toBe(exact.loss);
    const found = await stage.gradients();
    for (const name of Object.keys(exact.gradients)) {
      if (techniques.skipMixerBackward && isMixer(name)) {
        expect(found[name], `${name} is absent, not zero`).toBeUndefined();
        continue;
      }
      // What the skipped mixers take away shows in everything below the last of them.
      const isAbove = !techniques.skipMixerBackward || /^(norm|output|blocks\.3)/.test(name);
      if (isAbove && !(techniques.lowRankWeightGradients && isProjected(name))) expect(found[name], name).toEqual(exact.gradients[name]);
      else expect(found[name], name).not.toEqual(exact.gradients[name]);
    }
    stage.dispose();
  });

  it("does the mixer's backward pass where no other pipeline would", async () => {
    const model = tinyModel();
    const [exactly, plainly] = [
      new TestStage(model, { techniques: { ...allTechniques, lowRankWeightGradients: false }, exactMixer: true }),
      new TestStage(model, { techniques: noTechniques }),
    ];
    for (const stage of [exactly, plainly]) await runThrough([stage], tinyBatch(4));
    expect(await exactly.gradients()).toEqual(await plainly.gradients());
    expect(Object.keys(await exactly.gradients())).toHaveLength(4 * 9 + 3);
    exactly.sums.dispose();
    plainly.dispose();
  });

  it.each([true, false])("gives the bits of stored activations when it computes them again (low rank: %s)", async (isLowRank) => {
    const model = tinyModel();
    const stages = [false, true].map((recomputeFeedForward) => {
      const techniques = { skipMixerBackward: true, recomputeFeedForward, lowRankWeightGradients: isLowRank };
      return new TestStage(model, { techniques }, { rank: 6 });
    });
    for (const stage of stages) await runThrough([stage], tinyBatch(5));
    const [stored, recomputed] = await Promise.all(stages.map((stage) => stage.gradients()));
    expect(recomputed).toEqual(stored);
    for (const { sums, projections } of stages) for (const made of [sums, projections]) made.dispose();
    model.dispose();
  });

  it("is exact at full rank but for rounding", async () => {
    const model = tinyModel();
    const techniques = { skipMixerBackward: false, recomputeFeedForward: true, lowRankWeightGradients: true };
    const stage = new TestStage(model, { techniques }, { rank: 1e6 });
    const exact = await wholeModelGradients(model, tinyBatch(6));
    await runThrough([stage], tinyBatch(6));
    const found = await stage.gradients();
    for (const [name, gradient] of Object.entries(exact.gradients)) {
      const scale = Math.max(...gradient.map(Math.abs));
      gradient.forEach((value, i) => expect(Math.abs(found[name]![i]! - value), name).toBeLessThan(2e-5 * scale));
    }
    stage.dispose();
  });

  it("keeps one tensor [tokens, hiddenSize] a block between forward and backward, and frees everything after", async () => {
    const model = tinyModel({ embedding: false, head: false });
    const hidden = tensor(new Float32Array(2 * 16 * tiny.hiddenSize).fill(0.1), [2, 16, tiny.hiddenSize]);
    const kept = (techniques?: Techniques): { bytes: number; allocations: number } => {
      const stage = new TestStage(model, { techniques });
      stage.executor.forward({ hidden }).dispose();
      const before = memory();
      const pass = stage.executor.forward({ hidden });
      const after = memory();
      pass.dispose();
      expect(memory().allocations).toBe(before.allocations);
      return { bytes: after.allocatedBytes - before.allocatedBytes, allocations: after.allocations - before.allocations };
    };
    const degraded = kept(allTechniques);
    // h of each block, and the output.
    expect(degraded.allocations).toBe(4 + 1);
    expect(degraded.bytes).toBe(5 * 2 * 16 * tiny.hiddenSize * 4);
    expect(kept().bytes).toBeGreaterThan(8 * degraded.bytes);

    for (const techniques of [undefined, ...combinations]) {
      const before = memory().allocations;
      const stage = new TestStage(model, { techniques });
      const pass = stage.executor.forward({ hidden });
      const gradient = await pass.backward(hidden);
      gradient!.dispose();
      pass.dispose();
      for (const made of [stage.sums, stage.projections]) made.dispose();
      expect(memory().allocations).toBe(before);
    }
    hidden.dispose();
    model.dispose();
  });

  it("frees everything when a pass is disposed before, during or instead of backward", async () => {
    const model = tinyModel({ embedding: false, head: false });
    const hidden = tensor(new Float32Array(2 * 16 * tiny.hiddenSize).fill(0.1), [2, 16, tiny.hiddenSize]);
    for (const techniques of [undefined, allTechniques]) {
      const stage = new TestStage(model, { techniques });
      stage.executor.forward({ hidden }).dispose();
      const before = memory().allocations;
      const pass = stage.executor.forward({ hidden });
      const running = pass.backward(hidden);
      pass.dispose();
      await expect(running).rejects.toThrow("disposed meanwhile");
      for (const made of [stage.sums, stage.projections]) made.dispose();
      expect(memory().allocations).toBe(before);
    }
    hidden.dispose();
    model.dispose();
  });

  it("keeps the caller's tensors the caller's, and a pass its mode", async () => {
    const stage = new TestStage(tinyModel({ embedding: false, head: false }), { techniques: allTechniques });
    const hidden = tensor(new Float32Array(16 * tiny.hiddenSize).fill(0.1), [1, 16, tiny.hiddenSize]);
    const pass = stage.executor.forward({ hidden });
    stage.executor.setMode({});
    const gradient = await pass.backward(hidden);
    expect(stage.sums.parameters()).toHaveLength(4 * 4);
    expect(hidden.disposed).toBe(false);
    await expect(pass.backward(hidden)).rejects.toThrow(MecefoError);
    const healthy = stage.executor.forward({ hidden });
    (await healthy.backward(hidden))!.dispose();
    expect(stage.sums.parameters()).toHaveLength(4 * 9);
    gradient!.dispose();
    hidden.dispose();
    stage.dispose();
  });

  it("refuses what does not fit the parts it has", async () => {
    const [first, last] = [
      new TestStage(tinyModel({ blocks: [0, 2], head: false })), new TestStage(tinyModel({ blocks: [2, 4], embedding: false })),
    ];
    const { ids, targets, shape } = tinyBatch(1);
    expect(() => first.executor.forward({ ids, shape }, targets)).toThrow(SettingsError);
    expect(() => last.executor.forward({ ids, shape }, targets)).toThrow(/without embedding/);
    const pass = first.executor.forward({ ids, shape });
    expect(() => first.executor.forward({ hidden: pass.output! })).toThrow(/takes ids/);
    expect(() => last.executor.forward({ hidden: pass.output! })).toThrow(/needs targets/);
    await expect(pass.backward()).rejects.toThrow(/missing/);
    pass.dispose();
    for (const stage of [first, last]) stage.dispose();
  });
});

describe("StageExecutor and counters", () => {
  it("resets the blocks' counters when it enters degraded mode, and not while it stays there", async () => {
    const stage = new TestStage(tinyModel({ blocks: [1, 2], embedding: false, head: false }), { techniques: allTechniques });
    const hidden = tensor(new Float32Array(16 * tiny.hiddenSize).fill(0.1), [1, 16, tiny.hiddenSize]);
    const step = async (number: number): Promise<number | undefined> => {
      stage.projections.beginStep(number);
      (await stage.executor.forward({ hidden }).backward(hidden))!.dispose();
      return stage.projections.counter(1, "down");
    };
    expect([await step(0), await step(1), await step(1)]).toEqual([0, 1, 1]);
    stage.executor.setMode({ techniques: allTechniques, exactMixer: true });
    expect(await step(2)).toBe(2);
    stage.executor.setMode({});
    stage.executor.setMode({ techniques: allTechniques });
    expect(await step(3)).toBe(0);
    hidden.dispose();
    stage.dispose();
  });
});
