import type { Kernels, TensorView } from "../../../backend.ts";
import { entryPoint, read, u32, workgroupGrid, write } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { powerOfTwo } from "./reduction-plan.ts";

const workgroupSize = 256;

/** Neighbours along the axis that an invocation adds up by itself, where the axis is the last. */
const laneElements = 8;

/** Longest piece of a last axis that one workgroup scans. */
const rowChunk = workgroupSize * laneElements;

/** Invocations that keep a large GPU busy, and the shortest pieces worth splitting another axis into. */
const busyInvocations = 65_536;
const shortestColumnChunk = 64;

/** A scan of the middle axis of [outer, size, inner] in pieces of `chunk`. */
interface Scan {
  readonly operation: "sum" | "product";
  readonly input: TensorView;
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
  readonly chunk: number;
  readonly chunks: number;
  readonly reverse: boolean;
}

/** What a launch stores: the total of each piece, or running totals, starting from `carry`, the running totals of whole pieces. */
type Stage = { readonly totals: TensorView } | { readonly output: TensorView; readonly carry: TensorView | undefined };

/**
 * Running totals. A long axis goes in pieces: their totals [outer, pieces, inner] are computed first and scanned in turn, then each piece
 * starts from the total before it.
 */
export function cumulativeKernels(runtime: WebGpuRuntime): Pick<Kernels, "cumulative"> {
  function cumulative({ operation, input, output, outer, size, inner, reverse }: Parameters<Kernels["cumulative"]>[0]): void {
    if (outer * size * inner === 0) return;
    const chunk = inner === 1 ? rowChunk : columnChunk(outer * inner, size);
    const chunks = Math.ceil(size / chunk);
    const scan = { operation, input, outer, size, inner, chunk, chunks, reverse };
    if (chunks === 1) {
      launchScan(runtime, scan, { output, carry: undefined });
      return;
    }
    const dtype = input.dtype;
    const totals = runtime.temporary(dtype, [outer, chunks, inner]);
    const carry = runtime.temporary(dtype, [outer, chunks, inner]);
    launchScan(runtime, scan, { totals });
    // Pieces are numbered in the order they are scanned, so the scan of their totals runs forwards.
    cumulative({ operation, input: totals, output: carry, outer, size: chunks, inner, reverse: false });
    launchScan(runtime, scan, { output, carry });
    runtime.release(totals, carry);
  }
  return { cumulative };
}

function columnChunk(columns: number, size: number): number {
  const wanted = Math.min(Math.ceil(busyInvocations / columns), Math.floor(size / shortestColumnChunk));
  return Math.ceil(size / Math.max(wanted, 1));
}

function launchScan(runtime: WebGpuRuntime, scan: Scan, stage: Stage): void {
  const { operation, input, outer, size, inner, chunk, chunks, reverse } = scan;
  const type = input.dtype === "int32" ? "i32" : "f32";
  const isRow = inner === 1;
  const hasCarry = "carry" in stage && stage.carry !== undefined;
  // Short rows share a workgroup.
  const lanes = Math.min(powerOfTwo(Math.min(size, chunk) / laneElements), workgroupSize);
  const pieces = outer * chunks;
  runtime.launch({
    name: `cumulative ${operation} ${type}`,
    variant: `${isRow ? "rows" : "columns"} ${"totals" in stage ? "totals" : hasCarry ? "carried" : "whole"}`,
    bindings: {
      input: read(input),
      ...("totals" in stage ? { totals: write(stage.totals) } : { output: write(stage.output) }),
      ...(hasCarry && { carry: read(stage.carry!) }),
    },
    uniforms: {
      size: u32(size),
      chunk: u32(chunk),
      chunks: u32(chunks),
      reverse: u32(reverse ? 1 : 0),
      ...(isRow ? { pieces: u32(pieces), laneShift: u32(Math.log2(lanes)) } : { inner: u32(inner), count: u32(pieces * inner) }),
    },
    workgroups: workgroupGrid(Math.ceil(isRow ? (pieces * lanes) / workgroupSize : (pieces * inner) / workgroupSize)),
    code: () => {
      const [identity, symbol] = operation === "sum" ? ["0", "+"] : ["1", "*"];
      const common = `alias Value = ${type};
const identity = Value(${identity});
fn combine(a: Value, b: Value) -> Value { return a ${symbol} b; }
fn along(step: u32) -> u32 { return select(step, uniforms.size - 1u - step, uniforms.reverse != 0u); }
`;
      return common + (isRow ? rowCode("totals" in stage, hasCarry) : columnCode("totals" in stage, hasCarry));
    },
  });
}

/**
 * Each invocation adds up `laneElements` neighbours; the totals of the lanes of a piece are scanned. Elements pass through workgroup
 * memory, so that device memory is read and written in order; one word in nine is left out there, so that lanes hit different banks.
 */
function rowCode(totalsOnly: boolean, hasCarry: boolean): string {
  const carry = hasCarry
    ? "  if (piece < uniforms.pieces && part > 0u) { running = combine(carry[uniforms.carryOffset + piece - 1u], running); }"
    : "";
  const store = totalsOnly
    ? "  if (piece < uniforms.pieces && place + 1u == lanes) { totals[uniforms.totalsOffset + piece] = sum; }"
    : `  var running = identity;
  if (place > 0u) { running = sums[half + lane - 1u]; }
${carry}
  for (var i = 0u; i < ${laneElements}u; i++) {
    running = combine(running, tile[padded(lane * ${laneElements}u + i)]);
    tile[padded(lane * ${laneElements}u + i)] = running;
  }
  workgroupBarrier();
  for (var slot = lane; slot < ${rowChunk}u; slot += ${workgroupSize}u) {
    let element = elementOf(workgroup, slot);
    if (element != nowhere) { output[uniforms.outputOffset + element] = tile[padded(slot)]; }
  }`;
  return `var<workgroup> tile: array<Value, ${rowChunk + workgroupSize}>;
var<workgroup> sums: array<Value, ${2 * workgroupSize}>;
const nowhere = 0xffffffffu;
fn padded(slot: u32) -> u32 { return slot + slot / ${laneElements}u; }
// The element that a slot of a workgroup's tile stands for.
fn elementOf(workgroup: u32, slot: u32) -> u32 {
  let shift = uniforms.laneShift + ${Math.log2(laneElements)}u;
  let piece = ((workgroup * ${rowChunk}u) >> shift) + (slot >> shift);
  let part = piece % uniforms.chunks;
  let step = part * uniforms.chunk + (slot & ((1u << shift) - 1u));
  let inside = piece < uniforms.pieces && step < min((part + 1u) * uniforms.chunk, uniforms.size);
  return select(nowhere, piece / uniforms.chunks * uniforms.size + along(step), inside);
}
${entryPoint(
  workgroupSize,
  `  let lanes = 1u << uniforms.laneShift;
  let piece = index >> uniforms.laneShift;
  let part = piece % uniforms.chunks;
  let place = lane & (lanes - 1u);
  for (var slot = lane; slot < ${rowChunk}u; slot += ${workgroupSize}u) {
    let element = elementOf(workgroup, slot);
    var value = identity;
    if (element != nowhere) { value = input[uniforms.inputOffset + element]; }
    tile[padded(slot)] = value;
  }
  workgroupBarrier();
  var sum = identity;
  for (var i = 0u; i < ${laneElements}u; i++) { sum = combine(sum, tile[padded(lane * ${laneElements}u + i)]); }
  sums[lane] = sum;
  workgroupBarrier();
  // Steps write to the half that the step before has left, so that one barrier each is enough.
  var half = 0u;
  for (var distance = 1u; distance < lanes; distance *= 2u) {
    if (place >= distance) { sum = combine(sums[half + lane - distance], sum); }
    half = ${workgroupSize}u - half;
    sums[half + lane] = sum;
    workgroupBarrier();
  }
${store}`,
)}`;
}

/** One invocation walks one column of a piece; neighbours walk neighbouring columns. */
function columnCode(totalsOnly: boolean, hasCarry: boolean): string {
  const carry = hasCarry ? "  if (part > 0u) { running = carry[uniforms.carryOffset + index - uniforms.inner]; }" : "";
  const storeEach = totalsOnly ? "" : "\n    output[uniforms.outputOffset + place] = running;";
  const storeTotal = totalsOnly ? "\n  totals[uniforms.totalsOffset + index] = running;" : "";
  return entryPoint(
    workgroupSize,
    `  if (index >= uniforms.count) { return; }
  let column = index % uniforms.inner;
  let piece = index / uniforms.inner;
  let part = piece % uniforms.chunks;
  let block = piece / uniforms.chunks * uniforms.size;
  let end = min((part + 1u) * uniforms.chunk, uniforms.size);
  var running = identity;
${carry}
  for (var step = part * uniforms.chunk; step < end; step++) {
    let place = (block + along(step)) * uniforms.inner + column;
    running = combine(running, input[uniforms.inputOffset + place]);${storeEach}
  }${storeTotal}`,
  );
}
