/** A mask with the shape of a tensor of rows and any strides, found from row and column. */
import type { TensorView } from "../../backend.ts";
import { i32, u32, type UniformValue } from "../program.ts";
import { mergeAxes } from "../strided.ts";

/** How a shader finds a mask's elements. */
export interface RowMask {
  /** Axes in front of the columns, after merging. */
  readonly rank: number;
  readonly uniforms: Readonly<Record<string, UniformValue>>;
  /** Function `maskStart(row: u32) -> i32`: place of the row's first element; the next are `uniforms.maskStep` further each. */
  readonly code: string;
}

/** Addressing of `mask`, whose last axis is the columns. Axes that lie as one are taken as one, so shaders know few ranks. */
export function rowMask(mask: TensorView): RowMask {
  const merged = mergeAxes(mask.shape.slice(0, -1), [mask.strides]);
  const { sizes } = merged;
  const strides = merged.strides[0]!;
  const uniforms: Record<string, UniformValue> = { maskStep: i32(mask.strides.at(-1) ?? 0) };
  const lines: string[] = [];
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    uniforms[`maskStride${axis}`] = i32(strides[axis]!);
    if (axis === 0) {
      lines.push("  start += i32(rest) * uniforms.maskStride0;");
    } else {
      uniforms[`maskSize${axis}`] = u32(sizes[axis]!);
      lines.push(`  start += i32(rest % uniforms.maskSize${axis}) * uniforms.maskStride${axis};`, `  rest /= uniforms.maskSize${axis};`);
    }
  }
  const code = `fn maskStart(row: u32) -> i32 {
  var rest = row;
  var start = i32(uniforms.maskOffset);
${lines.join("\n")}
  return start;
}`;
  return { rank: sizes.length, uniforms, code };
}
