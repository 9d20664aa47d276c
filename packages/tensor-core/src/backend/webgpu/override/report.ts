import type { KernelName } from "../../backend.ts";
import type { CompileMessage } from "../../../validation/errors.ts";
import type { ValidationOptions, ValidationReport } from "../../../validation/validate-kernel.ts";
import type { KernelSpec } from "../../../validation/tensor-spec.ts";
import type { KernelTiming } from "./measure.ts";

/** How a WGSL kernel is validated. */
export interface WgslValidationOptions<Name extends KernelName> extends ValidationOptions<Name> {
  /** Also takes the time beside the built-in: on the largest case tried, or on arguments of your own. For the report only. */
  readonly measure?: boolean | KernelSpec<Name>;
  /** How long the GPU may take for everything together; default two minutes. */
  readonly timeoutMilliseconds?: number;
}

/** What was found out about a WGSL kernel that passed. */
export interface KernelReport<Name extends KernelName> extends ValidationReport<Name> {
  /** Pipelines compiled. */
  readonly pipelines: number;
  /** What the compiler said besides errors. */
  readonly warnings: readonly CompileMessage[];
  /** With the option `measure`. */
  readonly timing: KernelTiming | undefined;
  /** Time that the validation took. */
  readonly milliseconds: number;
}
