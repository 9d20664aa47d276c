/** How shaders read the operands of a product: bindings, strides and WGSL loaders that give four values at a time, as float32. */
import type { QuantizedView } from "../../../backend.ts";
import type { WebGpuBuffer } from "../../buffers.ts";
import { read, u32, type ElementType, type KernelBinding, type UniformValue } from "../../program.ts";
import { mathSource } from "../../wgsl/math.ts";
import type { Operand, OperandFormat } from "./problem.ts";

/**
 * Along which axis four neighbours can be loaded at once, as one aligned vector. "scattered": along none, every element is loaded by
 * itself.
 */
export type OperandAccess = "alongK" | "alongTile" | "scattered";

/** All that the WGSL of an operand depends on. */
export interface OperandLayout {
  readonly format: OperandFormat;
  readonly access: OperandAccess;
  /** float16: loads as f16 rather than as words. */
  readonly native: boolean;
  /** Quantised groups have a minimum. */
  readonly minimums: boolean;
}

/** Elements of one vector load. For the quantised formats those of the u32 that holds them. */
const vectorElements: Readonly<Record<OperandFormat, number>> = { float32: 4, float16: 4, int8: 4, uint4: 8 };

/** Whether everything that a shader adds up to an element's place is a multiple of `elements`. */
export function isOperandAligned({ offset, tileStride, kStride, batchStrides }: Operand, along: "k" | "tile", elements: number): boolean {
  const [unitStride, otherStride] = along === "k" ? [kStride, tileStride] : [tileStride, kStride];
  return unitStride === 1 && [offset, otherStride, ...batchStrides].every((value) => value % elements === 0);
}

/** The widest loads that an operand's strides allow. */
export function operandLayout(operand: Operand, features: { readonly f16: boolean }): OperandLayout {
  const { format, tileSize } = operand;
  const elements = vectorElements[format];
  const asColumn = tileSize === 1 ? { ...operand, tileStride: 1 } : operand;
  let access: OperandAccess = "scattered";
  if (isOperandAligned(operand, "k", elements)) access = "alongK";
  else if (operand.quantized === undefined && isOperandAligned(asColumn, "tile", elements)) access = "alongTile";
  return { format, access, native: format === "float16" && features.f16, minimums: operand.quantized?.minimums !== undefined };
}

/** The layout of an operand that a kernel reads along k only, or element by element. */
export function rowsOrScattered(layout: OperandLayout): OperandLayout {
  return layout.access === "alongTile" ? { ...layout, access: "scattered" } : layout;
}

/** A short name for pipeline variants. */
export function layoutName({ format, access, native, minimums }: OperandLayout): string {
  return `${format}${native ? "-native" : ""}${minimums ? "-minimums" : ""}-${access}`;
}

function elementType({ format, access, native }: OperandLayout): ElementType {
  if (format === "float32") return access === "scattered" ? "f32" : "vec4<f32>";
  if (format !== "float16") return "u32";
  if (native) return access === "scattered" ? "f16" : "vec4<f16>";
  return access === "scattered" ? "u32" : "vec2<u32>";
}

/** Elements between neighbours of the array that a shader sees: the unit of its offsets and strides. */
function unitOf({ format, access }: OperandLayout): number {
  return access === "scattered" ? 1 : vectorElements[format];
}

/** An operand as an array whose offset counts `unit` elements. */
export function bindOperand(operand: Operand, type: ElementType, unit: number): KernelBinding {
  return { buffer: operand.view.buffer as WebGpuBuffer, access: "read", type, offset: operand.offset / unit };
}

/** Bindings of an operand under its WGSL name; quantised ones bring `scales` and `minimums`. */
export function operandBindings(name: string, operand: Operand, layout: OperandLayout): Record<string, KernelBinding> {
  return { [name]: bindOperand(operand, elementType(layout), unitOf(layout)), ...quantizedBindings(operand.quantized) };
}

export function quantizedBindings(quantized: QuantizedView | undefined): Record<string, KernelBinding> {
  if (quantized === undefined) return {};
  const { scales, minimums } = quantized;
  return { scales: read(scales), ...(minimums && { minimums: read(minimums) }) };
}

/** Uniforms of an operand: strides in units of its array. */
export function operandUniforms(name: string, operand: Operand, layout: OperandLayout, unit: number = unitOf(layout)): Record<string, UniformValue> {
  const scaled = (stride: number): UniformValue => u32(stride / unit);
  const [outer, middle, inner] = operand.batchStrides;
  return {
    [`${name}Tiles`]: u32(operand.tileSize),
    // The stride along a vector is 1 and not used.
    [`${name}TileStride`]: layout.access === "alongTile" ? u32(0) : scaled(operand.tileStride),
    [`${name}KStride`]: layout.access === "alongK" ? u32(0) : scaled(operand.kStride),
    [`${name}Batch0`]: scaled(outer),
    [`${name}Batch1`]: scaled(middle),
    [`${name}Batch2`]: scaled(inner),
    ...quantizedUniforms(operand.quantized),
  };
}

function quantizedUniforms(quantized: QuantizedView | undefined): Record<string, UniformValue> {
  if (quantized === undefined) return {};
  const { groupSize, shape } = quantized;
  return {
    groupSize: u32(groupSize),
    // Shifting is cheaper than division; 32 = no power of two.
    groupShift: u32((groupSize & (groupSize - 1)) === 0 ? Math.log2(groupSize) : 32),
    groups: u32(shape[1] / groupSize),
  };
}

/**
 * WGSL that finds the operands' first elements: `batchStart(outer, …)`. Negative strides are two's complement: places are sums modulo
 * 2^32.
 */
export const batchSource = `fn batchStart(batch: u32, offset: u32, stride0: u32, stride1: u32, stride2: u32) -> u32 {
  let rest = batch / uniforms.batch2;
  return offset + (rest / uniforms.batch1) * stride0 + (rest % uniforms.batch1) * stride1 + (batch % uniforms.batch2) * stride2;
}
`;

/** The call of `batchStart` for an operand. */
export function batchStart(name: string): string {
  return `batchStart(batch, uniforms.${name}Offset, uniforms.${name}Batch0, uniforms.${name}Batch1, uniforms.${name}Batch2)`;
}

/** Uniforms of `batchSource`. */
export function batchUniforms([, middle, inner]: readonly [number, number, number]): Record<string, UniformValue> {
  return { batch1: u32(middle), batch2: u32(inner) };
}

/** `groupColumn(k)`: the group along k that element k belongs to; `scaleOf` and `minimumOf` by row and that. */
export function groupSource(minimums: boolean): string {
  const minimum = minimums ? "minimums[uniforms.minimumsOffset + row * uniforms.groups + column]" : "0.0";
  return `fn groupColumn(k: u32) -> u32 {
  if (uniforms.groupShift < 32u) { return k >> uniforms.groupShift; }
  return k / uniforms.groupSize;
}
fn scaleOf(row: u32, column: u32) -> f32 {
  return scales[uniforms.scalesOffset + row * uniforms.groups + column];
}
fn minimumOf(row: u32, column: u32) -> f32 {
  return ${minimum};
}
`;
}

/**
 * Loaders of an operand.
 *
 * `<name>AlongK(start, tile, k) -> vec4<f32>`: elements k … k + 3 of row `tile` (access alongK and scattered).
 * `<name>AlongTile(start, tile, k) -> vec4<f32>`: elements tile … tile + 3 at k (access alongTile and scattered).
 * `k` and `tile` are multiples of 4 along a vector. Rows past the last give the last one's; what lies past the end of k is undefined.
 */
export function operandSource(name: string, layout: OperandLayout): string {
  const { format, access, native } = layout;
  const clamped = (tile: string): string => `min(${tile}, uniforms.${name}Tiles - 1u)`;
  const parts: string[] = [];
  const vector = (index: string): string => {
    if (format === "float32") return `${name}[${index}]`;
    if (native) return `vec4<f32>(${name}[${index}])`;
    return `unpackHalves(${name}[${index}])`;
  };
  if (format === "float16" && !native) {
    parts.push(mathSource(["float16BitsToFloat32"]));
    if (access !== "scattered") {
      parts.push(`fn unpackHalves(words: vec2<u32>) -> vec4<f32> {
  return vec4<f32>(float16BitsToFloat32(words.x), float16BitsToFloat32(words.x >> 16u),
                   float16BitsToFloat32(words.y), float16BitsToFloat32(words.y >> 16u));
}
`);
    }
  }
  const isQuantized = format === "int8" || format === "uint4";
  if (isQuantized) parts.push(groupSource(layout.minimums));
  if (access === "alongTile") {
    parts.push(`fn ${name}AlongTile(start: u32, tile: u32, k: u32) -> vec4<f32> {
  return ${vector(`start + ${clamped("tile")} / 4u + k * uniforms.${name}KStride`)};
}
`);
  } else if (access === "alongK" && !isQuantized) {
    parts.push(`fn ${name}AlongK(start: u32, tile: u32, k: u32) -> vec4<f32> {
  return ${vector(`start + ${clamped("tile")} * uniforms.${name}TileStride + k / 4u`)};
}
`);
  } else if (access === "alongK") {
    const index = `start + row * uniforms.${name}TileStride + k / ${vectorElements[format]}u`;
    const quants =
      format === "int8"
        ? `vec4<f32>((vec4<i32>(bitcast<i32>(${name}[${index}])) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u))`
        : `vec4<f32>((vec4<u32>(${name}[${index}] >> ((k & 4u) * 4u)) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u))`;
    parts.push(`fn ${name}OfGroup(start: u32, tile: u32, k: u32, column: u32) -> vec4<f32> {
  let row = ${clamped("tile")};
  return scaleOf(row, column) * ${quants} + minimumOf(row, column);
}
fn ${name}AlongK(start: u32, tile: u32, k: u32) -> vec4<f32> {
  return ${name}OfGroup(start, tile, k, groupColumn(k));
}
`);
  } else {
    parts.push(scatteredSource(name, layout));
  }
  return parts.join("");
}

function scatteredSource(name: string, { format, native }: OperandLayout): string {
  const element = {
    float32: `${name}[place]`,
    float16: native ? `f32(${name}[place])` : `float16BitsToFloat32(${name}[place / 2u] >> ((place & 1u) * 16u))`,
    int8: `scaleOf(row, column) * f32(bitcast<i32>(${name}[place / 4u] << (24u - (place & 3u) * 8u)) >> 24u) + minimumOf(row, column)`,
    uint4: `scaleOf(row, column) * f32((${name}[place / 8u] >> ((place & 7u) * 4u)) & 15u) + minimumOf(row, column)`,
  }[format];
  const group = format === "int8" || format === "uint4" ? "\n  let column = groupColumn(k);" : "";
  const elements = (along: "tile" | "k"): string =>
    [0, 1, 2, 3].map((i) => `${name}Element(start, tile${along === "tile" ? ` + ${i}u` : ""}, k${along === "k" ? ` + ${i}u` : ""})`).join(", ");
  return `fn ${name}Element(start: u32, tile: u32, k: u32) -> f32 {
  let row = min(tile, uniforms.${name}Tiles - 1u);
  let place = start + row * uniforms.${name}TileStride + k * uniforms.${name}KStride;${group}
  return ${element};
}
fn ${name}AlongK(start: u32, tile: u32, k: u32) -> vec4<f32> {
  return vec4<f32>(${elements("k")});
}
fn ${name}AlongTile(start: u32, tile: u32, k: u32) -> vec4<f32> {
  return vec4<f32>(${elements("tile")});
}
`;
}

/**
 * `<name>Block(start, tile, k, kEnd) -> mat4x4<f32>`: the block of 4 × 4 from (tile, k), column c holding the tile's elements at k + c;
 * zeros from kEnd on.
 */
export function blockSource(name: string, { access, format }: OperandLayout): string {
  const rows = [0, 1, 2, 3];
  // The group is found once for all rows.
  const byGroup = access === "alongK" && (format === "int8" || format === "uint4");
  const row = (i: number): string => (byGroup ? `${name}OfGroup(start, tile + ${i}u, k, column)` : `${name}AlongK(start, tile + ${i}u, k)`);
  const body =
    access === "alongTile"
      ? `  return mat4x4<f32>(
    ${rows.map((i) => `select(vec4<f32>(), ${name}AlongTile(start, tile, k + ${i}u), k + ${i}u < kEnd)`).join(",\n    ")});`
      : `  let valid = vec4<u32>(k, k + 1u, k + 2u, k + 3u) < vec4<u32>(kEnd);${byGroup ? "\n  let column = groupColumn(k);" : ""}
  return transpose(mat4x4<f32>(
    ${rows.map((i) => `select(vec4<f32>(), ${row(i)}, valid)`).join(",\n    ")}));`;
  return `fn ${name}Block(start: u32, tile: u32, k: u32, kEnd: u32) -> mat4x4<f32> {
${body}
}
`;
}

/** Extensions that the operands' arrays need. */
export function operandEnables(...layouts: readonly OperandLayout[]): readonly "f16"[] {
  return layouts.some(({ native }) => native) ? ["f16"] : [];
}
