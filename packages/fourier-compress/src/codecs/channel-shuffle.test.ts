import { tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { channelShuffleCoder, permutation } from "./channel-shuffle.ts";
import { fourierCoder } from "./fourier.ts";
import { lowRankCoder } from "./low-rank.ts";
import { rawCoder } from "./raw.ts";
import { expectHardened, randomValues, relativeError, throughCoder } from "./row-coder.testing.ts";

describe("channelShuffleCoder", () => {
  it("puts the channels back", async () => {
    const values = randomValues(5 * 37);
    const message = await throughCoder(channelShuffleCoder(rawCoder("float32"), { seed: 3 }), values, [5, 37], { kind: "none" });
    expect(message.values).toEqual(values);
    expect(message.bytes).not.toEqual(new Uint8Array(values.buffer));
    expect(channelShuffleCoder(lowRankCoder("svd"), { seed: 3 }).maxTokens).toBe(lowRankCoder("svd").maxTokens);
  });

  it("ruins what is smooth along the channels", async () => {
    const smooth = Float32Array.from({ length: 16 * 64 }, (_, i) => Math.cos((2 * Math.PI * (i % 64)) / 64));
    const coder = fourierCoder("hermitian", { shape: { kind: "proportional" }, component: "float16" });
    const target = { kind: "bytes", bytes: 200 } as const;
    expect(relativeError((await throughCoder(coder, smooth, [16, 64], target)).values, smooth)).toBeLessThan(0.01);
    const shuffled = channelShuffleCoder(coder, { seed: 1 });
    expect(relativeError((await throughCoder(shuffled, smooth, [16, 64], target)).values, smooth)).toBeGreaterThan(0.5);
  });

  it("draws permutations that hold every channel once and differ by seed", () => {
    const [one, two] = [permutation(300, 1), permutation(300, 2)];
    expect([...one].sort((a, b) => a - b)).toEqual(Array.from({ length: 300 }, (_, i) => i));
    expect(one).not.toEqual(two);
    expect(permutation(300, 1)).toEqual(one);
    expect(permutation(1, 1)).toEqual(new Int32Array(1));
  });

  it("refuses what is no message", async () => {
    using rows = tensor(randomValues(24), [4, 6]);
    await expectHardened(channelShuffleCoder(rawCoder("float16"), { seed: 1 }), rows, { kind: "none" });
  });
});
