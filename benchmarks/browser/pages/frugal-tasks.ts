/** Tasks in tensor-core: on "webgpu" in the page, and on "cpu" in Node for the expected values. */
import {
  add,
  concatenate,
  flatten,
  matmul,
  multiply,
  scaledDotProductAttention,
  softmax,
  sum,
  tensor,
  tidy,
  valueAndGrad,
  type DeviceName,
  type Tensor,
} from "@frugal/tensor-core";
import { uniform } from "../../src/inputs.ts";
import type { PageTask } from "./contract.ts";

/** An operation whose result the caller frees. */
export interface FrugalOperation {
  operation(): Tensor;
  dispose(): void;
}

/** Makes a task ready on a device. */
export function prepareOperation(task: PageTask, device: DeviceName): FrugalOperation {
  const inputs: Tensor[] = [];
  const input = (seed: number, shape: readonly number[]): Tensor => {
    const size = shape.reduce((product, length) => product * length, 1);
    const created = tensor(uniform(size, seed), [...shape], { device });
    inputs.push(created);
    return created;
  };
  const dispose = (): void => inputs.forEach((created) => created.dispose());
  switch (task.kind) {
    case "gemm": {
      const [a, b] = [input(1, [task.size, task.size]), input(2, [task.size, task.size])];
      return { operation: () => matmul(a, b), dispose };
    }
    case "add": {
      const [a, b] = [input(1, [task.size]), input(2, [task.size])];
      return { operation: () => add(a, b), dispose };
    }
    case "softmax": {
      const x = input(1, [task.rows, task.columns]);
      return { operation: () => softmax(x), dispose };
    }
    case "attention": {
      const [query, key, value] = [1, 2, 3].map((seed) => input(seed, [1, task.heads, task.length, task.headDim])) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      return { operation: () => scaledDotProductAttention(query, key, value), dispose };
    }
    case "gradient": {
      const [a, b, c] = [1, 2, 3].map((seed) => input(seed, [task.size, task.size])) as [Tensor, Tensor, Tensor];
      const differentiate = valueAndGrad((given: readonly Tensor[]) => sum(multiply(softmax(matmul(given[0]!, given[1]!)), c)));
      return {
        operation: () =>
          tidy(() => {
            const [, gradients] = differentiate([a, b]);
            return concatenate(gradients.map((gradient) => flatten(gradient)));
          }),
        dispose,
      };
    }
  }
}
