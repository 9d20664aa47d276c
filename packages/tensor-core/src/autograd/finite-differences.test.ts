import { describe, expect, it } from "vitest";
import { load } from "../backend/reference/access.ts";
import type { ExactBuffer } from "../backend/reference/memory.ts";
import { memory } from "../backend/inspection.ts";
import { registerBackend } from "../backend/registry.ts";
import { zeros } from "../ops/creation.ts";
import "../ops/install-methods.ts";
import { tidy } from "../tensor/scope.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { Filler } from "../validation/values.ts";
import { createExactBackend } from "../testing/op-suite-exact-backend.ts";
import { gradientCases, outputWeights } from "../testing/op-suite-gradient-cases.ts";
import { vjp } from "./gradients.ts";

// Whole operations, as users call them, against central differences. Storage is float64, so a step of 1e-5 leaves about ten correct digits.
registerBackend("reference", createExactBackend);
const device = "reference";
const step = 1e-5;

function valuesOf(tensor: Tensor): Float64Array {
  return (tensor.buffer as ExactBuffer).values;
}

function filled(shape: readonly number[], value: Filler): Tensor {
  const made: Tensor = zeros(shape, { device });
  for (let i = 0; i < made.size; i++) valuesOf(made)[i] = value(i);
  return made;
}

function asList(value: Tensor | readonly Tensor[]): readonly Tensor[] {
  return value instanceof Tensor ? [value] : value;
}

describe("gradients by finite differences", () => {
  it.each(gradientCases.map((each) => [each.name, each] as const))("%s", (_, { inputs: specs, run }) => {
    const inputs = specs.map(({ shape, value }) => filled(shape, value));
    const objective = (): number =>
      tidyNumber(() => {
        let total = 0;
        asList(run(inputs, device)).forEach((output, i) =>
          load(output).forEach((value, place) => (total += value * outputWeights(i)(place))),
        );
        return total;
      });
    const owned = [...inputs];
    const before = memory(device).allocations - inputs.length;
    try {
      const { value, backward } = vjp(() => run(inputs, device), inputs);
      const weights = asList(value).map((output, i) => filled(output.shape, outputWeights(i)));
      owned.push(...asList(value), ...weights);
      const gradients = backward(weights);
      owned.push(...gradients);
      gradients.forEach((gradient, i) => {
        expect(gradient.shape).toEqual(inputs[i]!.shape);
        expect(gradient.isContiguous).toBe(true);
        const values = valuesOf(inputs[i]!);
        load(gradient).forEach((derivative, place) => {
          const original = values[place]!;
          values[place] = original + step;
          const above = objective();
          values[place] = original - step;
          const below = objective();
          values[place] = original;
          const numeric = (above - below) / (2 * step);
          expect(Math.abs(derivative - numeric), `input ${i}, element ${place}: ${derivative} beside numeric ${numeric}`).toBeLessThan(
            1e-6 * (1 + Math.abs(numeric)),
          );
        });
      });
    } finally {
      for (const made of owned) made.dispose();
    }
    expect(memory(device).allocations - before, "tensors left in memory").toBe(0);
  });
});

/** The number that `run` makes, without the tensors it made on the way. */
function tidyNumber(run: () => number): number {
  return tidy(run);
}
