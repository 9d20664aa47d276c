import { memory, tensor, tidy } from "@frugal/tensor-core";
import { expect, it } from "vitest";
import { compareModels } from "../evaluation/model-comparison.ts";
import { openLaneDevice } from "../webgpu-lane.testing.ts";
import { loadModel } from "./load-model.ts";
import { randomWeights, sourceOf, tinyConfiguration } from "./random-weights.testing.ts";

await openLaneDevice();
const config = tinyConfiguration();
const source = sourceOf(config, randomWeights(config));

it("packs, forks and compares sequences on the GPU as the CPU runs each alone", async () => {
  const before = memory("webgpu").allocations;
  {
    using gpu = await loadModel(source, { device: "webgpu" });
    using cpu = await loadModel(source);
    const prompts = [[1, 5, 9, 30], [2], [7, 7, 8]];
    const caches = prompts.map(() => gpu.createCache());
    const fork = caches[0]!.fork(0);
    fork.dispose();
    const spoken = prompts.map((): number[] => []);
    for (const rows of [prompts, [[3], [4, 6], [11]], [[12], [13], [14]]]) {
      const sequences = rows.map((ids, i) => ({ cache: caches[i]!, tokens: ids.length }));
      using logits = tidy(() => {
        const ids = tensor(Int32Array.from(rows.flat()), [1, rows.flat().length], { device: "webgpu" });
        return gpu.head(gpu.forwardBlocks(gpu.embed(ids), 0, gpu.blockCount, { sequences }));
      });
      const values = await logits.data("float32");
      let row = 0;
      for (const [i, ids] of rows.entries()) {
        sequences[i]!.cache.advance(ids.length);
        spoken[i]!.push(...ids);
        using input = tensor(Int32Array.from(spoken[i]!), [1, spoken[i]!.length]);
        using expected = tidy(() => cpu.forward(input).slice(null, [-ids.length, null]));
        for (const value of await expected.data("float32")) expect(Math.abs(values[row++]! - value)).toBeLessThan(1e-4);
      }
      // The next round goes on from copies.
      for (const [i, cache] of caches.entries()) {
        caches[i] = cache.fork();
        cache.dispose();
      }
    }
    for (const cache of caches) cache.dispose();
    const { agreement, candidate, reference } = await compareModels(cpu, gpu, spoken);
    expect(agreement).toBe(1);
    expect(candidate.logProbability).toBeCloseTo(reference.logProbability, 3);
  }
  expect(memory("webgpu").allocations).toBe(before);
});
