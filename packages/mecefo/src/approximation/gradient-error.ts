import { SettingsError } from "../errors.ts";

/** One tensor's values in an estimated gradient, and in the exact one. */
export type GradientPair = readonly [estimate: ArrayLike<number>, exact: ArrayLike<number>];

/**
 * ‖ĝ - g‖² / ‖g‖² over all the tensors of a gradient, summed in float64: what assumption 3 of the paper bounds by 1 - δ. Where both are
 * zero there is no error; where the exact one alone is, the error is infinite.
 * @throws SettingsError for a pair of different lengths
 */
export function relativeSquaredError(pairs: Iterable<GradientPair>): number {
  let difference = 0;
  let whole = 0;
  for (const [estimate, exact] of pairs) {
    if (estimate.length !== exact.length) throw new SettingsError(`a gradient of ${estimate.length} numbers beside one of ${exact.length}`);
    for (let i = 0; i < exact.length; i++) {
      difference += (estimate[i]! - exact[i]!) ** 2;
      whole += exact[i]! ** 2;
    }
  }
  if (whole === 0) return difference === 0 ? 0 : Infinity;
  return difference / whole;
}

/** Mean over pipelines of one parameter's gradient, over those that have one (Eq. 1); undefined where none has. */
export function averageGradient(gradients: readonly (ArrayLike<number> | undefined)[]): Float64Array | undefined {
  const given = gradients.filter((gradient) => gradient !== undefined);
  if (given.length === 0) return undefined;
  const mean = new Float64Array(given[0]!.length);
  for (const gradient of given) for (let i = 0; i < mean.length; i++) mean[i]! += gradient[i]! / given.length;
  return mean;
}

/**
 * The relative squared error to expect of averaging over `active` of `pipelines` gradients that are all noise: (n - |N|) / |N|. Gradients
 * that agree with one another have less.
 */
export function expectedAveragingError(pipelines: number, active: number): number {
  return (pipelines - active) / active;
}

/** The relative squared error to expect of one gradient through a basis that has nothing to do with it: 1 - r / n. */
export function expectedProjectionError(rank: number, inputs: number): number {
  return 1 - rank / inputs;
}
