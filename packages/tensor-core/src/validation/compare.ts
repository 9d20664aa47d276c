import { forEachIndex, elementOffset } from "../backend/reference/access.ts";
import type { Tolerance } from "./kernel-test.ts";
import { storedValues, type BufferContents } from "./run-kernel.ts";
import { coverage, type TensorSpec } from "./tensor-spec.ts";

/** The first element that is not as it should be. */
export interface ElementMismatch {
  /** A wrong result, a write next to an output, or a write to an input. */
  readonly kind: "result" | "outside" | "input";
  /** Which tensor: "output", or "b.scales" inside a quantized matrix. */
  readonly tensor: string;
  /** Place in the tensor's buffer, in elements. */
  readonly bufferElement: number;
  /** Index in the tensor; absent outside of it. */
  readonly index: readonly number[] | undefined;
  readonly expected: number;
  readonly actual: number;
}

/** Contents of all buffers after a kernel has run, beside what they should be. */
export interface Comparison {
  readonly mismatch: ElementMismatch | undefined;
  /** Largest distance from a finite expected result. */
  readonly largestError: number;
  /** The same as a share of what was allowed, where it was more than nothing. */
  readonly largestShare: number;
}

/**
 * Compares results within the tolerance and everything else (inputs, elements around and between those of the views) bit by bit. Stops at
 * the first mismatch.
 */
export function compareContents(
  outputs: readonly string[],
  expected: BufferContents,
  actual: BufferContents,
  tolerance: Tolerance,
): Comparison {
  const largest = { error: 0, share: 0 };
  for (const [path, { spec, values }] of expected) {
    const isOutput = outputs.includes(path);
    const mismatch = compareTensor(path, spec, isOutput, values, actual.get(path)!.values, tolerance, largest);
    if (mismatch !== undefined) return { mismatch, largestError: largest.error, largestShare: largest.share };
  }
  return { mismatch: undefined, largestError: largest.error, largestShare: largest.share };
}

/** One line on a mismatch. */
export function describeMismatch({ kind, tensor, bufferElement, index, expected, actual }: ElementMismatch): string {
  const place = `${index === undefined ? "" : `[${index.join(", ")}] at `}buffer element ${bufferElement}`;
  if (kind === "result") return `${tensor}: ${place} is ${actual}, reference says ${expected}`;
  return `${tensor}: ${kind === "outside" ? "element outside the view" : "input"} at ${place} changed from ${expected} to ${actual}`;
}

function compareTensor(
  path: string,
  spec: TensorSpec,
  isOutput: boolean,
  expected: readonly number[],
  actual: readonly number[],
  tolerance: Tolerance,
  largest: { error: number; share: number },
): ElementMismatch | undefined {
  const covered = coverage(spec);
  const before = storedValues(spec);
  const isFloat = spec.dtype === "float32" || spec.dtype === "float16";
  for (let place = 0; place < expected.length; place++) {
    const value = actual[place]!;
    if (!isOutput || !covered[place]) {
      if (Object.is(value, before[place])) continue;
      return {
        kind: isOutput ? "outside" : "input",
        tensor: path,
        bufferElement: place,
        index: covered[place] ? indexOf(spec, place) : undefined,
        expected: before[place]!,
        actual: value,
      };
    }
    const wanted = expected[place]!;
    if (!(isFloat ? isClose(value, wanted, tolerance) : value === wanted)) {
      return { kind: "result", tensor: path, bufferElement: place, index: indexOf(spec, place), expected: wanted, actual: value };
    }
    const error = Math.abs(value - wanted);
    if (!(error > 0 && Number.isFinite(error))) continue;
    largest.error = Math.max(largest.error, error);
    const allowed = tolerance.absolute + tolerance.relative * Math.abs(wanted);
    if (error > smallestNormal && allowed > 0) largest.share = Math.max(largest.share, error / allowed);
  }
  return undefined;
}

function indexOf(spec: TensorSpec, place: number): readonly number[] | undefined {
  let found: readonly number[] | undefined;
  forEachIndex(spec.shape, (index) => {
    if (found === undefined && elementOffset(index, spec.strides, spec.offset) === place) found = [...index];
  });
  return found;
}

/** Denormal results may be flushed to zero; both zeros are equal. */
const smallestNormal = 1.1754943508222875e-38;
const largestFloat = 3.4028234663852886e38;

function isClose(actual: number, expected: number, { absolute, relative }: Tolerance): boolean {
  if (Number.isNaN(expected) || Number.isNaN(actual)) return Number.isNaN(expected) && Number.isNaN(actual);
  if (actual === expected) return true;
  const flush = absolute === 0 && relative === 0 ? 0 : smallestNormal;
  // A result that just overflows in exact arithmetic may just not do so in float32.
  const wanted = Number.isFinite(expected) ? expected : Math.sign(expected) * largestFloat;
  return Math.abs(actual - wanted) <= absolute + relative * Math.abs(wanted) + flush && Number.isFinite(actual);
}
