/** What `enableRelaxedKernels` did. */
export interface RelaxedKernels {
  /** Whether device "cpu" will use the relaxed kernels. */
  readonly enabled: boolean;
  /** Why, in words. */
  readonly reason: string;
  /** Time of matrix products with the baseline over that with the relaxed kernels; absent when they could not be tried. */
  readonly speedup?: number;
}

/** Gains below this are within the noise of so short a trial, and not worth the machine's own rounding. */
const worthwhile = 1.03;

/** Whether to use kernels that are valid here or not, and faster or not. */
export function decide(valid: boolean, measure: () => number): RelaxedKernels {
  if (!valid) return { enabled: false, reason: "this engine does not have WebAssembly relaxed SIMD" };
  const speedup = measure();
  const figure = `${speedup.toFixed(2)} times the baseline's speed`;
  return speedup >= worthwhile
    ? { enabled: true, reason: `relaxed kernels run at ${figure} here`, speedup }
    : {
        enabled: false,
        reason: `relaxed kernels run at ${figure} here, which is not worth giving up results that are the same everywhere`,
        speedup,
      };
}
