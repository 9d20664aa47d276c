import { u32, type KernelBinding, type KernelLaunch } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { accessBindings, accessUniforms, accessVariant, type AccessNumbers, type Source, type Target } from "./access.ts";
import { lineUniforms, type LineLayout } from "./lines.ts";
import { rootTable } from "./tables.ts";

/** One launch: transforms of `length` points, of which a workgroup holds whole lines. */
export interface TransformJob {
  readonly length: number;
  readonly source: Source;
  readonly target: Target;
  readonly lines: LineLayout;
  readonly numbers: AccessNumbers;
  /** Neighbouring lines, not neighbouring points, lie side by side in memory. */
  readonly loadAcross: boolean;
  readonly storeAcross: boolean;
  /** Roots between the steps of a longer transform. */
  readonly stepRoots?: KernelBinding;
  /** Bluestein: the result is multiplied by it and transformed back. */
  readonly spectrum?: KernelBinding;
}

/** What the text of a shader depends on, beside what its kernel chooses. */
export interface TransformText {
  readonly source: Source;
  readonly target: Target;
  readonly steps: boolean;
  readonly twiddle: boolean;
  readonly convolves: boolean;
}

export function textOf({ source, target, lines, stepRoots, spectrum }: TransformJob): TransformText {
  return { source, target, steps: lines.step !== undefined, twiddle: stepRoots !== undefined, convolves: spectrum !== undefined };
}

/** Part of a pipeline's variant. */
export function textVariant({ source, target, steps, twiddle, convolves }: TransformText): string {
  return [accessVariant(source, target), steps && "steps", twiddle && "twiddle", convolves && "convolves"].filter(Boolean).join(" ");
}

/** Bindings and uniforms that every kernel of transforms has. */
export function jobArguments(runtime: WebGpuRuntime, job: TransformJob): Required<Pick<KernelLaunch, "bindings" | "uniforms">> {
  const { length, source, target, lines, numbers, loadAcross, storeAcross, stepRoots, spectrum } = job;
  return {
    bindings: {
      ...accessBindings(source, target),
      roots: rootTable(runtime, length),
      ...(stepRoots && { stepRoots }),
      ...(spectrum && { spectrum }),
    },
    uniforms: {
      ...accessUniforms(numbers),
      ...lineUniforms(lines, source.outerStride, target.outerStride),
      loadAcross: u32(loadAcross ? 1 : 0),
      storeAcross: u32(storeAcross ? 1 : 0),
    },
  };
}
