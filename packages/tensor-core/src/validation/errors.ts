import type { KernelName } from "../backend/backend.ts";
import { TensorError } from "../errors.ts";
import type { ElementMismatch } from "./compare.ts";

/**
 * Why a kernel was not accepted.
 * - `definition`: it cannot be launched as it is described (names, numbers, workgroups, features of the adapter)
 * - `unchecked`: it takes so few of the generated cases that nothing is known of it
 * - `compile`: the WGSL compiler refuses the code; see `messages`
 * - `refused`: WebGPU refuses the pipeline or the launch
 * - `threw`: one of its functions threw; see `cause`
 * - `wrong`: a result is not the reference's; `outside`: it writes next to an output, or to an input; see `mismatch`
 * - `nondeterministic`: the same arguments gave different bits; see `mismatch`
 * - `lost`: the device that tried it was lost, or did not answer in time (an endless loop)
 */
export type ValidationFailure =
  "definition" | "unchecked" | "compile" | "refused" | "threw" | "wrong" | "outside" | "nondeterministic" | "lost";

/** A message of the WGSL compiler. */
export interface CompileMessage {
  readonly type: "error" | "warning" | "info";
  readonly message: string;
  /** Line of the kernel's own code, from 1; 0 for the declarations that are put before it. */
  readonly line: number;
  /** Column in that line, from 1. */
  readonly column: number;
  /** The line itself. */
  readonly source: string;
}

/** What is known of a failure besides its message. */
export interface ValidationDetails {
  readonly messages?: readonly CompileMessage[];
  readonly mismatch?: ElementMismatch;
  /** The arguments, in words. */
  readonly case?: string;
  readonly cause?: unknown;
}

/** A kernel did not pass its validation; it was not installed, and everything is as before. */
export class KernelValidationError extends TensorError {
  override name = "KernelValidationError";
  readonly kernel: KernelName;
  /** The name that the kernel's author gave it. */
  readonly kernelName: string;
  readonly reason: ValidationFailure;
  /** What the compiler said, for `reason` "compile". */
  readonly messages: readonly CompileMessage[];
  /** The first wrong element, for `reason` "wrong", "outside" and "nondeterministic". */
  readonly mismatch: ElementMismatch | undefined;
  /** The arguments that showed it, in words: the smallest of those tried. */
  readonly case: string | undefined;

  constructor(kernel: KernelName, kernelName: string, reason: ValidationFailure, problem: string, details: ValidationDetails = {}) {
    const example = details.case === undefined ? "" : `\n${details.case}`;
    super(`kernel "${kernelName}" for ${kernel}: ${problem}${example}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.kernel = kernel;
    this.kernelName = kernelName;
    this.reason = reason;
    this.messages = details.messages ?? [];
    this.mismatch = details.mismatch;
    this.case = details.case;
  }
}
