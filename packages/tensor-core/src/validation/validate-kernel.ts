import type { Backend, KernelArguments, KernelName } from "../backend/backend.ts";
import { createReferenceBackend } from "../backend/reference/index.ts";
import { TensorError } from "../errors.ts";
import { itemSize } from "../tensor/dtype.ts";
import { compareContents, describeMismatch, type ElementMismatch } from "./compare.ts";
import type { KernelTest } from "./kernel-test.ts";
import { kernelTests } from "./kernel-tests.ts";
import { runKernel, type BufferContents } from "./run-kernel.ts";
import { describeSpec, paddedSpec, type KernelSpec, type TensorSpec } from "./tensor-spec.ts";
import { acceptedCases, argumentsOf, elementsOf, hasDenormalScalar, mapTensors, outputElements, withoutDenormals } from "./accepted-cases.ts";
import { KernelValidationError } from "./errors.ts";

/** A kernel that wants to be used. */
export interface KernelCandidate<Name extends KernelName> {
  readonly kernel: Name;
  readonly name: string;
  supports(parameters: KernelArguments[Name]): boolean;
  /** The kernel, on the device that tries it. */
  run(parameters: KernelArguments[Name]): void;
  /** After each run, before results are read: looks at what the device says. @throws KernelValidationError */
  afterRun(): Promise<void>;
}

/** How a kernel is validated. */
export interface ValidationOptions<Name extends KernelName> {
  /** Arguments of your own to try, besides the generated ones: for sizes that only your kernel is meant for. */
  readonly cases?: readonly KernelSpec<Name>[];
  /** Generated cases to run; default 48. 0 to run your own alone. */
  readonly generatedCases?: number;
  /** Seed of the generated cases; default 1. */
  readonly seed?: number;
  /** Multiplies what results may differ from the reference; default 1, which the built-in kernels keep to as well. */
  readonly tolerance?: number;
  /** Runs of each case, which must agree in every bit; default 2. */
  readonly runs?: number;
}

/** What was checked. */
export interface ValidationReport<Name extends KernelName> {
  /** Cases that ran and were right. */
  readonly cases: number;
  /** Elements that the largest of them computes. */
  readonly largestCaseElements: number;
  /** Largest distance of a result from the reference. */
  readonly largestError: number;
  /** Largest distance as a share of what was allowed there: 1 is just right. */
  readonly largestErrorShare: number;
  /** The largest case. */
  readonly largestCase: KernelSpec<Name>;
}

/** Generated cases that a kernel has to take, to be known at all, unless it brings its own. */
const minimumCases = 8;

/**
 * Runs a kernel beside the reference on generated cases that it supports, and on those given: odd sizes, offsets, strides, special values,
 * sizes of many workgroups, but no denormal numbers, which WGSL may flush. Results must be within the tolerance, everything else in all buffers (which are as large as the device makes
 * them) unchanged, and repeated runs equal.
 * @param allocationSize bytes that the device sets aside for an allocation
 * @throws KernelValidationError at the first case, the smaller ones first, that shows a mistake
 */
export async function validateKernel<Name extends KernelName>(
  backend: Backend,
  candidate: KernelCandidate<Name>,
  options: ValidationOptions<Name>,
  allocationSize: (byteLength: number) => number,
): Promise<ValidationReport<Name>> {
  const { kernel } = candidate;
  const test = (kernelTests as { readonly [Key in Name]: KernelTest<Key> })[kernel];
  const reference = createReferenceBackend();
  const trial: Backend = { ...backend, kernels: { ...backend.kernels, [kernel]: candidate.run } };
  const specs = casesOf(candidate, test, options);
  const largest = { error: 0, share: 0 };
  for (const original of specs) {
    const spec = mapTensors(original, (tensor) => paddedSpec(withoutDenormals(tensor), paddedLength(tensor, allocationSize)));
    const expected = await runKernel(reference, kernel, spec);
    const first = await runCandidate(trial, candidate, spec);
    const { absolute, relative } = test.tolerance(spec);
    const factor = options.tolerance ?? 1;
    const tolerance = { absolute: absolute * factor, relative: relative * factor };
    const outputs = test.outputs as readonly string[];
    const { mismatch, largestError, largestShare } = compareContents(outputs, expected, first, tolerance);
    if (mismatch !== undefined) {
      const reason = mismatch.kind === "result" ? "wrong" : "outside";
      throw failure(candidate, reason, describeMismatch(mismatch), original, mismatch);
    }
    largest.error = Math.max(largest.error, largestError);
    largest.share = Math.max(largest.share, largestShare);
    for (let run = 1; run < (options.runs ?? 2); run++) {
      const again = firstDifference(first, await runCandidate(trial, candidate, spec));
      if (again === undefined) continue;
      const place = `${again.tensor} at buffer element ${again.bufferElement}`;
      const problem = `two runs differ: ${place} is ${again.expected}, then ${again.actual}`;
      throw failure(candidate, "nondeterministic", problem, original, again);
    }
  }
  const largestCase = specs.at(-1)!;
  return {
    cases: specs.length,
    largestCaseElements: Math.max(...specs.map((spec) => outputElements(test, spec))),
    largestError: largest.error,
    largestErrorShare: largest.share,
    largestCase,
  };
}

function casesOf<Name extends KernelName>(
  candidate: KernelCandidate<Name>,
  test: KernelTest<Name>,
  { cases: own = [], generatedCases = 48, seed = 1 }: ValidationOptions<Name>,
): readonly KernelSpec<Name>[] {
  const accepts = (spec: KernelSpec<Name>): boolean => {
    try {
      return candidate.supports(argumentsOf(spec));
    } catch (cause) {
      throw failure(candidate, "threw", `supports() threw ${String(cause)}`, spec, undefined, cause);
    }
  };
  for (const spec of own) {
    if (!accepts(spec)) throw failure(candidate, "unchecked", "supports() does not take one of the given cases", spec);
  }
  const generated = acceptedCases(test, (spec) => !hasDenormalScalar(spec) && accepts(spec), generatedCases, seed);
  const usable = [...own, ...generated.specs].filter((spec) => outputElements(test, spec) > 0).length;
  if (own.length === 0 && usable < Math.max(1, Math.min(minimumCases, generatedCases))) {
    const taken = `supports() takes ${usable} of ${generated.drawn} generated cases, too few to validate it`;
    const problem = `${taken}; take more, or give cases of your own (option "cases")`;
    throw new KernelValidationError(candidate.kernel, candidate.name, "unchecked", problem);
  }
  return [...own, ...generated.specs].sort((a, b) => elementsOf(a) - elementsOf(b));
}

function paddedLength({ dtype, storage }: TensorSpec, allocationSize: (byteLength: number) => number): number {
  return allocationSize(storage.length * itemSize(dtype)) / itemSize(dtype);
}

async function runCandidate<Name extends KernelName>(
  trial: Backend,
  candidate: KernelCandidate<Name>,
  spec: KernelSpec<Name>,
): Promise<BufferContents> {
  let thrown: { readonly cause: unknown } | undefined;
  const watched: Backend = {
    ...trial,
    kernels: {
      ...trial.kernels,
      [candidate.kernel]: (parameters: KernelArguments[Name]) => {
        try {
          candidate.run(parameters);
        } catch (cause) {
          thrown = { cause };
        }
      },
    },
    async read(buffer, byteOffset, byteLength) {
      if (thrown !== undefined) throw thrown.cause;
      await candidate.afterRun();
      return trial.read(buffer, byteOffset, byteLength);
    },
  };
  try {
    return await runKernel(watched, candidate.kernel, spec);
  } catch (error) {
    if (error instanceof KernelValidationError) throw error;
    if (thrown !== undefined) throw failure(candidate, "threw", `its launch threw ${String(error)}`, spec, undefined, error);
    if (error instanceof TensorError) throw failure(candidate, "refused", error.message, spec, undefined, error);
    throw error;
  }
}

function firstDifference(first: BufferContents, second: BufferContents): ElementMismatch | undefined {
  for (const [tensor, { values }] of first) {
    const others = second.get(tensor)!.values;
    const at = values.findIndex((value, i) => !Object.is(value, others[i]));
    if (at >= 0) return { kind: "result", tensor, bufferElement: at, index: undefined, expected: values[at]!, actual: others[at]! };
  }
  return undefined;
}

function failure<Name extends KernelName>(
  { kernel, name }: KernelCandidate<Name>,
  reason: ConstructorParameters<typeof KernelValidationError>[2],
  problem: string,
  spec: KernelSpec<Name>,
  mismatch?: ElementMismatch,
  cause?: unknown,
): KernelValidationError {
  return new KernelValidationError(kernel, name, reason, problem, {
    case: describeSpec(spec),
    ...(mismatch === undefined ? {} : { mismatch }),
    ...(cause === undefined ? {} : { cause }),
  });
}
