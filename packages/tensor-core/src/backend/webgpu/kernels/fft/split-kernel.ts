import { entryPoint, u32, workgroupGrid, type KernelBinding } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { accessUniforms, multiplySource, splitRealSource, type AccessNumbers } from "./access.ts";

/**
 * Takes half-length transforms [outer, points, inner] of an even number of reals apart into their frequencies [outer, points + 1, inner]:
 * the last step of lines that no workgroup holds.
 */
export function launchSplit(
  runtime: WebGpuRuntime,
  outer: number,
  numbers: AccessNumbers,
  bindings: Readonly<Record<"sourcePairs" | "outputReal" | "outputImaginary" | "halfRoots", KernelBinding>>,
): void {
  const { inner, points } = numbers;
  const count = outer * (Math.floor(points / 2) + 1) * inner;
  runtime.launch({
    name: "fftSplitReal",
    bindings,
    uniforms: { ...accessUniforms(numbers), count: u32(count) },
    workgroups: workgroupGrid(Math.ceil(count / 256)),
    code: () => `${multiplySource}${splitRealSource}
${entryPoint(
  256,
  `  if (index >= uniforms.count) { return; }
  let rest = index / uniforms.inner;
  let i = index - rest * uniforms.inner;
  let pairs = uniforms.points / 2u + 1u;
  let o = rest / pairs;
  let k = rest - o * pairs;
  let first = uniforms.sourcePairsOffset + o * uniforms.points * uniforms.inner + i;
  let a = sourcePairs[first + k * uniforms.inner];
  let b = sourcePairs[first + select(uniforms.points - k, 0u, k == 0u) * uniforms.inner];
  splitReal(o * (uniforms.points + 1u) * uniforms.inner + i, k, a, b);`,
)}`,
  });
}
