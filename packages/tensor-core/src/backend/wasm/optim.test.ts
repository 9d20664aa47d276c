import { describe, expect, it } from "vitest";
import { createReferenceBackend } from "../reference/index.ts";
import { createWasmBackend } from "./backend.ts";
import { awkwardSizes, place, someFloats, take } from "./device-arrays.testing.ts";

const backend = createWasmBackend();
const reference = createReferenceBackend();

function expectClose(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!) / (1 + Math.abs(expected[i]!))), 0);
  expect(actual).toHaveLength(expected.length);
  expect(worst).toBeLessThanOrEqual(tolerance);
}

describe("adamW", () => {
  it.each(awkwardSizes)("steps %i parameters five times as in float64", (count) => {
    const results = [backend, reference].map((device) => {
      const views = {
        parameter: place(device, "float32", [count], someFloats(count)),
        firstMoment: place(device, "float32", [count], new Float32Array(count)),
        secondMoment: place(device, "float32", [count], new Float32Array(count)),
      };
      for (let step = 1; step <= 5; step++) {
        device.kernels.adamW({
          ...views, gradient: place(device, "float32", [count], someFloats(count, 3, step)), learningRate: 0.01, beta1: 0.9, beta2: 0.95,
          epsilon: 1e-8,
          weightDecay: 0.1, correction1: 1 - 0.9 ** step, correction2: 1 - 0.95 ** step, gradientScale: 0.5,
        });
      }
      return Object.values(views).map((view) => take(device, view));
    });
    results[0]!.forEach((values, i) => expectClose(values, results[1]![i]!, 2e-6));
  });

  it("does not depend on how a range is split", () => {
    const { exports, pointer } = backend.runtime;
    const run = (ends: readonly number[]): number[][] => {
      const views = [1, 2, 3].map((seed) => place(backend, "float32", [200], someFloats(200, 1, seed).map(Math.abs)));
      const gradient = place(backend, "float32", [200], someFloats(200, 1, 4));
      let begin = 0;
      for (const end of ends) {
        exports.adamW(
          pointer(views[0]!), pointer(gradient), pointer(views[1]!), pointer(views[2]!), 1, 0.9, 0.1, 0.99, 0.01, 0.999, 0.01, 1, 1e-8,
          begin, end,
        );
        begin = end;
      }
      return views.map((view) => take(backend, view));
    };
    expect(run([64, 128, 200])).toEqual(run([200]));
  });
});

describe("sgd", () => {
  const variants = [
    { momentum: 0, dampening: 0, weightDecay: 0, nesterov: false },
    { momentum: 0.9, dampening: 0.1, weightDecay: 0.01, nesterov: false },
    { momentum: 0.9, dampening: 0, weightDecay: 0.01, nesterov: true },
  ];

  it.each(variants)("momentum $momentum, dampening $dampening, nesterov $nesterov", (variant) => {
    for (const count of awkwardSizes) {
      const results = [backend, reference].map((device) => {
        const parameter = place(device, "float32", [count], someFloats(count));
        const velocity = variant.momentum === 0 ? undefined : place(device, "float32", [count], someFloats(count, 1, 2));
        for (let step = 1; step <= 3; step++) {
          const gradient = place(device, "float32", [count], someFloats(count, 3, step));
          device.kernels.sgd({ ...variant, parameter, gradient, velocity, learningRate: 0.1, gradientScale: 0.25 });
        }
        return [take(device, parameter), velocity ? take(device, velocity) : []];
      });
      results[0]!.forEach((values, i) => expectClose(values, results[1]![i]!, 1e-6));
    }
  });
});
