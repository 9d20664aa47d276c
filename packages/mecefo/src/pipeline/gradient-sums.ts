import { add, keep, type Parameter, type Tensor } from "@frugal/tensor-core";
import { MecefoError } from "../errors.ts";

interface RunningSum {
  readonly sum: Tensor;
  readonly contributions: number;
}

/**
 * A stage's gradients, summed over the microbatches of a step in float32, in the order they arrive. Passes go backward in the order of their
 * microbatches, so that the bits of a sum do not depend on timing. A parameter that no pass contributed to is absent, not zero: Eq. 1 averages over
 * those that have a gradient.
 */
export class GradientSums {
  readonly #sums = new Map<Parameter, RunningSum>();

  /**
   * Adds a microbatch's gradient, and takes it over.
   * @throws MecefoError when it does not have the parameter's shape
   */
  add(parameter: Parameter, gradient: Tensor): void {
    if (gradient.shape.join() !== parameter.shape.join()) {
      throw new MecefoError(`a gradient [${gradient.shape.join(", ")}] for a parameter [${parameter.shape.join(", ")}]`);
    }
    const present = this.#sums.get(parameter);
    if (present === undefined) {
      this.#sums.set(parameter, { sum: keep(gradient), contributions: 1 });
      return;
    }
    const sum = keep(add(present.sum, gradient));
    present.sum.dispose();
    gradient.dispose();
    this.#sums.set(parameter, { sum, contributions: present.contributions + 1 });
  }

  /** The sum so far, which stays here; undefined where nothing was added. */
  get(parameter: Parameter): Tensor | undefined {
    return this.#sums.get(parameter)?.sum;
  }

  /** Microbatches whose gradient is in the sum. */
  contributions(parameter: Parameter): number {
    return this.#sums.get(parameter)?.contributions ?? 0;
  }

  /** Parameters that something was added for, in the order of their first gradient. */
  parameters(): Parameter[] {
    return [...this.#sums.keys()];
  }

  /** Frees the sums, for the next step or for the same one begun again. */
  clear(): void {
    for (const { sum } of this.#sums.values()) sum.dispose();
    this.#sums.clear();
  }

  /** As `clear`. */
  dispose(): void {
    this.clear();
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}
