import { keep, vjp, type Parameter, type Tensor, type VectorJacobianProduct } from "@frugal/tensor-core";
import type { GradientSums } from "./gradient-sums.ts";

/** What gradients are given to. */
export type GradientSink = Pick<GradientSums, "add" | "addProduct">;

/**
 * A piece of a stage on a microbatch's way: forward is done when it exists. `backward` takes the gradient of the piece's output, which
 * stays the caller's, and gives that of its input, which becomes the caller's; undefined where nothing lies before the piece. Either
 * method frees what was kept.
 */
export interface Segment {
  /** Frees itself with the segment. */
  readonly output: Tensor;
  backward(outputGradient: Tensor, sink: GradientSink): Tensor | undefined | Promise<Tensor | undefined>;
  /** Frees the output, which the backward pass does not need. */
  freeOutput(): void;
  dispose(): void;
}

/** A piece with ordinary reverse-mode gradients: of its parameters and, where it has one, its input. */
export class ExactSegment implements Segment {
  readonly output: Tensor;
  readonly #pullback: VectorJacobianProduct<Tensor>;
  readonly #parameters: readonly Parameter[];
  readonly #hasInput: boolean;

  constructor(run: () => Tensor, parameters: readonly Parameter[], input?: Tensor) {
    this.#parameters = parameters;
    this.#hasInput = input !== undefined;
    this.#pullback = vjp(run, input === undefined ? parameters : [input, ...parameters]);
    this.output = keep(this.#pullback.value);
  }

  backward(outputGradient: Tensor, sink: GradientSink): Tensor | undefined {
    this.freeOutput();
    const gradients = keep(this.#pullback.backward([outputGradient]));
    const inputGradient = this.#hasInput ? gradients.shift() : undefined;
    gradients.forEach((gradient, i) => sink.add(this.#parameters[i]!, gradient));
    return inputGradient;
  }

  freeOutput(): void {
    this.output.dispose();
  }

  dispose(): void {
    this.freeOutput();
    this.#pullback.free();
  }
}
