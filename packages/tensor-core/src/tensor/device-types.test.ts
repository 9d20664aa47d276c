/** What consumers write has to compile: devices are followed through layers, operations and gradients. */
import { describe, expect, it } from "vitest";
import {
  add,
  checkpoint,
  clipByGlobalNorm,
  customGradient,
  embedding,
  Generator,
  grad,
  Linear,
  matmul,
  Parameter,
  RmsNorm,
  Sequential,
  stopGradient,
  tensor,
  valueAndGrad,
  vjp,
  type DeviceName,
  type Tensor,
} from "../index.ts";
import { scope } from "./scope.ts";

describe("types of devices", () => {
  it("follow the data through layers and operations", () => {
    using _ = scope();
    const generator = new Generator(1);
    using layer = Linear.create(2, 2, { generator });
    using norm = RmsNorm.create(2);
    const x = tensor([[1, 2]]);
    expect(layer.forward(x).dataSync().length).toBe(2);
    expect(new Sequential(layer, norm).forward(x).dataSync().length).toBe(2);
    expect(x.add(layer.bias!).dataSync().length).toBe(2);
    expect(layer.bias!.add(x).dataSync().length).toBe(2);
    expect(add(1, add(layer.bias!, x)).dataSync().length).toBe(2);
    expect(x.matmul(layer.weight as Tensor).dataSync().length).toBe(2);
    expect(matmul(layer.weight as Parameter, x.transpose()).dataSync().length).toBe(2);
    expect(x.less(norm.weight).dataSync().length).toBe(2);
    expect(embedding(layer.weight as Parameter, tensor([1], { dtype: "int32" })).dataSync().length).toBe(2);
    using parameter = new Parameter(tensor([1, 2]));
    expect([...parameter.dataSync()]).toEqual([1, 2]);
    const anywhere: Tensor = x;
    // @ts-expect-error a tensor of an unknown device may have to be waited for
    expect(anywhere.dataSync().length).toBe(2);
    const foreign = (gpu: Tensor<"webgpu">): void => {
      // @ts-expect-error only devices whose memory the host reads
      gpu.dataSync();
    };
    expect(foreign).toBeTypeOf("function");
  });

  it("follow the data through gradients", () => {
    using _ = scope();
    using layer = Linear.create(2, 1, { generator: new Generator(1) });
    const x = tensor([1, 2]);
    expect([...grad((a) => a.sum())(x).dataSync()]).toEqual([1, 1]);
    const [value, gradient] = valueAndGrad((a) => a.multiply(a).sum())(x);
    expect([...value.dataSync(), ...gradient.dataSync()]).toEqual([5, 2, 4]);
    const [loss, gradients] = valueAndGrad(() => layer.forward(x).sum())(layer.parameters());
    expect(loss.dataSync().length).toBe(1);
    expect([...gradients[0]!.dataSync()]).toEqual([1, 2]);
    expect([...clipByGlobalNorm(gradients, 100).gradients[0]!.dataSync()]).toEqual([1, 2]);
    const tree = grad(({ a, b }: { a: Tensor; b: readonly Tensor[] }) => a.multiply(b[0]!).sum())({ a: x, b: [x] });
    expect(tree.b[0]!.shape).toEqual([2]);
    const rest = valueAndGrad((a: Tensor, factor: number) => a.multiply(factor).sum())(x, 3);
    expect(rest[1].shape).toEqual([2]);
    const typed = grad((a: Tensor<"cpu">) => a.sum())(x);
    expect(typed.dataSync().length).toBe(2);
    expect(
      vjp(() => x.sum(), [x])
        .backward([tensor(1)])[0]!
        .dataSync().length,
    ).toBe(2);
    expect(checkpoint((a) => a.exp(), x).dataSync().length).toBe(2);
    expect(stopGradient(x).dataSync().length).toBe(2);
    const twice = customGradient((a: Tensor) => ({ value: a.multiply(2), gradient: ([g]) => [g!.multiply(2)] }));
    expect([...twice(x).dataSync()]).toEqual([2, 4]);
    const pair = customGradient((a: Tensor, b: Tensor) => ({ value: [a.exp(), b.exp()] as const, gradient: ([g, h]) => [g, h] }));
    expect(pair(x, x)[1].dataSync().length).toBe(2);
    // A function may also be written for any device.
    const generic = <Device extends DeviceName>(a: Tensor<Device>): Tensor<Device> => a.add(1).multiply(layer.bias!);
    expect(generic(x).dataSync().length).toBe(2);
  });
});
