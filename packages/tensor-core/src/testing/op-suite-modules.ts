import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { valueAndGrad } from "../autograd/gradients.ts";
import type { DeviceName } from "../backend/backend.ts";
import { memory } from "../backend/inspection.ts";
import { ShapeError, TensorError } from "../errors.ts";
import { kaimingUniform, xavierNormal } from "../nn/initialization.ts";
import { Dropout, Embedding, LayerNorm, Linear, RmsNorm, Sequential, type Layer } from "../nn/layers.ts";
import { Module } from "../nn/module.ts";
import { Parameter } from "../nn/parameter.ts";
import { full, tensor } from "../ops/creation.ts";
import { linear } from "../ops/matmul.ts";
import { layerNorm, rmsNorm } from "../ops/normalization.ts";
import { quantize } from "../ops/quantize.ts";
import { assign, slice, transpose } from "../ops/views.ts";
import { Generator } from "../random/random.ts";
import { dispose, scope, tidy } from "../tensor/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";

class Block extends Module {
  readonly norm: RmsNorm;
  readonly steps: readonly Module[];
  readonly gains: readonly Parameter[];
  tied: Parameter;
  readonly name = "block";

  constructor(generator: Generator, device: DeviceName) {
    super();
    this.norm = RmsNorm.create(4, { device });
    this.steps = [
      Linear.create(4, 3, { generator, device }),
      new Sequential(Linear.create(3, 4, { generator, device, bias: false }), new Dropout(0.5, { generator })),
    ];
    this.gains = [new Parameter(full([4], 2, { device })), new Parameter(full([4], 3, { device }))];
    this.tied = (this.steps[0] as Linear).weight as Parameter;
  }
}

/** Modules, their layers and parameters. */
export function modulesSuite(device: DeviceName): void {
  const of = (data: Parameters<typeof tensor>[0]): Tensor => tensor(data, { device }) as Tensor;
  const valuesOf = async (source: Tensor): Promise<number[]> => [...(await source.data())];

  describe(`modules on "${device}"`, () => {
    let start = 0;
    beforeEach(() => {
      start = memory(device).allocations;
    });
    afterEach(() => {
      expect(memory(device).allocations - start, "tensors left in memory").toBe(0);
    });

    describe("modules", () => {
      it("name their parameters, each once, however they are held", () => {
        const block = new Block(new Generator(1), device);
        const names = [...block.namedParameters()].map(([name]) => name);
        expect(names).toEqual(["norm.weight", "steps.0.weight", "steps.0.bias", "steps.1.layers.0.weight", "gains.0", "gains.1", "tied"]);
        expect([...block.namedParameters("model.")].map(([name]) => name)[0]).toBe("model.norm.weight");
        expect(block.parameters().length).toBe(6);
        expect(Object.keys(block.stateDict())).toEqual(names);
        expect([...block.modules()].length).toBe(6);
        block.dispose();
        expect(block.parameters().every((parameter) => parameter.disposed)).toBe(true);
      });

      it("switch training for the whole tree", () => {
        using block = new Block(new Generator(1), device);
        const dropout = (block.steps[1] as Sequential).layers[1]!;
        expect(dropout.training).toBe(true);
        expect(block.setTraining(false)).toBe(block);
        expect([...block.modules()].some((module) => module.training)).toBe(false);
        block.setTraining(true);
        expect(dropout.training).toBe(true);
      });

      it("save and load their state", async () => {
        using source = new Block(new Generator(1), device);
        using target = new Block(new Generator(2), device);
        const weight = target.norm.weight;
        const [filled, empty] = [of([5, 6, 7, 8]), of([0, 0, 0, 0])];
        assign(source.norm.weight, filled);
        target.loadStateDict(source.stateDict());
        expect(target.norm.weight).toBe(weight);
        for (const [name, parameter] of target.namedParameters())
          expect(await valuesOf(parameter), name).toEqual(await valuesOf(source.stateDict()[name]!));
        assign(source.norm.weight, empty);
        expect(await valuesOf(weight)).toEqual([5, 6, 7, 8]);
        dispose([filled, empty]);
      });

      it("refuse a state that does not fit, before anything changes", async () => {
        using layer = Linear.create(2, 2, { generator: new Generator(1), device });
        const before = await valuesOf(layer.weight as Parameter);
        const [weight, bias, wide] = [
          of([
            [1, 2],
            [3, 4],
          ]),
          of([1, 2]),
          of([1, 2, 3]),
        ];
        expect(() => layer.loadStateDict({ weight })).toThrow('loadStateDict: parameter "bias" is missing');
        expect(() => layer.loadStateDict({ weight, bias, other: bias })).toThrow('loadStateDict: unknown parameter "other"');
        expect(() => layer.loadStateDict({ weight, bias, other: bias })).toThrow(TensorError);
        expect(() => layer.loadStateDict({ weight, bias: wide })).toThrow('loadStateDict: "bias" is [2], the given value [3]');
        expect(() => layer.loadStateDict({ weight, bias: wide })).toThrow(ShapeError);
        expect(await valuesOf(layer.weight as Parameter)).toEqual(before);
        dispose([weight, bias, wide]);
      });

      it("compute what their operations do", async () => {
        const generator = new Generator(3);
        using dense = Linear.create(4, 3, { generator, device, activation: "silu" });
        using table = Embedding.create(5, 4, { generator, device, standardDeviation: 0.1 });
        using rms = RmsNorm.create(4, { device, epsilon: 1e-3 });
        using norm = LayerNorm.create(4, { device });
        using chain = new Sequential(rms, norm as Layer, dense);
        using _ = scope();
        const ids = tensor(new Int32Array([4, 0, 4]), { device }) as Tensor;
        const x = table.forward(ids);
        expect(x.shape).toEqual([3, 4]);
        expect(await valuesOf(slice(x, 0))).toEqual(await valuesOf(slice(table.weight, 4)));
        const steps = linear(layerNorm(rmsNorm(x, { epsilon: 1e-3 })), dense.weight as Parameter, { bias: dense.bias, activation: "silu" });
        const expected = await valuesOf(steps);
        (await valuesOf(chain.forward(x))).forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 5));
      });

      it("infer with quantised weights", async () => {
        using layer = Linear.create(32, 3, { generator: new Generator(1), device });
        const dense = layer.weight as Parameter;
        const x = full([2, 32], 0.5, { device }) as Tensor;
        const expected = layer.forward(x);
        const quantized = await quantize(dense as Tensor, { format: "int8", groupSize: 16 });
        layer.weight = quantized;
        expect([...layer.namedParameters()].map(([name]) => name)).toEqual(["bias"]);
        const actual = layer.forward(x);
        const values = await valuesOf(actual);
        (await valuesOf(expected)).forEach((value, i) => expect(values[i]).toBeCloseTo(value, 2));
        dispose([dense, x, expected, actual]);
      });

      it("save, load and free quantised weights", async () => {
        const make = async (seed: number): Promise<Linear> => {
          const weight = full([3, 32], seed, { device }) as Tensor;
          const layer = new Linear({ weight: await quantize(weight, { format: "uint4", groupSize: 16 }) });
          weight.dispose();
          return layer;
        };
        using source = await make(2);
        using target = new Sequential(await make(5));
        expect(Object.keys(target.stateDict())).toEqual(["layers.0.weight.values", "layers.0.weight.scales", "layers.0.weight.minimums"]);
        expect([target.parameters().length, target.quantizedWeights().length]).toEqual([0, 1]);
        target.loadStateDict(Object.fromEntries(Object.entries(source.stateDict()).map(([name, value]) => [`layers.0.${name}`, value])));
        const x = full([1, 32], 1, { device }) as Tensor;
        const [expected, actual] = [source.forward(x), target.forward(x)];
        expect(await valuesOf(actual)).toEqual(await valuesOf(expected));
        dispose([x, expected, actual]);
      });

      it("start in the ranges of their rules", async () => {
        using _ = scope();
        const generator = new Generator(5);
        const uniform = await valuesOf(kaimingUniform(generator, [50, 100], { device }) as Tensor);
        expect(Math.max(...uniform.map(Math.abs))).toBeLessThanOrEqual(0.1);
        expect(Math.max(...uniform)).toBeGreaterThan(0.099);
        const normal = await valuesOf(xavierNormal(generator, [60, 90, 2], { device, gain: 2 }) as Tensor);
        const spread = Math.sqrt(normal.reduce((sum, value) => sum + value * value, 0) / normal.length);
        expect(spread / (2 * Math.sqrt(2 / (120 + 180)))).toBeGreaterThan(0.96);
        expect(spread / (2 * Math.sqrt(2 / (120 + 180)))).toBeLessThan(1.04);
      });

      it("drop the share they say, scale the rest, and do nothing otherwise", async () => {
        const dropout = new Dropout(0.3, { generator: new Generator(7) }).setTraining(false);
        const x = full([200, 100], 2, { device }) as Tensor;
        expect(dropout.forward(x)).toBe(x);
        dropout.setTraining(true);
        const [first, second] = [dropout.forward(x), dropout.forward(x)];
        const values = await valuesOf(first);
        expect(new Set(values)).toEqual(new Set([0, Math.fround(2 * Math.fround(1 / 0.7))]));
        const dropped = values.filter((value) => value === 0).length / values.length;
        expect(Math.abs(dropped - 0.3)).toBeLessThan(5 * Math.sqrt(0.21 / values.length));
        expect(await valuesOf(second)).not.toEqual(values);
        const none = new Dropout(0, { generator: new Generator(7) }).setTraining(true);
        expect(none.forward(x)).toBe(x);
        expect(() => new Dropout(1, { generator: new Generator(7) })).toThrow(RangeError);
        dispose([x, first, second]);
      });

      it("pass the gradient of dropout where values passed", async () => {
        const dropout = new Dropout(0.5, { generator: new Generator(9) }).setTraining(true);
        const x = full([50], 3, { device }) as Tensor;
        let seen: number[] = [];
        using _ = scope();
        const [, gradient] = valueAndGrad((input: Tensor) => {
          const output = dropout.forward(input);
          // The CPU devices read at once; others would have to wait, so the mask is taken from the gradient itself there.
          seen = device === "webgpu" ? [] : [...(output as Tensor<"cpu">).dataSync()];
          return output.sum();
        })(x);
        const values = await valuesOf(gradient);
        expect(new Set(values)).toEqual(new Set([0, 2]));
        seen.forEach((value, i) => expect(values[i]! * 3).toBe(value));
        x.dispose();
      });
    });

    describe("Parameter", () => {
      it("takes a tensor over, and copies memory that others see", async () => {
        const data = of([1, 2, 3, 4]);
        const parameter = new Parameter(data);
        expect(data.disposed).toBe(true);
        const base = of([1, 2, 3, 4]);
        const view = slice(base, [1, 3]);
        const part = new Parameter(view);
        const nines = of([9, 9]);
        assign(part, nines);
        expect(await valuesOf(base)).toEqual([1, 2, 3, 4]);
        const square = of([
          [1, 2],
          [3, 4],
        ]);
        const turned = new Parameter(transpose(square));
        expect(turned.isContiguous).toBe(true);
        expect(await turned.toArray()).toEqual([
          [1, 3],
          [2, 4],
        ]);
        dispose([parameter, base, part, nines, square, turned]);
      });

      it("outlives scopes", () => {
        const parameter = tidy(() => new Parameter(of([1])));
        const inner = { made: undefined as Parameter | undefined };
        tidy(() => {
          inner.made = new Parameter(of([2]));
        });
        expect(parameter.disposed || inner.made!.disposed).toBe(false);
        dispose([parameter, inner.made]);
      });
    });
  });
}
