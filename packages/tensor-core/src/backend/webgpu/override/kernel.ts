/** What a user says of a WGSL kernel of their own. */
import type { KernelArguments, KernelName, TensorView } from "../../backend.ts";
import type { Dtype } from "../../../tensor/dtype.ts";
import { isContiguous } from "../../../tensor/shape.ts";
import type { KernelBinding, KernelLaunch, UniformValue } from "../program.ts";
import type { RuntimeFeatures, RuntimeLimits } from "../runtime.ts";

/** What a kernel may choose its code and workgroups by. */
export interface KernelDevice {
  readonly features: RuntimeFeatures;
  readonly limits: RuntimeLimits;
}

/**
 * WGSL that computes one kernel of the contract (`KernelArguments`) in place of the built-in: as one launch, or as several that `record`
 * makes. `KernelArguments` says what each kernel has to compute, which tensors are contiguous, and which may have any strides; all may have
 * offsets.
 */
export type WgslKernel<Name extends KernelName> = WgslKernelCommon<Name> & (WgslKernelLaunch<Name> | WgslKernelRecord<Name>);

/** What all kernels say. */
export interface WgslKernelCommon<Name extends KernelName> {
  /** The kernel it replaces. */
  readonly kernel: Name;
  /** Its own name, for errors, labels and profiles. */
  readonly name: string;
  /**
   * Whether it computes these arguments; the built-in does the others. Must depend on them alone. Default: all. Elements are the business
   * of the kernel: NaN, infinities and zeros are tried.
   */
  readonly supports?: (parameters: KernelArguments[Name], device: KernelDevice) => boolean;
}

/** A kernel of one launch. */
export interface WgslKernelLaunch<Name extends KernelName> {
  /**
   * The storage arrays, at most 8, by their names in WGSL: `read(view)` and `write(view)`. Each comes with a number
   * `uniforms.<name>Offset`, where the view begins in the array, which the code has to add.
   */
  readonly bindings: (parameters: KernelArguments[Name]) => Readonly<Record<string, KernelBinding>>;
  /** Numbers that the code reads as `uniforms.<name>`: `u32(rows)`, `f32(epsilon)`. At most 64, offsets included. */
  readonly uniforms?: (parameters: KernelArguments[Name]) => Readonly<Record<string, UniformValue>>;
  /** Workgroups along x, y and z, each at most 65535; `workgroupGrid` lays out more. */
  readonly workgroups: (parameters: KernelArguments[Name], device: KernelDevice) => readonly [x: number, y?: number, z?: number];
  /**
   * WGSL functions and an entry point `main`; the declarations of arrays and uniforms are put before it. As a function of the arguments, it
   * is called once for each `variant`.
   */
  readonly code: string | ((parameters: KernelArguments[Name], device: KernelDevice) => string);
  /** Names everything that `code` depends on; needed where it is a function. Sizes belong into uniforms: each variant is compiled. */
  readonly variant?: (parameters: KernelArguments[Name], device: KernelDevice) => string;
  /** WGSL extensions; let `supports` ask for the adapter's features. */
  readonly enables?: KernelLaunch["enables"];
}

/** A kernel of several launches. */
export interface WgslKernelRecord<Name extends KernelName> {
  /** Records the launches, in order; each sees what those before it wrote. */
  readonly record: (parameters: KernelArguments[Name], recorder: KernelRecorder) => void;
}

/** One of several launches of a kernel. */
export interface RecordedLaunch extends Omit<KernelLaunch, "name" | "code"> {
  /** As for kernels of one launch. As a function it is called once for each `variant` of this launch. */
  readonly code: string | (() => string);
}

/** Takes the launches of one call of a kernel. */
export interface KernelRecorder extends KernelDevice {
  launch(launch: RecordedLaunch): void;
  /** Contiguous memory of undefined content, until the call is over: for what one launch leaves to another. */
  temporary(dtype: Dtype, shape: readonly number[]): TensorView;
}

/** Whether a view is row-major without gaps; its offset may be anything. */
export function isContiguousView({ shape, strides }: TensorView): boolean {
  return isContiguous(shape, strides);
}
