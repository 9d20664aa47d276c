/**
 * Every kernel of a backend beside the reference backend, on generated cases: odd sizes, nothing at all, broadcasting, transposed, sliced
 * and flipped views, special values. Internal: for tests of the backends in this package.
 */
import fc from "fast-check";
import type { Backend, KernelName } from "../backend/backend.ts";
import { createReferenceBackend } from "../backend/reference/index.ts";
import { attentionTests } from "./cases/attention.ts";
import { elementwiseTests } from "./cases/elementwise.ts";
import { fftTests } from "./cases/fft.ts";
import { matmulTests } from "./cases/matmul.ts";
import { movementTests } from "./cases/movement.ts";
import { optimizerTests } from "./cases/optim.ts";
import { randomTests } from "./cases/random.ts";
import { reduceTests } from "./cases/reduce.ts";
import { rowTests } from "./cases/rows.ts";
import { sequenceTests } from "./cases/sequence.ts";
import { sortTests } from "./cases/sort.ts";
import type { KernelTests, Tolerance } from "./kernel-test.ts";
import { runKernel, storedValues } from "./run-kernel.ts";
import { coverage, describeSpec } from "./tensor-spec.ts";
import type { KernelSpec, TensorSpec } from "./tensor-spec.ts";

/** The test of each kernel. */
export const kernelTests: KernelTests<KernelName> = {
  ...movementTests,
  ...elementwiseTests,
  ...reduceTests,
  ...sortTests,
  ...matmulTests,
  ...rowTests,
  ...attentionTests,
  ...sequenceTests,
  ...fftTests,
  ...randomTests,
  ...optimizerTests,
};

/** All kernels, in the order of the contract. */
export const kernelNames: readonly KernelName[] = Object.keys(kernelTests) as KernelName[];

/** How hard to try. */
export interface SuiteOptions {
  /** Cases per kernel; default 100. */
  readonly runs?: number;
  /** Multiplies the tolerance of every kernel; default 1. */
  readonly tolerance?: number;
  /** Seed of the case generator; default: a new one each time, named in the error. */
  readonly seed?: number;
  /** The backend that is right; default: the reference. */
  readonly against?: Backend;
  /** Leave these cases out, for what a device cannot do. */
  readonly skip?: (name: KernelName, spec: object) => boolean;
}

/** A kernel that disagrees with the reference, in its smallest found case. */
export class KernelMismatch extends Error {
  override name = "KernelMismatch";
  readonly kernel: KernelName;

  constructor(kernel: KernelName, message: string) {
    super(message);
    this.kernel = kernel;
  }
}

/** Not an error of the kernel's own: its stack says nothing. */
class Difference extends Error {}

/** Runs one kernel beside the reference. @throws KernelMismatch with the shrunk case. */
export async function checkKernelAgainstReference(backend: Backend, name: KernelName, options: SuiteOptions = {}): Promise<void> {
  const test = kernelTests[name] as KernelTests<KernelName>["fill"];
  const reference = options.against ?? createReferenceBackend();
  const property = fc.asyncProperty(test.cases, async (generated) => {
    const spec = generated as KernelSpec<"fill">;
    fc.pre(!options.skip?.(name, spec));
    const problem = await differenceOf(backend, reference, name as "fill", spec, options.tolerance ?? 1);
    if (problem !== undefined) throw new Difference(problem);
  });
  const details = await fc.check(property, { numRuns: options.runs ?? 100, ...(options.seed === undefined ? {} : { seed: options.seed }) });
  if (!details.failed) return;
  const cause = details.errorInstance;
  const reason = cause instanceof Error && !(cause instanceof Difference) ? cause.stack : (cause as Error | null)?.message;
  const found = details.counterexample ? describeSpec(details.counterexample[0]) : `no case: ${details.numSkips} skipped`;
  throw new KernelMismatch(name, `${name}: ${reason}\n${found}\n(seed ${details.seed}, shrunk ${details.numShrinks} times)`);
}

/** Runs one case beside the reference: for sizes that generated cases do not reach. @throws KernelMismatch */
export async function checkCaseAgainstReference<Name extends KernelName>(
  backend: Backend,
  name: Name,
  spec: KernelSpec<Name>,
  { against = createReferenceBackend(), tolerance = 1 }: Pick<SuiteOptions, "against" | "tolerance"> = {},
): Promise<void> {
  const problem = await differenceOf(backend, against, name as "fill", spec as KernelSpec<"fill">, tolerance);
  if (problem !== undefined) throw new KernelMismatch(name, `${name}: ${problem}\n${describeSpec(spec)}`);
}

async function differenceOf(
  backend: Backend,
  reference: Backend,
  name: "fill",
  spec: KernelSpec<"fill">,
  factor: number,
): Promise<string | undefined> {
  const test = (kernelTests as KernelTests<"fill">)[name];
  const expected = await runKernel(reference, name, spec);
  const actual = await runKernel(backend, name, spec);
  const { absolute, relative } = test.tolerance(spec);
  for (const [path, { spec: tensor, values }] of expected) {
    const isOutput = (test.outputs as readonly string[]).includes(path);
    const problem = firstDifference(path, tensor, isOutput, values, actual.get(path)!.values, {
      absolute: absolute * factor,
      relative: relative * factor,
    });
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** Runs all kernels, or those named, and gives every mismatch. */
export async function checkKernelsAgainstReference(
  backend: Backend,
  options: SuiteOptions & { readonly kernels?: readonly KernelName[] } = {},
): Promise<KernelMismatch[]> {
  const mismatches: KernelMismatch[] = [];
  for (const name of options.kernels ?? kernelNames) {
    try {
      await checkKernelAgainstReference(backend, name, options);
    } catch (error) {
      if (!(error instanceof KernelMismatch)) throw error;
      mismatches.push(error);
    }
  }
  return mismatches;
}

function firstDifference(
  path: string,
  spec: TensorSpec,
  isOutput: boolean,
  expected: readonly number[],
  actual: readonly number[],
  tolerance: Tolerance,
): string | undefined {
  const covered = coverage(spec);
  const before = storedValues(spec);
  const isFloat = spec.dtype === "float32" || spec.dtype === "float16";
  for (let place = 0; place < expected.length; place++) {
    const value = actual[place]!;
    if (!isOutput || !covered[place]) {
      if (!Object.is(value, before[place])) {
        const what = isOutput ? "element outside the view" : "input";
        return `${path}: ${what} at buffer element ${place} changed from ${before[place]} to ${value}`;
      }
    } else if (!(isFloat ? isClose(value, expected[place]!, tolerance) : value === expected[place])) {
      return `${path}: buffer element ${place} is ${value}, reference says ${expected[place]}`;
    }
  }
  return undefined;
}

/** Denormal results may be flushed to zero; both zeros are equal. */
const smallestNormal = 1.1754943508222875e-38;

function isClose(actual: number, expected: number, { absolute, relative }: Tolerance): boolean {
  if (Number.isNaN(expected) || Number.isNaN(actual)) return Number.isNaN(expected) && Number.isNaN(actual);
  if (actual === expected) return true;
  const flush = absolute === 0 && relative === 0 ? 0 : smallestNormal;
  return Math.abs(actual - expected) <= absolute + relative * Math.abs(expected) + flush && Number.isFinite(actual);
}
