import { memory, tensor, tidy } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { tinyModel } from "../tiny-model.testing.ts";
import { collectRows, separateRows } from "./collect-rows.ts";
import { sampleSequences } from "./sample-sequences.ts";

const model = tinyModel();

describe("collectRows", () => {
  const sequences = [[1, 5, 9, 13], [1, 7, 8], [1, 40, 2, 3, 4]];

  it("gives what the blocks after the split receive, without begin rows", async () => {
    // The rotary table grows on first use.
    await collectRows(model, sequences, { splitBlock: 2 });
    const before = memory().allocations;
    const seen: number[] = [];
    const collected = await collectRows(model, sequences, { splitBlock: 2, fisher: true, onProgress: (count) => seen.push(count) });
    expect(memory().allocations).toBe(before);
    expect(seen).toEqual([1, 2, 3]);
    expect([collected.tokens, collected.rows.length, collected.hiddenSize]).toEqual([[3, 2, 4], 9 * 32, 32]);
    using ids = tensor(Int32Array.from(sequences[1]!), [1, 3]);
    using hidden = tidy(() => model.forwardBlocks(model.embed(ids), 0, 2));
    const values = await hidden.data("float32");
    expect(collected.rows.slice(3 * 32, 5 * 32)).toEqual(values.slice(32));
    const gap = collected.beginRow!.map((value, i) => Math.abs(value - values[i]!));
    expect(Math.max(...gap)).toBeLessThan(1e-5);
    expect(collected.fisher!.every((value) => value > 0)).toBe(true);
  });

  it.each([NaN, Infinity])("refuses activations that hold %f rather than leave them out", (broken) => {
    const sequence = (value: number): Parameters<typeof separateRows>[0][number] => ({
      values: Float32Array.of(1, 2, 3, value), tokens: 2, beginsWithBegin: false,
    });
    expect(() => separateRows([sequence(4), sequence(broken)], 2)).toThrow("calibration sequence 1 are not finite");
  });

  it("finds the Fisher information by differentiating the loss", async () => {
    const ids = [1, 5, 9];
    const { fisher } = await collectRows(model, [ids], { splitBlock: 4, fisher: true });
    // After the last block only the head follows, so that the loss can be differenced channel by channel.
    using input = tensor(Int32Array.from(ids), [1, 3]);
    using hidden = tidy(() => model.forwardBlocks(model.embed(input), 0, 4));
    const values = await hidden.data("float32");
    const loss = async (changed: Float32Array): Promise<number> => {
      using logits = tidy(() => model.head(tensor(changed, [3, 32])));
      const all = await logits.data("float32");
      return [5, 9].reduce((total, target, row) => {
        const of = [...all.subarray(row * 61, (row + 1) * 61)];
        return total + Math.log(of.reduce((sum, logit) => sum + Math.exp(logit), 0)) - of[target]!;
      }, 0);
    };
    for (const channel of [0, 17]) {
      let squares = 0;
      for (const row of [0, 1, 2]) {
        const [up, down] = [values.slice(), values.slice()];
        up[row * 32 + channel]! += 0.002;
        down[row * 32 + channel]! -= 0.002;
        squares += (((await loss(up)) - (await loss(down))) / 0.004) ** 2;
      }
      expect(fisher![channel]! / (squares / 3)).toBeCloseTo(1, 1);
    }
  });

  it("refuses what it cannot collect", async () => {
    await expect(collectRows(model, sequences, { splitBlock: 5 })).rejects.toThrow("splitBlock 5; use 0 to 4");
    await expect(collectRows(model, [], { splitBlock: 1 })).rejects.toThrow("at least one sequence");
    await expect(collectRows(model, [[1]], { splitBlock: 1 })).rejects.toThrow("no row to calibrate");
    await expect(collectRows(model, sequences, { splitBlock: 1, signal: AbortSignal.abort() })).rejects.toThrow("aborted");
  });

  it("keeps begin rows that differ, and drops spikes", () => {
    const sequence = (values: readonly number[], beginsWithBegin = true): Parameters<typeof separateRows>[0][number] => ({
      values: Float32Array.from(values), tokens: values.length / 2, beginsWithBegin,
    });
    const same = separateRows([sequence([5, 5, 1, 0, 0, 1]), sequence([5, 5, 90, 90, 0, 2])], 2);
    expect([same.beginRow, [...same.rows], same.tokens, same.spikeNorm]).toEqual([Float32Array.of(5, 5), [1, 0, 0, 1, 0, 2], [2, 1], 20]);
    const other = separateRows([sequence([5, 5, 1, 0]), sequence([5, 6, 0, 2])], 2);
    expect([other.beginRow, [...other.rows]]).toEqual([undefined, [1, 0, 0, 2]]);
    const none = separateRows([sequence([5, 5, 1, 0], false)], 2);
    expect([none.beginRow, [...none.rows]]).toEqual([undefined, [5, 5, 1, 0]]);
  });
});

describe("sampleSequences", () => {
  it("samples the same text for the same seed", async () => {
    const options = { count: 3, maxTokens: 12, seed: 5 };
    const before = memory().allocations;
    const first = await sampleSequences(model, 1, options);
    expect(memory().allocations).toBe(before);
    expect(first).toEqual(await sampleSequences(model, 1, options));
    expect(first[0]).not.toEqual(first[1]);
    for (const ids of first) expect([ids[0], ids.length <= 12]).toEqual([1, true]);
  });
});
