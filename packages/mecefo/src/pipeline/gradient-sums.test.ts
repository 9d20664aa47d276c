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

  it("adds up products with one basis before multiplying them out, whatever becomes of the basis", async () => {
    const before = memory().allocations;
    const parameter = new Parameter(tensor([[0, 0, 0], [0, 0, 0]]));
    using sums = new GradientSums();
    const [first, second] = [tensor([[1], [0], [0]]), tensor([[0], [1], [1]])];
    sums.addProduct(parameter, tensor([[1], [2]]), first);
    sums.addProduct(parameter, tensor([[10], [20]]), first);
    sums.addProduct(parameter, tensor([[3], [4]]), second);
    for (const basis of [first, second]) basis.dispose();
    sums.add(parameter, tensor([[0.5, 0.5, 0.5], [0, 0, 0]]));
    expect(await sums.get(parameter)!.data()).toEqual(Float32Array.of(11.5, 3.5, 3.5, 22, 4, 4));
    expect(sums.contributions(parameter)).toBe(4);
    using wrong = tensor([[1]]);
    expect(() => sums.addProduct(parameter, wrong, wrong)).toThrow(MecefoError);
    using basis = tensor([[1], [1], [1]]);
    sums.addProduct(parameter, tensor([[1], [1]]), basis);
    sums.clear();
    for (const made of [parameter, wrong, basis]) made.dispose();
    expect(memory().allocations).toBe(before);
  });
});
