import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { valueAndGrad } from "../autograd/gradients.ts";
import type { DeviceName } from "../backend/backend.ts";
import { memory } from "../backend/inspection.ts";
import { DeviceError, DisposedError, DtypeError, ShapeError, TensorError } from "../errors.ts";
import { kaimingUniform, xavierNormal } from "../nn/initialization.ts";
import { Dropout, Embedding, LayerNorm, Linear, RmsNorm, Sequential, type Layer } from "../nn/layers.ts";
import { Module } from "../nn/module.ts";
import { Parameter } from "../nn/parameter.ts";
import { full, tensor, zeros } from "../ops/creation.ts";
import { linear } from "../ops/matmul.ts";
import { meanSquaredError } from "../ops/loss.ts";
import { layerNorm, rmsNorm } from "../ops/normalization.ts";
import { quantize } from "../ops/quantize.ts";
import { assign, slice, transpose } from "../ops/views.ts";
import { AdamW } from "../optim/adamw.ts";
import { clipByGlobalNorm, globalNorm } from "../optim/clipping.ts";
import { constantSchedule, cosineSchedule, linearSchedule, stepSchedule } from "../optim/schedules.ts";
import { Sgd } from "../optim/sgd.ts";
import { Generator } from "../random/random.ts";
import { dispose, scope, tidy } from "../tensor/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { normals } from "./values.ts";

class Block extends Module {
  readonly norm: RmsNorm;
  readonly steps: readonly Module[];
  readonly gains: readonly Parameter[];
  tied: Parameter;
  readonly name = "block";

  constructor(generator: Generator, device: DeviceName) {
    super();
    this.norm = RmsNorm.create(4, { device });
    this.steps = [Linear.create(4, 3, { generator, device }), new Sequential(Linear.create(3, 4, { generator, device, bias: false }), new Dropout(0.5, { generator }))];
    this.gains = [new Parameter(full([4], 2, { device })), new Parameter(full([4], 3, { device }))];
    this.tied = (this.steps[0] as Linear).weight as Parameter;
  }
}

/** Modules, optimizers, schedules and random numbers. */
export function trainingSuite(device: DeviceName): void {
  const of = (data: Parameters<typeof tensor>[0]): Tensor => tensor(data, { device }) as Tensor;
  const valuesOf = async (source: Tensor): Promise<number[]> => [...(await source.data())];

  describe(`training on "${device}"`, () => {
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
        expect(dropout.training).toBe(false);
        expect(block.setTraining(true)).toBe(block);
        expect([...block.modules()].every((module) => module.training)).toBe(true);
        block.setTraining(false);
        expect(dropout.training).toBe(false);
      });

      it("save and load their state", async () => {
        using source = new Block(new Generator(1), device);
        using target = new Block(new Generator(2), device);
        const weight = target.norm.weight;
        const [filled, empty] = [of([5, 6, 7, 8]), of([0, 0, 0, 0])];
        assign(source.norm.weight, filled);
        target.loadStateDict(source.stateDict());
        expect(target.norm.weight).toBe(weight);
        for (const [name, parameter] of target.namedParameters()) expect(await valuesOf(parameter), name).toEqual(await valuesOf(source.stateDict()[name]!));
        assign(source.norm.weight, empty);
        expect(await valuesOf(weight)).toEqual([5, 6, 7, 8]);
        dispose([filled, empty]);
      });

      it("refuse a state that does not fit, before anything changes", async () => {
        using layer = Linear.create(2, 2, { generator: new Generator(1), device });
        const before = await valuesOf(layer.weight as Parameter);
        const [weight, bias, wide] = [of([[1, 2], [3, 4]]), of([1, 2]), of([1, 2, 3])];
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
        quantized.dispose();
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
        const dropout = new Dropout(0.3, { generator: new Generator(7) });
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
        const square = of([[1, 2], [3, 4]]);
        const turned = new Parameter(transpose(square));
        expect(turned.isContiguous).toBe(true);
        expect(await turned.toArray()).toEqual([[1, 3], [2, 4]]);
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

    describe("optimizers", () => {
      const count = 37;
      const initial = Array.from({ length: count }, (_, i) => Math.fround(normals(1)(i)));
      const gradientsOf = (step: number): number[] => Array.from({ length: count }, (_, i) => Math.fround(normals(10 + step)(i)));

      /** Runs some steps and compares with a float64 implementation of one element. */
      async function compare(optimizer: (parameter: Parameter) => AdamW | Sgd, update: (p: number, g: number, state: Record<string, number>, step: number) => number): Promise<void> {
        const parameter = new Parameter(of(initial));
        const version = parameter.storage.version;
        const tested = optimizer(parameter);
        const expected = [...initial];
        const states: Record<string, number>[] = initial.map(() => ({}));
        for (let step = 1; step <= 7; step++) {
          const gradient = of(gradientsOf(step));
          tested.step([gradient]);
          gradient.dispose();
          gradientsOf(step).forEach((g, i) => (expected[i] = update(expected[i]!, g, states[i]!, step)));
        }
        expect(tested.stepCount).toBe(7);
        expect(parameter.storage.version).toBe(version + 7);
        (await valuesOf(parameter)).forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(2e-6 * (1 + Math.abs(expected[i]!))));
        dispose(parameter);
        tested.dispose();
      }

      it("AdamW", async () => {
        for (const settings of [{}, { learningRate: 0.05, betas: [0.8, 0.95] as const, epsilon: 1e-3, weightDecay: 0.1 }, { weightDecay: 0 }]) {
          const { learningRate = 1e-3, betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01 } = settings;
          await compare((parameter) => new AdamW([parameter], settings), (p, g, state, step) => {
            state["m"] = betas[0] * (state["m"] ?? 0) + (1 - betas[0]) * g;
            state["v"] = betas[1] * (state["v"] ?? 0) + (1 - betas[1]) * g * g;
            const decayed = p * (1 - learningRate * weightDecay);
            return decayed - (learningRate * (state["m"] / (1 - betas[0] ** step))) / (Math.sqrt(state["v"] / (1 - betas[1] ** step)) + epsilon);
          });
        }
      });

      it("SGD in its variants", async () => {
        for (const settings of [{}, { momentum: 0.9 }, { momentum: 0.9, nesterov: true, learningRate: 0.1 }, { momentum: 0.8, dampening: 0.2, weightDecay: 0.1 }, { weightDecay: 0.05 }]) {
          const { learningRate = 1e-2, momentum = 0, dampening = 0, weightDecay = 0, nesterov = false } = settings as { learningRate?: number; momentum?: number; dampening?: number; weightDecay?: number; nesterov?: boolean };
          await compare((parameter) => new Sgd([parameter], settings), (p, g, state) => {
            const pull = g + weightDecay * p;
            if (momentum === 0) return p - learningRate * pull;
            state["v"] = momentum * (state["v"] ?? 0) + (1 - dampening) * pull;
            return p - learningRate * (nesterov ? pull + momentum * state["v"] : state["v"]);
          });
        }
      });

      it("scale the learning rate, and keep groups apart", async () => {
        const [a, b] = [new Parameter(of([1, 1])), new Parameter(of([1, 1]))];
        using optimizer = new Sgd([{ parameters: [a] }, { parameters: [b], settings: { learningRate: 0.1, momentum: 0.5 } }], { learningRate: 1 });
        const gradient = of([1, 2]);
        optimizer.learningRateScale = 0.5;
        optimizer.step([gradient, gradient]);
        optimizer.step([gradient, gradient]);
        (await valuesOf(a)).forEach((value, i) => expect(value).toBeCloseTo([0, -1][i]!, 6));
        (await valuesOf(b)).forEach((value, i) => expect(value).toBeCloseTo([1 - 0.05 * 2.5, 1 - 0.1 * 2.5][i]!, 6));
        expect(() => (optimizer.learningRateScale = -1)).toThrow(RangeError);
        expect(() => (optimizer.learningRateScale = NaN)).toThrow(RangeError);
        dispose([a, b, gradient]);
      });

      it("leave parameters without a gradient alone", async () => {
        const [a, b] = [new Parameter(of([1])), new Parameter(of([1]))];
        using optimizer = new AdamW([a, b], { learningRate: 0.5 });
        const gradient = of([1]);
        optimizer.step([undefined, gradient]);
        expect(await valuesOf(a)).toEqual([1]);
        expect((await valuesOf(b))[0]).toBeLessThan(0.6);
        dispose([a, b, gradient]);
      });

      it("refuse gradients that do not fit, before anything changes", async () => {
        const [a, b] = [new Parameter(of([1, 2])), new Parameter(of([[3], [4]]))];
        using optimizer = new AdamW([a, b]);
        const [good, bad] = [of([1, 1]), of([1, 1])];
        expect(() => optimizer.step([good])).toThrow("step: 2 parameters but 1 gradients");
        expect(() => optimizer.step([good, bad])).toThrow("step: gradient 1 is float32 [2], its parameter float32 [2, 1]");
        expect(() => optimizer.step([good, bad])).toThrow(ShapeError);
        const wide = of([[1, 2], [3, 4]]);
        const strided = slice(wide, null, [0, 1]);
        expect(() => optimizer.step([good, strided])).toThrow("step: gradient 1 is non-contiguous");
        const other = zeros([2, 1], { device: device === "reference" ? "cpu" : "reference" });
        expect(() => optimizer.step([good, other as Tensor])).toThrow(DeviceError);
        const freed = of([[1], [2]]);
        freed.dispose();
        expect(() => optimizer.step([good, freed])).toThrow(DisposedError);
        expect(optimizer.stepCount).toBe(0);
        expect(await valuesOf(a)).toEqual([1, 2]);
        const half = new Parameter(tensor([1], { dtype: "float16", device }) as Tensor);
        expect(() => new Sgd([half])).toThrow(DtypeError);
        dispose([a, b, good, bad, wide, strided, other, half]);
      });

      it("go on from a saved state with the same bits", async () => {
        const run = async (interrupted: boolean): Promise<number[]> => {
          const parameter = new Parameter(of(initial));
          let optimizer = new AdamW([parameter], { learningRate: 0.1 });
          for (let step = 1; step <= 6; step++) {
            if (interrupted && step === 4) {
              const { step: steps, tensors } = optimizer.state();
              const saved = { step: steps, tensors: Object.fromEntries(await Promise.all(Object.entries(tensors).map(async ([name, value]) => [name, of(await valuesOf(value))] as const))) };
              expect(Object.keys(saved.tensors)).toEqual(["firstMoment.0", "secondMoment.0"]);
              optimizer.dispose();
              optimizer = new AdamW([parameter], { learningRate: 0.1 });
              optimizer.loadState(saved);
              dispose(saved.tensors);
            }
            const gradient = of(gradientsOf(step));
            optimizer.step([gradient]);
            gradient.dispose();
          }
          const values = await valuesOf(parameter);
          parameter.dispose();
          optimizer.dispose();
          return values;
        };
        expect(await run(true)).toEqual(await run(false));
      });

      it("refuse a state of another optimizer", () => {
        const parameter = new Parameter(of([1, 2]));
        using adam = new AdamW([parameter]);
        using sgd = new Sgd([parameter], { momentum: 0.9 });
        expect(() => adam.loadState(sgd.state())).toThrow('loadState: "firstMoment.0" is missing');
        const wrong = of([1]);
        expect(() => sgd.loadState({ step: 1, tensors: { "velocity.0": wrong } })).toThrow(ShapeError);
        dispose([parameter, wrong]);
      });

      it("keep their state out of scopes", () => {
        const parameter = new Parameter(of([1, 2]));
        let optimizer: AdamW;
        {
          using _ = scope();
          optimizer = new AdamW([parameter]);
        }
        const gradient = of([1, 2]);
        optimizer.step([gradient]);
        optimizer.dispose();
        dispose([parameter, gradient]);
      });

      it("clip by the global norm", async () => {
        const gradients = [of([3, 0]), of([[0], [4]])];
        const norm = globalNorm(gradients);
        expect(await norm.item()).toBeCloseTo(5, 6);
        const clipped = clipByGlobalNorm(gradients, 1);
        expect(await clipped.norm.item()).toBeCloseTo(5, 6);
        expect((await valuesOf(clipped.gradients[0]!))[0]).toBeCloseTo(0.6, 5);
        expect(clipped.gradients[1]!.shape).toEqual([2, 1]);
        const loose = clipByGlobalNorm(gradients, 100);
        expect(await valuesOf(loose.gradients[0]!)).toEqual([3, 0]);
        dispose([gradients, norm, clipped, loose]);
      });

      it("train a small network", async () => {
        const generator = new Generator(11);
        using network = new Sequential(Linear.create(2, 16, { generator, device, activation: "geluTanh" }), Linear.create(16, 1, { generator, device }));
        const parameters = network.parameters();
        using optimizer = new AdamW(parameters, { learningRate: 0.02 });
        const x = of([[0, 0], [0, 1], [1, 0], [1, 1]]);
        const y = of([[0], [1], [1], [0]]);
        const losses: number[] = [];
        const live = memory(device).allocations;
        for (let step = 0; step < 120; step++) {
          using _ = scope();
          const [loss, gradients] = valueAndGrad(() => meanSquaredError(network.forward(x), y))(parameters);
          optimizer.step(clipByGlobalNorm(gradients, 1).gradients);
          losses.push(await loss.item());
        }
        expect(memory(device).allocations).toBe(live);
        expect(losses[0]!).toBeGreaterThan(0.1);
        expect(losses.at(-1)!).toBeLessThan(0.01);
        dispose([x, y]);
      });
    });
  });

  describe(`random numbers on "${device}"`, () => {
    const drawn = async (run: () => Tensor): Promise<number[]> => {
      using made = run();
      return valuesOf(made);
    };

    it("follow the seed, and go on from where they were", async () => {
      const [a, b] = [new Generator(42), new Generator(42)];
      const whole = await drawn(() => a.normal([6], 0, 1, { device }) as Tensor);
      expect(await drawn(() => b.normal([2, 3], 0, 1, { device }) as Tensor)).toEqual(whole);
      const next = await drawn(() => a.uniform([4], 0, 1, { device }) as Tensor);
      expect(await drawn(() => b.uniform([2], 0, 1, { device }) as Tensor)).toEqual(next.slice(0, 2));
      expect(await drawn(() => b.uniform([2], 0, 1, { device }) as Tensor)).toEqual(next.slice(2));
      const resumed = new Generator(0);
      resumed.state = JSON.parse(JSON.stringify(a.state)) as typeof a.state;
      expect(await drawn(() => resumed.uniform([5], 0, 1, { device }) as Tensor)).toEqual(await drawn(() => a.uniform([5], 0, 1, { device }) as Tensor));
      expect(await drawn(() => new Generator(43).normal([6], 0, 1, { device }) as Tensor)).not.toEqual(whole);
      expect(() => new Generator(0.5)).toThrow(RangeError);
    });

    it("have the moments they say", async () => {
      const generator = new Generator(2 ** 40 + 3);
      const many = 20_001;
      const moments = (values: readonly number[]): { mean: number; spread: number } => {
        const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
        return { mean, spread: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length) };
      };
      const uniform = await drawn(() => generator.uniform([many], -2, 4, { device }) as Tensor);
      expect(Math.min(...uniform)).toBeGreaterThanOrEqual(-2);
      expect(Math.max(...uniform)).toBeLessThan(4);
      expect(Math.abs(moments(uniform).mean - 1)).toBeLessThan((5 * Math.sqrt(3)) / Math.sqrt(many));
      expect(moments(uniform).spread).toBeCloseTo(Math.sqrt(3), 1);
      const normal = await drawn(() => generator.normal([many], 3, 0.5, { device }) as Tensor);
      expect(Math.abs(moments(normal).mean - 3)).toBeLessThan((5 * 0.5) / Math.sqrt(many));
      expect(moments(normal).spread).toBeCloseTo(0.5, 1);
      const beyond = normal.filter((value) => Math.abs(value - 3) > 1).length / many;
      expect(Math.abs(beyond - 0.0455)).toBeLessThan(0.008);
      const bits = await drawn(() => generator.bits([1000], { device }) as Tensor);
      const ones = bits.reduce((sum, word) => sum + [...(word >>> 0).toString(2)].filter((bit) => bit === "1").length, 0);
      expect(Math.abs(ones / 32_000 - 0.5)).toBeLessThan(0.015);
      expect(new Set(bits).size).toBe(1000);
    });

    it("split into independent streams", async () => {
      const parent = new Generator(1);
      const streams = [parent.split(0), parent.split(1), parent.split(0), new Generator(2).split(0), parent.split(0).split(0)];
      const draws = await Promise.all(streams.map((each) => drawn(() => each.uniform([500], 0, 1, { device }) as Tensor)));
      expect(draws[2]).toEqual(draws[0]);
      const correlation = (a: readonly number[], b: readonly number[]): number => (12 * a.reduce((sum, value, i) => sum + (value - 0.5) * (b[i]! - 0.5), 0)) / a.length;
      const own = await drawn(() => parent.uniform([500], 0, 1, { device }) as Tensor);
      for (const other of [draws[1]!, draws[3]!, draws[4]!, own]) expect(Math.abs(correlation(draws[0]!, other))).toBeLessThan(5 / Math.sqrt(500));
      // Splitting takes nothing from the parent.
      expect(own).toEqual(await drawn(() => new Generator(1).uniform([500], 0, 1, { device }) as Tensor));
    });

    it("are the same on every device", async () => {
      const pairs = await Promise.all((["reference", device] as const).map(async (place) => {
        const generator = new Generator(77);
        return {
          bits: await drawn(() => generator.bits([33], { device: place }) as Tensor),
          uniform: await drawn(() => generator.uniform([3, 11], 0, 1, { device: place }) as Tensor),
          normal: await drawn(() => generator.normal([35], 1, 2, { device: place }) as Tensor),
          host: [generator.next(), generator.next()],
        };
      }));
      const [reference, other] = pairs as [(typeof pairs)[0], (typeof pairs)[0]];
      expect(other.bits).toEqual(reference.bits);
      expect(other.uniform).toEqual(reference.uniform);
      expect(other.host).toEqual(reference.host);
      other.normal.forEach((value, i) => expect(value).toBeCloseTo(reference.normal[i]!, 5));
    });

    it("draw nothing for empty shapes", async () => {
      const generator = new Generator(1);
      expect(await drawn(() => generator.normal([0, 3], 0, 1, { device }) as Tensor)).toEqual([]);
      expect(generator.state.counter).toBe(0);
      expect(() => generator.uniform([-1], 0, 1, { device })).toThrow(ShapeError);
    });
  });

  describe("schedules", () => {
    it("warm up and decay", () => {
      const cosine = cosineSchedule({ totalSteps: 110, warmupSteps: 10, finalScale: 0.1 });
      expect([0, 4, 9, 10].map(cosine)).toEqual([0.1, 0.5, 1, 1]);
      expect(cosine(60)).toBeCloseTo(0.1 + 0.9 / 2, 12);
      expect(cosine(110)).toBeCloseTo(0.1, 12);
      expect(cosine(500)).toBeCloseTo(0.1, 12);
      const line = linearSchedule({ totalSteps: 10 });
      expect([0, 5, 10, 11].map(line)).toEqual([1, 0.5, 0, 0]);
      const constant = constantSchedule({ warmupSteps: 4 });
      expect([0, 1, 3, 4, 100].map(constant)).toEqual([0.25, 0.5, 1, 1, 1]);
      expect(constantSchedule()(0)).toBe(1);
      const steps = stepSchedule({ interval: 3, factor: 0.5 });
      expect([0, 2, 3, 5, 6].map(steps)).toEqual([1, 1, 0.5, 0.5, 0.25]);
    });
  });
}
