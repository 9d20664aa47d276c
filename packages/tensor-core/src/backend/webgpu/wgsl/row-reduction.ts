/**
 * Rows shared out among invocations, for kernels that reduce each row of a contiguous [rows, columns] tensor. A workgroup of 256 takes one
 * long row, or several short ones; a few very long rows are cut into chunks of a workgroup each.
 */
import type { TensorView } from "../../backend.ts";
import { entryPoint, isAligned, u32, workgroupGrid, type ElementType, type KernelLaunch, type UniformValue } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";

const workgroupSize = 256;

/** Workgroups that keep a large GPU busy: two or so on each of its multiprocessors. */
const busyWorkgroups = 256;

/** Fewest values (vectors) of a chunk: two for each invocation. */
const smallestChunk = 2 * workgroupSize;

/** Invocations that share a row. */
export type RowLanes = 8 | 32 | 256;

/** How a tensor of rows is spread over invocations. */
export interface RowLayout {
  readonly rows: number;
  readonly lanes: RowLanes;
  /** Elements that an invocation reads at once. */
  readonly width: 1 | 4;
  /** WGSL type of those. */
  readonly type: Extract<ElementType, "f32" | "vec4<f32>">;
  /** Pieces of a row; 1 where a workgroup or a part of it has the row to itself. */
  readonly chunks: number;
  /** What shaders with this layout depend on. */
  readonly variant: string;
  readonly uniforms: Readonly<Record<string, UniformValue>>;
  readonly workgroups: KernelLaunch["workgroups"];
}

/** Fewest chunks for which a second launch, to combine them, is paid back. */
export const fewestWorthwhileChunks = 8;

/**
 * A layout for rows whose views, and vectors as long as a row, are all of `views`. Rows are cut into chunks where at least `fewestChunks`
 * come of it; by default each row stays with its lanes.
 */
export function rowLayout(
  rows: number,
  columns: number,
  views: readonly (TensorView | undefined)[],
  { fewestChunks = Infinity }: { readonly fewestChunks?: number } = {},
): RowLayout {
  const width = columns % 4 === 0 && views.every((view) => view === undefined || isAligned(view, 4)) ? 4 : 1;
  const vectors = columns / width;
  // Lanes that walk far cost little when there are many rows, and latency when there are few.
  const lanes = vectors <= 16 ? 8 : vectors <= (rows >= 1024 ? 256 : 64) ? 32 : 256;
  const wanted = lanes === 256 ? Math.min(Math.ceil(busyWorkgroups / rows), Math.floor(vectors / smallestChunk)) : 1;
  const chunkSize = Math.ceil(vectors / (wanted >= fewestChunks ? wanted : 1));
  const chunks = Math.max(Math.ceil(vectors / Math.max(chunkSize, 1)), 1);
  return {
    rows,
    lanes,
    width,
    type: width === 4 ? "vec4<f32>" : "f32",
    chunks,
    variant: `${lanes}x${width}`,
    uniforms: { rows: u32(rows), columns: u32(columns), rowVectors: u32(vectors), chunks: u32(chunks), chunkVectors: u32(chunkSize) },
    workgroups: workgroupGrid(Math.ceil((rows * chunks * lanes) / workgroupSize)),
  };
}

/** The layout with whole rows for the same lanes. */
export function withoutChunks(layout: RowLayout): RowLayout {
  const { rows, lanes, uniforms } = layout;
  return {
    ...layout,
    chunks: 1,
    uniforms: { ...uniforms, chunks: u32(1), chunkVectors: uniforms["rowVectors"]! },
    workgroups: workgroupGrid(Math.ceil((rows * lanes) / workgroupSize)),
  };
}

/** Declarations for shaders over `layout`: the type `Value` of `width` elements, `Bits` of the same size, and folds of a value. */
export function rowDeclarations({ width }: Pick<RowLayout, "width">): string {
  return width === 1
    ? `alias Value = f32;
alias Bits = u32;
fn sumOf(value: Value) -> f32 { return value; }
fn maximumOf(value: Value) -> f32 { return value; }`
    : `alias Value = vec4<f32>;
alias Bits = vec4<u32>;
fn sumOf(value: Value) -> f32 { return (value.x + value.y) + (value.z + value.w); }
fn maximumOf(value: Value) -> f32 { return max(max(value.x, value.y), max(value.z, value.w)); }`;
}

/**
 * Entry point with, beyond the names of `entryPoint`: `segment` (a row, or a chunk of one), `row`, `isRow` (false in padding, where the
 * rest speaks of the last row), `rowLane` (invocation within the row), `rowStart` (first value of the row) and the loop bounds `first` and
 * `end` (values of this invocation, `step` apart, counted within the row; none in padding). Barriers may stand outside such loops. The
 * runtime is needed where the body calls reductions.
 */
export function rowEntryPoint(runtime: WebGpuRuntime | undefined, layout: Pick<RowLayout, "lanes">, body: string): string {
  return entryPoint(workgroupSize, rowNames(layout, "workgroup") + body, subgroupParameter(runtime));
}

/**
 * As `rowEntryPoint`, for workgroups that take several blocks of rows (`rowsPerWorkgroup` each, whole rows) one after the other and keep
 * something in between: `before` and `after` stand around the loop. The uniforms `blocks` and `workgroups` count both.
 */
export function rowLoopEntryPoint(
  runtime: WebGpuRuntime,
  layout: Pick<RowLayout, "lanes">,
  { before, body, after }: { readonly before: string; readonly body: string; readonly after: string },
): string {
  const loop = `  for (var block = workgroup; block < uniforms.blocks; block += uniforms.workgroups) {
${rowNames(layout, "block")}${body}
  }
`;
  return entryPoint(workgroupSize, before + loop + after, subgroupParameter(runtime));
}

/** Rows that a workgroup takes at once. */
export function rowsPerWorkgroup({ lanes }: Pick<RowLayout, "lanes">): number {
  return workgroupSize / lanes;
}

function subgroupParameter(runtime: WebGpuRuntime | undefined): string {
  return runtime?.features.subgroups ? ", @builtin(subgroup_size) subgroupSize: u32" : "";
}

function rowNames({ lanes }: Pick<RowLayout, "lanes">, block: string): string {
  return `  const step = ${lanes}u;
  let segment = ${lanes === workgroupSize ? block : `${block} * ${workgroupSize / lanes}u + lane / ${lanes}u`};
  let isRow = segment < uniforms.rows * uniforms.chunks;
  let row = min(segment / uniforms.chunks, uniforms.rows - 1u);
  let rowLane = lane % ${lanes}u;
  let rowStart = row * uniforms.rowVectors;
  let chunkStart = (segment % uniforms.chunks) * uniforms.chunkVectors;
  let first = chunkStart + rowLane;
  let end = select(0u, min(chunkStart + uniforms.chunkVectors, uniforms.rowVectors), isRow);
`;
}

/** The extensions that `rowReduction` uses. */
export function rowExtensions(runtime: WebGpuRuntime): { readonly enables?: readonly ["subgroups"] } {
  return runtime.features.subgroups ? { enables: ["subgroups"] } : {};
}

/** A WGSL function that folds one value of each lane of a row. */
export interface RowReduction {
  /** Name of the function; call it by `callReduction`, outside of branches. */
  readonly name: string;
  /** Type of the values: a scalar or vector of f32. */
  readonly type: "f32" | "vec2<f32>" | "vec4<f32>";
  /** Expression that combines `a` and `b`, associative and commutative up to rounding. */
  readonly combine: string;
}

/** A call of a reduction in the body of `rowEntryPoint`: the fold over all lanes of the row, in every one of them. */
export function callReduction(runtime: WebGpuRuntime, name: string, value: string): string {
  return `${name}(${value}, lane${runtime.features.subgroups ? ", subgroupSize" : ""})`;
}

/**
 * The function of a reduction. Two steps through workgroup memory (16 values each at most) need two barriers where a binary tree has eight.
 * With subgroups, lanes exchange values first, and rows no longer than a subgroup need no barrier. The order of combining depends on the
 * layout and the subgroup size alone, so that results repeat.
 */
export function rowReduction(runtime: WebGpuRuntime, { lanes }: Pick<RowLayout, "lanes">, { name, type, combine }: RowReduction): string {
  const memory = `${name}Values`;
  const functions = `fn ${name}Pair(a: ${type}, b: ${type}) -> ${type} {
  return ${combine};
}`;
  if (runtime.features.subgroups) {
    // Lanes of a subgroup are taken to be neighbours in the workgroup, in order: so on every adapter for workgroups of one dimension.
    return `var<workgroup> ${memory}: array<${type}, ${workgroupSize}>;
${functions}
fn ${name}(value: ${type}, lane: u32, subgroupSize: u32) -> ${type} {
  var result = value;
  let width = min(subgroupSize, ${lanes}u);
  for (var distance = 1u; distance < width; distance *= 2u) {
    result = ${name}Pair(result, subgroupShuffleXor(result, distance));
  }
  if (subgroupSize < ${lanes}u) {
    let parts = ${lanes}u / subgroupSize;
    let start = lane / ${lanes}u * parts;
    workgroupBarrier();
    if (lane % subgroupSize == 0u) {
      ${memory}[lane / subgroupSize] = result;
    }
    workgroupBarrier();
    result = ${memory}[start];
    for (var i = 1u; i < parts; i++) {
      result = ${name}Pair(result, ${memory}[start + i]);
    }
  }
  return result;
}`;
  }
  // lanes = parts * strides: first `parts` lanes fold `strides` values each, then every lane folds the `parts` results.
  const parts = lanes === 256 ? 16 : 8;
  const strides = lanes / parts;
  const firstFold =
    strides === 1
      ? ""
      : `  let rowLane = lane - start;
  if (rowLane < ${parts}u) {
    var part = ${memory}[lane];
    for (var i = 1u; i < ${strides}u; i++) {
      part = ${name}Pair(part, ${memory}[lane + ${parts}u * i]);
    }
    ${memory}[lane] = part;
  }
  workgroupBarrier();
`;
  return `var<workgroup> ${memory}: array<${type}, ${workgroupSize}>;
${functions}
fn ${name}(value: ${type}, lane: u32) -> ${type} {
  let start = lane / ${lanes}u * ${lanes}u;
  workgroupBarrier();
  ${memory}[lane] = value;
  workgroupBarrier();
${firstFold}  var result = ${memory}[start];
  for (var i = 1u; i < ${parts}u; i++) {
    result = ${name}Pair(result, ${memory}[start + i]);
  }
  return result;
}`;
}
