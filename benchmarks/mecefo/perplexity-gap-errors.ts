import { relativeSquaredError, type GradientPair } from "../../packages/mecefo/src/approximation/gradient-error.ts";
import type { VirtualGrid } from "../../packages/mecefo/src/virtual-grid/virtual-grid.ts";
import type { StageState } from "../../packages/mecefo/src/worker/stage-state.ts";

/** ‖ĝ - g‖² / ‖g‖² of the averaged gradient of a step, before clipping: what assumption 3 of the paper bounds by 1 - δ. */
export interface GradientErrors {
  readonly step: number;
  readonly all: number;
  /** Of attention and the norms before it: technique I. */
  readonly mixer: number;
  /** Of the feed-forward's three matrices: technique III. */
  readonly feedForward: number;
  /** Of all but the mixers: embedding, head and norms besides, whose gradients are the largest. */
  readonly others: number;
}

/** One parameter's averaged gradient. */
export interface GradientPart {
  readonly part: "mixer" | "feedForward" | "other";
  readonly values: Float32Array;
}

/** The averaged gradients that a grid's last step left, by parameter; for models without tied matrices. They change with its next step. */
export function gradientsOf({ stages }: VirtualGrid): GradientPart[] {
  return stages.flatMap(({ replica, gradients: { values } }) => {
    let offset = 0;
    return replica.parameters.map(({ name, parameter, mixerBlock }) => {
      const own = values.subarray(offset, offset + parameter.size);
      offset += parameter.size;
      return { part: mixerBlock !== undefined ? "mixer" : /\.mlp\./.test(name) ? "feedForward" : "other", values: own };
    });
  });
}

/** The errors of one grid's gradients, beside the exact ones of the same weights and batch. */
export function errorsOf(estimates: readonly GradientPart[], exact: readonly GradientPart[]): Omit<GradientErrors, "step"> {
  const pairs = exact.map(({ part, values }, i) => ({ part, pair: [estimates[i]!.values, values] satisfies GradientPair }));
  const of = (wanted: (part: GradientPart["part"]) => boolean): number =>
    relativeSquaredError(pairs.filter(({ part }) => wanted(part)).map(({ pair }) => pair));
  return {
    all: of(() => true), mixer: of((part) => part === "mixer"), feedForward: of((part) => part === "feedForward"),
    others: of((part) => part !== "mixer"),
  };
}

/**
 * Compares the gradient of a grid's last step with the one that nobody's failure would have left.
 * @param reference of the same model, without failures; it becomes what `before` says, and takes the step
 * @param before of all stages, before the step
 */
export async function gradientErrors(
  grid: VirtualGrid, reference: VirtualGrid, before: readonly StageState[],
): Promise<Omit<GradientErrors, "step">> {
  const estimates = gradientsOf(grid);
  reference.stages.forEach(({ replica }, stage) => replica.load(before[stage]!));
  if ((await reference.step()) === undefined) throw new Error("the fault-free grid takes no step");
  return errorsOf(estimates, gradientsOf(reference));
}
