import type { Tensor } from "@frugal/tensor-core";

/** What a stage is given for one microbatch. */
export type StageInput =
  /** The first stage's: ids, row-major [batch, sequence]. */
  | { readonly ids: Int32Array; readonly shape: readonly [batch: number, sequence: number] }
  /** The others': hidden states [batch, sequence, hiddenSize]. They stay the caller's. */
  | { readonly hidden: Tensor };

/** One microbatch's way through one stage: forward is done, backward may follow. */
export interface StagePass {
  /** Hidden states [batch, sequence, hiddenSize] for the next stage; absent at the last. Freed by `backward` and `dispose`. */
  readonly output?: Tensor;
  /** Mean cross-entropy of the microbatch, a scalar; at the last stage. Freed likewise. */
  readonly loss?: Tensor;
  /**
   * Adds the parameters' gradients to the stage's sums. `outputGradient` is the loss's gradient with respect to `output` (absent at the
   * last stage), and stays the caller's. Gives that with respect to the input hidden states, which becomes the caller's (undefined at the
   * first stage). Can be called once.
   */
  backward(outputGradient?: Tensor): Promise<Tensor | undefined>;
  /** Frees what was kept, where backward is not called. */
  dispose(): void;
}
