import { add, keep, matmul, tidy, type Parameter, type Tensor } from "@frugal/tensor-core";
import { MecefoError } from "../errors.ts";

interface RunningSum {
  sum: Tensor | undefined;
  /** What is to be added to the sum still: coordinates · basisᵀ. `source` tells bases apart. */
  product: { readonly coordinates: Tensor; readonly basis: Tensor; readonly source: Tensor } | undefined;
  contributions: number;
}

/**
 * A stage's gradients, summed over the microbatches of a step in float32, in the order they arrive. Passes go backward in the order of
 * their microbatches, so that the bits of a sum do not depend on timing. A parameter that no pass contributed to is absent, not zero: Eq.
 * 1 averages over those that have a gradient.
 */
export class GradientSums {
  readonly #sums = new Map<Parameter, RunningSum>();

  /**
   * Adds a microbatch's gradient, and takes it over.
   * @throws MecefoError when it does not have the parameter's shape
   */
  add(parameter: Parameter, gradient: Tensor): void {
    checkShape(parameter, gradient.shape);
    const entry = this.#entryOf(parameter);
    multiplyOut(entry);
    entry.sum = plus(entry.sum, gradient);
    entry.contributions++;
  }

  /**
   * Adds a microbatch's gradient [m, n] that is coordinates [m, r] · basisᵀ, and takes over the coordinates. Those of one basis are
   * summed as they are, and multiplied out once, when the sum is asked for.
   * @throws MecefoError when the product does not have the parameter's shape
   */
  addProduct(parameter: Parameter, coordinates: Tensor, basis: Tensor): void {
    checkShape(parameter, [coordinates.shape[0]!, basis.shape[0]!]);
    const entry = this.#entryOf(parameter);
    if (entry.product !== undefined && entry.product.source !== basis) multiplyOut(entry);
    // The basis may be freed before the sum is asked for: this keeps its memory.
    const own = entry.product?.basis ?? keep(basis.reshape(basis.shape));
    entry.product = { coordinates: plus(entry.product?.coordinates, coordinates), basis: own, source: basis };
    entry.contributions++;
  }

  /** The sum so far, which stays here; undefined where nothing was added. */
  get(parameter: Parameter): Tensor | undefined {
    const entry = this.#sums.get(parameter);
    if (entry !== undefined) multiplyOut(entry);
    return entry?.sum;
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
    for (const { sum, product } of this.#sums.values()) for (const held of [sum, product?.coordinates, product?.basis]) held?.dispose();
    this.#sums.clear();
  }

  /** As `clear`. */
  dispose(): void {
    this.clear();
  }

  [Symbol.dispose](): void {
    this.clear();
  }

  #entryOf(parameter: Parameter): RunningSum {
    let entry = this.#sums.get(parameter);
    if (entry === undefined) this.#sums.set(parameter, (entry = { sum: undefined, product: undefined, contributions: 0 }));
    return entry;
  }
}

/** sum + addend; both are given up. */
function plus(sum: Tensor | undefined, addend: Tensor): Tensor {
  if (sum === undefined) return keep(addend);
  const total = keep(add(sum, addend));
  for (const part of [sum, addend]) part.dispose();
  return total;
}

function multiplyOut(entry: RunningSum): void {
  if (entry.product === undefined) return;
  const { coordinates, basis } = entry.product;
  entry.sum = plus(entry.sum, tidy(() => matmul(coordinates, basis.transpose())));
  for (const part of [coordinates, basis]) part.dispose();
  entry.product = undefined;
}

function checkShape({ shape }: Parameter, given: readonly number[]): void {
  if (given.join() !== shape.join()) throw new MecefoError(`a gradient [${given.join(", ")}] for a parameter [${shape.join(", ")}]`);
}
