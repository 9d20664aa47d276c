import { describe, expect, it } from "vitest";
import { vjp } from "../autograd/gradients.ts";
import type { DeviceName } from "../backend/backend.ts";
import { tensor } from "../ops/creation.ts";
import { Tensor } from "../tensor/tensor.ts";
import { expectClose, expectNoLeaks, read } from "./op-suite-check.ts";
import { gradientCases, outputWeights, type GradientCase } from "./op-suite-gradient-cases.ts";
import { count, type HostArray } from "./op-suite-host.ts";
import type { Filler } from "../validation/values.ts";

function filled(device: DeviceName, shape: readonly number[], value: Filler): Tensor {
  return tensor(
    Float32Array.from({ length: count(shape) }, (_, i) => value(i)),
    shape,
    { device },
  ) as Tensor;
}

/** Values and input gradients of one case on one device, from outside every scope. */
function differentiate(device: DeviceName, { inputs: specs, run }: GradientCase): Promise<{ values: HostArray[]; gradients: HostArray[] }> {
  return expectNoLeaks(device, async () => {
    const inputs = specs.map(({ shape, value }) => filled(device, shape, value));
    const owned = [...inputs];
    try {
      const { value, backward } = vjp(() => run(inputs, device), inputs);
      const outputs: readonly Tensor[] = value instanceof Tensor ? [value] : value;
      const weights = outputs.map((output, i) => filled(device, output.shape, outputWeights(i)));
      owned.push(...outputs, ...weights);
      const gradients = backward(weights);
      owned.push(...gradients);
      return { values: await Promise.all(outputs.map(read)), gradients: await Promise.all(gradients.map(read)) };
    } finally {
      for (const made of owned) made.dispose();
    }
  });
}

/** Registers a comparison of every gradient case with the reference device, in float32. Both devices have to be registered. */
export function gradientSuite(device: DeviceName): void {
  describe(`gradients on "${device}" beside the reference`, () => {
    it.each(gradientCases.map((each) => [each.name, each] as const))("%s", async (_, each) => {
      const actual = await differentiate(device, each);
      const expected = await differentiate("reference", each);
      expect(actual.values.length).toBe(expected.values.length);
      actual.values.forEach((value, i) => expectClose(value, expected.values[i]!, 1e-5, `value ${i}`));
      actual.gradients.forEach((gradient, i) => expectClose(gradient, expected.gradients[i]!, 5e-5, `gradient ${i}`));
    });
  });
}
