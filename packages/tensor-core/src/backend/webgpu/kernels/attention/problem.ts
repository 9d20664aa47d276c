import { sizeOf } from "../../../../tensor/shape.ts";
import type { KernelArguments, TensorView } from "../../../backend.ts";
import { f32, i32, isAligned, read, u32, write, type KernelBinding, type UniformValue } from "../../program.ts";

/** What forward and backward have in common. */
export type AttentionInputs = Pick<KernelArguments["attention"], "query" | "key" | "value" | "mask" | "scale" | "causal" | "queryOffset">;

/**
 * Sizes of an attention. The query heads that read one key head are packed: "row" r of a key head is query floor(r / group) of its head
 * r % group, so that the heads share what is loaded of keys and values, and neighbouring rows see about the same keys.
 */
export interface AttentionSizes {
  readonly batch: number;
  readonly heads: number;
  readonly keyHeads: number;
  /** Query heads of a key head. */
  readonly group: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
  /** Rows of a key head: group * queries. */
  readonly rows: number;
  /** Key heads of all batches. */
  readonly pairs: number;
}

export function sizesOf({ query, key }: AttentionInputs): AttentionSizes {
  const [batch, heads, queries, headDim] = query.shape as [number, number, number, number];
  const [, keyHeads, keys] = key.shape as [number, number, number];
  const group = keyHeads === 0 ? 0 : heads / keyHeads;
  return { batch, heads, keyHeads, group, queries, keys, headDim, rows: group * queries, pairs: batch * keyHeads };
}

/**
 * What a launch does at the least: `products` of queries and keys (two in the forward), and the reading and writing of tensors as
 * large as all queries (`queryTensors`) or all keys (`keyTensors`). A causal mask may spare half of it.
 */
export function workOf(
  { pairs, rows, keys, headDim }: AttentionSizes,
  { products, queryTensors, keyTensors }: { readonly products: number; readonly queryTensors: number; readonly keyTensors: number },
): { readonly bytes: number; readonly operations: number } {
  return {
    bytes: 4 * pairs * headDim * (queryTensors * rows + keyTensors * keys),
    operations: 2 * products * pairs * rows * keys * headDim,
  };
}

/** Whether rows of all views can be read and written four values at a time. */
export function areRowsVectors(views: readonly TensorView[]): boolean {
  return views.every(
    (view) =>
      isAligned(view, 4) && view.shape[3]! % 4 === 0 && [0, 1, 2].every((axis) => view.shape[axis]! <= 1 || view.strides[axis]! % 4 === 0),
  );
}

/** Tensors [batch, heads, length, headDim] of a launch, all bound as vectors or all as scalars: they may share one buffer. */
export class RowTensors {
  readonly vectors: boolean;
  readonly #views: Readonly<Record<string, { readonly view: TensorView; readonly access: "read" | "write" }>>;

  constructor(inputs: Readonly<Record<string, TensorView>>, outputs: Readonly<Record<string, TensorView>>) {
    this.#views = {
      ...Object.fromEntries(Object.entries(inputs).map(([name, view]) => [name, { view, access: "read" as const }])),
      ...Object.fromEntries(Object.entries(outputs).map(([name, view]) => [name, { view, access: "write" as const }])),
    };
    this.vectors = areRowsVectors(Object.values(this.#views).map(({ view }) => view));
  }

  bindings(): Record<string, KernelBinding> {
    const type = this.vectors ? "vec4<f32>" : "f32";
    return Object.fromEntries(
      Object.entries(this.#views).map(([name, { view, access }]) => [name, access === "read" ? read(view, type) : write(view, type)]),
    );
  }

  /** Strides `<name>Batch`, `<name>Head`, `<name>Row` in elements of the binding. */
  uniforms(): Record<string, UniformValue> {
    const unit = this.vectors ? 4 : 1;
    const uniforms: Record<string, UniformValue> = {};
    for (const [name, { view }] of Object.entries(this.#views)) {
      ["Batch", "Head", "Row"].forEach((axisName, axis) => {
        uniforms[`${name}${axisName}`] = i32(view.shape[axis]! <= 1 ? 0 : view.strides[axis]! / unit);
      });
    }
    return uniforms;
  }

  /**
   * WGSL: `<name>Base(batch, head, row)` for all. For inputs, "checked" reads are `<name>If(condition, base, column)`, with zeros where the
   * condition is false and past the end of the row; "clamped" reads are `<name>At(base, column)`, which past the end repeats the last value
   * and takes no branch. For outputs `<name>Store(base, column, values)`. Columns count four values.
   */
  code(reads: "checked" | "clamped"): string {
    const load = reads === "checked" ? checkedLoad : clampedLoad;
    return Object.entries(this.#views)
      .map(([name, { access }]) => baseCode(name) + (access === "read" ? load : storeCode)(name, this.vectors))
      .join("\n");
  }
}

function baseCode(name: string): string {
  return `fn ${name}Base(batchIndex: u32, headIndex: u32, rowIndex: u32) -> u32 {
  return u32(i32(uniforms.${name}Offset) + i32(batchIndex) * uniforms.${name}Batch + i32(headIndex) * uniforms.${name}Head +
    i32(rowIndex) * uniforms.${name}Row);
}
`;
}

function checkedLoad(name: string, vectors: boolean): string {
  if (vectors) {
    return `fn ${name}If(condition: bool, base: u32, column: u32) -> vec4<f32> {
  if (!condition || column >= uniforms.columns) { return vec4<f32>(); }
  return ${name}[base + column];
}`;
  }
  return `fn ${name}If(condition: bool, base: u32, column: u32) -> vec4<f32> {
  let first = 4u * column;
  let end = select(0u, uniforms.headDim, condition);
  var values = vec4<f32>();
  if (first < end) { values.x = ${name}[base + first]; }
  if (first + 1u < end) { values.y = ${name}[base + first + 1u]; }
  if (first + 2u < end) { values.z = ${name}[base + first + 2u]; }
  if (first + 3u < end) { values.w = ${name}[base + first + 3u]; }
  return values;
}`;
}

function clampedLoad(name: string, vectors: boolean): string {
  if (vectors) {
    return `fn ${name}At(base: u32, column: u32) -> vec4<f32> {
  return ${name}[base + min(column, uniforms.columns - 1u)];
}`;
  }
  return `fn ${name}At(base: u32, column: u32) -> vec4<f32> {
  let places = base + min(vec4<u32>(4u * column) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(uniforms.headDim - 1u));
  return vec4<f32>(${name}[places.x], ${name}[places.y], ${name}[places.z], ${name}[places.w]);
}`;
}

function storeCode(name: string, vectors: boolean): string {
  if (vectors) {
    return `fn ${name}Store(base: u32, column: u32, values: vec4<f32>) {
  if (column < uniforms.columns) { ${name}[base + column] = values; }
}`;
  }
  return `fn ${name}Store(base: u32, column: u32, values: vec4<f32>) {
  let first = 4u * column;
  if (first < uniforms.headDim) { ${name}[base + first] = values.x; }
  if (first + 1u < uniforms.headDim) { ${name}[base + first + 1u] = values.y; }
  if (first + 2u < uniforms.headDim) { ${name}[base + first + 2u] = values.z; }
  if (first + 3u < uniforms.headDim) { ${name}[base + first + 3u] = values.w; }
}`;
}

/** More keys than there are; the sum with a query's index stays an i32. */
const beyondAllKeys = 2 ** 30;

/** The numbers that every attention shader has. */
export function sizeUniforms(inputs: AttentionInputs, sizes: AttentionSizes): Record<string, UniformValue> {
  const { keyHeads, group, queries, keys, headDim, rows } = sizes;
  const visible = inputs.causal ? Math.max(-beyondAllKeys, Math.min(inputs.queryOffset + 1, beyondAllKeys)) : beyondAllKeys;
  return {
    keyHeads: u32(keyHeads),
    group: u32(Math.max(group, 1)),
    queries: u32(queries),
    keys: u32(keys),
    rows: u32(rows),
    headDim: u32(headDim),
    columns: u32(Math.ceil(headDim / 4)),
    scale: f32(inputs.scale),
    /** Query i sees keys j < i + visible. */
    visible: i32(visible),
    minusInfinity: u32(0xff800000),
  };
}

/** The mask and its strides. Without one, `masked` is 0 and the binding anything that can be read: one shader serves both. */
export function maskArguments({ mask, key }: AttentionInputs): {
  readonly bindings: Record<string, KernelBinding>;
  readonly uniforms: Record<string, UniformValue>;
} {
  const masked = mask !== undefined && sizeOf(mask.shape) > 0;
  const strideOf = (axis: number): UniformValue => i32(masked ? mask.strides[axis]! : 0);
  return {
    bindings: { mask: read(masked ? mask : key, "f32") },
    uniforms: { masked: u32(masked ? 1 : 0), maskBatch: strideOf(0), maskHead: strideOf(1), maskRow: strideOf(2), maskKey: strideOf(3) },
  };
}

/**
 * WGSL shared by all attention shaders. Infinity takes part in no arithmetic: a hidden score is the lowest finite float, and its weight is
 * set to 0 apart.
 */
export const commonCode = `const lowest = -0x1.fffffep+127f;
fn visibleKeys(queryIndex: u32) -> u32 {
  return u32(clamp(i32(queryIndex) + uniforms.visible, 0, i32(uniforms.keys)));
}
// e^x of a score less a maximum; comparing (not max) lets NaN through.
fn weightsOf(x: vec4<f32>) -> vec4<f32> {
  return exp(select(x, vec4<f32>(-200.0), x < vec4<f32>(-200.0)));
}
fn weightOf(x: f32) -> f32 {
  return exp(select(x, -200.0, x < -200.0));
}
fn sumOf(x: vec4<f32>) -> f32 {
  return (x.x + x.y) + (x.z + x.w);
}
fn maximumOf(x: vec4<f32>) -> f32 {
  return max(max(x.x, x.y), max(x.z, x.w));
}
fn logSumExpOf(maximum: f32, total: f32) -> f32 {
  return select(maximum + log(total), bitcast<f32>(uniforms.minusInfinity), total == 0.0);
}
fn isMinusInfinity(x: f32) -> bool {
  return bitcast<u32>(x) == uniforms.minusInfinity;
}`;

/** WGSL of reading the mask. */
export const maskCode = `fn maskBase(batchIndex: u32, headIndex: u32, queryIndex: u32) -> i32 {
  return i32(uniforms.maskOffset) + i32(batchIndex) * uniforms.maskBatch + i32(headIndex) * uniforms.maskHead +
    i32(queryIndex) * uniforms.maskRow;
}
fn maskAt(base: i32, keyIndex: u32) -> f32 {
  return mask[u32(base + i32(keyIndex) * uniforms.maskKey)];
}
fn areHidden(added: vec4<f32>) -> vec4<bool> {
  return bitcast<vec4<u32>>(added) == vec4<u32>(uniforms.minusInfinity);
}`;

/** Scales score0 and score1 of two query rows and four keys, adds the mask, and makes hidden0 and hidden1. */
export const maskedScores = `    score0 *= uniforms.scale;
    score1 *= uniforms.scale;
    var hidden0 = keyIndex >= vec4<u32>(visible0);
    var hidden1 = keyIndex >= vec4<u32>(visible1);
    if (uniforms.masked != 0u) {
      let places = min(keyIndex, vec4<u32>(uniforms.keys - 1u));
      let base0 = maskBase(batchIndex, head0, query0);
      let added0 = vec4<f32>(maskAt(base0, places.x), maskAt(base0, places.y), maskAt(base0, places.z), maskAt(base0, places.w));
      score0 += added0;
      hidden0 = hidden0 | areHidden(added0);
      let base1 = maskBase(batchIndex, head1, query1);
      let added1 = vec4<f32>(maskAt(base1, places.x), maskAt(base1, places.y), maskAt(base1, places.z), maskAt(base1, places.w));
      score1 += added1;
      hidden1 = hidden1 | areHidden(added1);
    }`;
