import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { valueAndGrad } from "../autograd/gradients.ts";
import type { DeviceName } from "../backend/backend.ts";
import { memory } from "../backend/inspection.ts";
import { DeviceError, DisposedError, DtypeError, ShapeError, TensorError } from "../errors.ts";
import { Linear, Sequential } from "../nn/layers.ts";
import { Parameter } from "../nn/parameter.ts";
import { tensor, zeros } from "../ops/creation.ts";
import { meanSquaredError } from "../ops/loss.ts";
import { slice } from "../ops/views.ts";
import { AdamW } from "../optim/adamw.ts";
import { clipByGlobalNorm, globalNorm } from "../optim/clipping.ts";
import { constantSchedule, cosineSchedule, linearSchedule, stepSchedule } from "../optim/schedules.ts";
import { Sgd } from "../optim/sgd.ts";
import { Generator } from "../random/random.ts";
import { dispose, scope } from "../tensor/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { normals } from "../validation/values.ts";

/** Optimizers, clipping and schedules. */
export function optimizersSuite(device: DeviceName): void {
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

    describe("optimizers", () => {
      const count = 37;
      const initial = Array.from({ length: count }, (_, i) => Math.fround(normals(1)(i)));
      const gradientsOf = (step: number): number[] => Array.from({ length: count }, (_, i) => Math.fround(normals(10 + step)(i)));

      /** Runs some steps and compares with a float64 implementation of one element. */
      async function expectSteps(
        optimizer: (parameter: Parameter) => AdamW | Sgd,
        update: (p: number, g: number, state: Record<string, number>, step: number) => number,
      ): Promise<void> {
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
        (await valuesOf(parameter)).forEach((value, i) =>
          expect(Math.abs(value - expected[i]!)).toBeLessThan(2e-6 * (1 + Math.abs(expected[i]!))),
        );
        dispose(parameter);
        tested.dispose();
      }

      it("AdamW", async () => {
        for (const settings of [
          {},
          { learningRate: 0.05, betas: [0.8, 0.95] as const, epsilon: 1e-3, weightDecay: 0.1 },
          { weightDecay: 0 },
        ]) {
          const { learningRate = 1e-3, betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01 } = settings;
          await expectSteps(
            (parameter) => new AdamW([parameter], settings),
            (p, g, state, step) => {
              state["m"] = betas[0] * (state["m"] ?? 0) + (1 - betas[0]) * g;
              state["v"] = betas[1] * (state["v"] ?? 0) + (1 - betas[1]) * g * g;
              const decayed = p * (1 - learningRate * weightDecay);
              return (
                decayed -
                (learningRate * (state["m"] / (1 - betas[0] ** step))) / (Math.sqrt(state["v"] / (1 - betas[1] ** step)) + epsilon)
              );
            },
          );
        }
      });

      it("SGD in its variants", async () => {
        for (const settings of [
          {},
          { momentum: 0.9 },
          { momentum: 0.9, nesterov: true, learningRate: 0.1 },
          { momentum: 0.8, dampening: 0.2, weightDecay: 0.1 },
          { weightDecay: 0.05 },
        ]) {
          const {
            learningRate = 1e-2,
            momentum = 0,
            dampening = 0,
            weightDecay = 0,
            nesterov = false,
          } = settings as { learningRate?: number; momentum?: number; dampening?: number; weightDecay?: number; nesterov?: boolean };
          await expectSteps(
            (parameter) => new Sgd([parameter], settings),
            (p, g, state) => {
              const pull = g + weightDecay * p;
              if (momentum === 0) return p - learningRate * pull;
              state["v"] = momentum * (state["v"] ?? 0) + (1 - dampening) * pull;
              return p - learningRate * (nesterov ? pull + momentum * state["v"] : state["v"]);
            },
          );
        }
      });

      it("scale the learning rate, and keep groups apart", async () => {
        const [a, b] = [new Parameter(of([1, 1])), new Parameter(of([1, 1]))];
        using optimizer = new Sgd([{ parameters: [a] }, { parameters: [b], settings: { learningRate: 0.1, momentum: 0.5 } }], {
          learningRate: 1,
        });
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

      it("count the steps of each parameter by itself", async () => {
        const expected = new Parameter(of([1, 2]));
        using reference = new AdamW([expected], { learningRate: 0.1 });
        const [a, b] = [new Parameter(of([1, 2])), new Parameter(of([5]))];
        let optimizer = new AdamW([a, b], { learningRate: 0.1 });
        const [gradient, other] = [of([1, -2]), of([3])];
        for (let step = 0; step < 3; step++) optimizer.step([undefined, other]);
        optimizer.step([gradient, other]);
        // The counts survive saving.
        const state = optimizer.state();
        expect(state.parameterSteps).toEqual([1, 4]);
        const resumed = new AdamW([a, b], { learningRate: 0.1 });
        resumed.loadState(state);
        optimizer.dispose();
        optimizer = resumed;
        optimizer.step([gradient, undefined]);
        for (let step = 0; step < 2; step++) reference.step([gradient]);
        expect(await valuesOf(a)).toEqual(await valuesOf(expected));
        expect(() => optimizer.loadState({ ...optimizer.state(), parameterSteps: [1] })).toThrow("step counts of 1 parameters");
        optimizer.dispose();
        dispose([a, b, expected, gradient, other]);
      });

      it("refuse a parameter listed twice", () => {
        const shared = new Parameter(of([1]));
        expect(() => new AdamW([shared, shared])).toThrow("parameter 1 [1] is listed twice");
        expect(() => new Sgd([{ parameters: [shared] }, { parameters: [shared] }])).toThrow(TensorError);
        shared.dispose();
      });

      it("refuse gradients that do not fit, before anything changes", async () => {
        const [a, b] = [new Parameter(of([1, 2])), new Parameter(of([[3], [4]]))];
        using optimizer = new AdamW([a, b]);
        const [good, bad] = [of([1, 1]), of([1, 1])];
        expect(() => optimizer.step([good])).toThrow("step: 2 parameters but 1 gradients");
        expect(() => optimizer.step([good, bad])).toThrow("step: gradient 1 is float32 [2], its parameter float32 [2, 1]");
        expect(() => optimizer.step([good, bad])).toThrow(ShapeError);
        const wide = of([
          [1, 2],
          [3, 4],
        ]);
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
              const saved = {
                step: steps,
                tensors: Object.fromEntries(
                  await Promise.all(Object.entries(tensors).map(async ([name, value]) => [name, of(await valuesOf(value))] as const)),
                ),
              };
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
        expect(optimizer.stepCount).toBe(1);
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
        using network = new Sequential(
          Linear.create(2, 16, { generator, device, activation: "geluTanh" }),
          Linear.create(16, 1, { generator, device }),
        );
        const parameters = network.parameters();
        using optimizer = new AdamW(parameters, { learningRate: 0.02 });
        const x = of([
          [0, 0],
          [0, 1],
          [1, 0],
          [1, 1],
        ]);
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
