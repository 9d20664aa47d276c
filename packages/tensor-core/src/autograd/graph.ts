import type { Dtype } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Tape } from "./tape.ts";

/** A gradient for each input of an operation; `undefined` where none flows (integer inputs, inputs nobody asked for). */
export type InputGradients = readonly (Tensor | undefined)[];

/** Computes the input gradients of one operation from the gradients of its outputs (`undefined` = zero). */
export type BackwardFunction = (gradients: readonly (Tensor | undefined)[], needs: (input: number) => boolean) => InputGradients;

/** One recorded operation, or (with no backward function) one source that gradients are asked for. */
export interface GraphNode {
  readonly tape: Tape;
  readonly operation: string;
  /** Where each input came from; `undefined` for constants. */
  readonly inputs: readonly ({ readonly node: GraphNode; readonly output: number } | undefined)[];
  backward: BackwardFunction | undefined;
  /** Accumulated gradient of each output. */
  readonly gradients: (Tensor | undefined)[];
  /** Whether `gradients[i]` was made by accumulation, so that more can be added in place. */
  readonly ownsGradient: boolean[];
  /** Dtype of each output, which its gradient has in `backward`. */
  readonly dtypes: readonly Dtype[];
  /** Values the backward function reads, freed once it has run. */
  saved: Tensor[];
}
