/**
 * Every kernel of a backend beside the reference backend, on generated cases: odd sizes, nothing at all, broadcasting, transposed, sliced
 * and flipped views, special values. Internal: for tests of the backends in this package.
 */
import fc from "fast-check";
import type { Backend, KernelName } from "../backend/backend.ts";
import { createReferenceBackend } from "../backend/reference/index.ts";
import { compareContents, describeMismatch } from "../validation/compare.ts";
import { kernelNames, kernelTests } from "../validation/kernel-tests.ts";
import type { KernelTests } from "../validation/kernel-test.ts";
import { runKernel } from "../validation/run-kernel.ts";
import { describeSpec, type KernelSpec } from "../validation/tensor-spec.ts";
import { toFastCheck } from "./to-fast-check.ts";

export { kernelNames };

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
  const property = fc.asyncProperty(toFastCheck(test.cases), async (generated) => {
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
  const { mismatch } = compareContents(test.outputs, expected, actual, { absolute: absolute * factor, relative: relative * factor });
  return mismatch && describeMismatch(mismatch);
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
