import { u32, type UniformValue } from "./program.ts";

/**
 * Axes that several operands of one shape share, merged where all of them step through neighbours as one; outermost first, axes of size 1
 * left out.
 */
export interface MergedAxes {
  readonly sizes: readonly number[];
  /** Strides of each operand. */
  readonly strides: readonly (readonly number[])[];
}

/** Merges the axes of operands that have `shape`. */
export function mergeAxes(shape: readonly number[], operands: readonly (readonly number[])[]): MergedAxes {
  const sizes: number[] = [];
  const strides: number[][] = operands.map(() => []);
  for (let axis = 0; axis < shape.length; axis++) {
    const size = shape[axis]!;
    if (size === 1) continue;
    const last = sizes.length - 1;
    if (last >= 0 && operands.every((operand, i) => strides[i]![last] === operand[axis]! * size)) {
      sizes[last]! *= size;
      for (const [i, operand] of operands.entries()) strides[i]![last] = operand[axis]!;
    } else {
      sizes.push(size);
      for (const [i, operand] of operands.entries()) strides[i]!.push(operand[axis]!);
    }
  }
  return { sizes, strides };
}

/** How an operand lies along merged axes: one run of neighbours, one repeated element, or anything else. */
export type OperandLayout = "dense" | "scalar" | "strided";

export function operandLayout(strides: readonly number[]): OperandLayout {
  if (strides.every((stride) => stride === 0)) return "scalar";
  return strides.length === 1 && strides[0] === 1 ? "dense" : "strided";
}

/** Uniforms for `stridedPlaces`: `size1`… and, for every strided operand, `<name>Stride0`…; negative strides wrap, as the sums do. */
export function stridedUniforms(axes: MergedAxes, names: readonly string[]): Record<string, UniformValue> {
  const uniforms: Record<string, UniformValue> = {};
  if (axes.strides.some((strides) => operandLayout(strides) === "strided")) {
    for (let axis = 1; axis < axes.sizes.length; axis++) uniforms[`size${axis}`] = u32(axes.sizes[axis]!);
  }
  for (const [i, name] of names.entries()) {
    if (operandLayout(axes.strides[i]!) !== "strided") continue;
    for (const [axis, stride] of axes.strides[i]!.entries()) uniforms[`${name}Stride${axis}`] = u32(stride);
  }
  return uniforms;
}

/**
 * WGSL statements that define `<name>Place` for each operand: the place in its array of the element with row-major number `index` (an
 * expression). The text depends on the rank and on each operand's layout: put `stridedVariant` into the variant.
 */
export function stridedPlaces(axes: MergedAxes, names: readonly string[], index: string = "index"): string {
  const rank = axes.sizes.length;
  const layouts = axes.strides.map(operandLayout);
  const lines: string[] = [];
  if (layouts.includes("strided")) {
    lines.push(`var rest = ${index};`);
    for (let axis = rank - 1; axis >= 1; axis--) {
      lines.push(`let position${axis} = rest % uniforms.size${axis};`, `rest = rest / uniforms.size${axis};`);
    }
    lines.push("let position0 = rest;");
  }
  for (const [i, name] of names.entries()) {
    const terms = [`uniforms.${name}Offset`];
    if (layouts[i] === "dense") terms.push(index);
    if (layouts[i] === "strided") for (let axis = 0; axis < rank; axis++) terms.push(`position${axis} * uniforms.${name}Stride${axis}`);
    lines.push(`let ${name}Place = ${terms.join(" + ")};`);
  }
  return lines.map((line) => `  ${line}`).join("\n");
}

/** Everything that the text of `stridedPlaces` depends on. */
export function stridedVariant(axes: MergedAxes): string {
  return `${axes.sizes.length}${axes.strides.map((strides) => operandLayout(strides)[1]).join("")}`;
}
