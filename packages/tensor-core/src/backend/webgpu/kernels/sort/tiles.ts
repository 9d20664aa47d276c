import type { TensorView } from "../../../backend.ts";
import { entryPoint, read, u32, workgroupGrid, write } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { powerOfTwo } from "../reduce/reduction-plan.ts";
import { keySource, keyUniforms, pairOrder, storeResult } from "./order.ts";

const workgroupSize = 256;

/** Pairs of a key and an index that the 16 KiB of workgroup memory of every adapter hold. */
export const tileColumns = 2048;

/** Workgroups that keep a large GPU busy; short rows share one beyond that. */
const busyWorkgroups = 128;

/** Rows to sort. */
export interface SortTask {
  /** float32 or int32, contiguous [rows, columns]. */
  readonly input: TensorView;
  /** Results, contiguous [rows, kept]. */
  readonly values: TensorView;
  readonly indices: TensorView;
  readonly rows: number;
  readonly columns: number;
  readonly kept: number;
  readonly descending: boolean;
}

/**
 * Sorts each tile of each row in workgroup memory (bitonic network). Without `source` the tiles are of the input; else of pairs [rows,
 * columns]. The first `kept` pairs of each tile go to `target`, side by side; without it, tiles are whole rows and their first go to the
 * results.
 */
export function sortTiles(
  runtime: WebGpuRuntime,
  task: SortTask,
  source: TensorView | undefined,
  columns: number,
  target: TensorView | undefined,
  kept: number,
): void {
  const { input, values, indices, rows, descending } = task;
  const span = Math.min(powerOfTwo(columns), tileColumns);
  const tiles = rows * Math.ceil(columns / span);
  const tilesTogether = Math.max(Math.min(Math.floor(tiles / busyWorkgroups), tileColumns / span), 1);
  runtime.launch({
    name: "sortTiles",
    variant: `${source ? "pairs" : "input"} ${target ? "pairs" : "results"}`,
    bindings: {
      ...((!source || !target) && { input: read(input, "u32") }),
      ...(source && { source: read(source, "vec2<u32>") }),
      ...(target ? { sorted: write(target, "vec2<u32>") } : { values: write(values, "u32"), indices: write(indices, "i32") }),
    },
    uniforms: {
      ...keyUniforms(input.dtype, descending),
      rows: u32(rows),
      columns: u32(task.columns),
      sourceColumns: u32(columns),
      kept: u32(target ? kept : task.kept),
      span: u32(span),
      tilesTogether: u32(tilesTogether),
      tilesOfRow: u32(Math.ceil(columns / span)),
      targetColumns: u32(target ? target.shape[1]! : task.kept),
    },
    workgroups: workgroupGrid(Math.ceil(tiles / tilesTogether)),
    code: () => `${pairOrder}
${source ? "" : keySource}
${target ? "" : storeResult}
var<workgroup> tile: array<vec2<u32>, ${tileColumns}>;
${entryPoint(workgroupSize, tileBody(source !== undefined, target !== undefined))}`,
  });
}

function tileBody(fromPairs: boolean, toPairs: boolean): string {
  const load = fromPairs
    ? "pair = source[uniforms.sourceOffset + row * uniforms.sourceColumns + column];"
    : "pair = vec2<u32>(keyOf(input[uniforms.inputOffset + row * uniforms.columns + column]), column);";
  const store = toPairs
    ? `let place = part * uniforms.kept + slot % span;
      if (place < uniforms.targetColumns) { sorted[uniforms.sortedOffset + row * uniforms.targetColumns + place] = tile[slot]; }`
    : "storeResult(row, slot % span, tile[slot].y);";
  // Slots past the end of a row sort to the end of the tile: no element has their index.
  return `  let span = uniforms.span;
  let slots = span * uniforms.tilesTogether;
  for (var slot = lane; slot < slots; slot += ${workgroupSize}u) {
    let number = workgroup * uniforms.tilesTogether + slot / span;
    let row = number / uniforms.tilesOfRow;
    let column = (number % uniforms.tilesOfRow) * span + slot % span;
    var pair = vec2<u32>(0xffffffffu, 0xffffffffu);
    if (row < uniforms.rows && column < uniforms.sourceColumns) {
      ${load}
    }
    tile[slot] = pair;
  }
  for (var size = 2u; size <= span; size *= 2u) {
    for (var distance = size / 2u; distance > 0u; distance /= 2u) {
      workgroupBarrier();
      for (var i = lane; i < slots / 2u; i += ${workgroupSize}u) {
        let low = (i & ~(distance - 1u)) * 2u + (i & (distance - 1u));
        let a = tile[low];
        let b = tile[low + distance];
        let ascending = (low & (span - 1u) & size) == 0u;
        if (precedes(b, a) == ascending) {
          tile[low] = b;
          tile[low + distance] = a;
        }
      }
    }
  }
  workgroupBarrier();
  for (var slot = lane; slot < slots; slot += ${workgroupSize}u) {
    let number = workgroup * uniforms.tilesTogether + slot / span;
    let row = number / uniforms.tilesOfRow;
    let part = number % uniforms.tilesOfRow;
    if (row < uniforms.rows && slot % span < uniforms.kept) {
      ${store}
    }
  }`;
}
