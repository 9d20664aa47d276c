import { memory, Parameter, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { MecefoError } from "../errors.ts";
import { GradientSums } from "./gradient-sums.ts";

describe("GradientSums", () => {
  it("adds in the order of arrival, in float32, and keeps what nobody contributed to absent", async () => {
    const before = memory().allocations;
    const [first, second] = [new Parameter(tensor([0, 0])), new Parameter(tensor([[1]]))];
    using sums = new GradientSums();
    for (const value of [1e8, 1, -1e8]) sums.add(first, tensor([value, value / 2]));
    // 1e8 + 1 rounds to 1e8: another order would give another sum.
    expect(await sums.get(first)!.data()).toEqual(Float32Array.of(0, 0));
    expect(sums.contributions(first)).toBe(3);
    expect(sums.get(second)).toBeUndefined();
    expect(sums.contributions(second)).toBe(0);
    expect(sums.parameters()).toEqual([first]);
    using wrong = tensor([1, 2, 3]);
    expect(() => sums.add(first, wrong)).toThrow(MecefoError);
    sums.clear();
    expect(sums.get(first)).toBeUndefined();
    for (const parameter of [first, second]) parameter.dispose();
    wrong.dispose();
    expect(memory().allocations).toBe(before);
  });
});
