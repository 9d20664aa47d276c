import type { TensorView } from "../../../backend.ts";
import { entryPoint, read, u32, workgroupGrid, write } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { pairOrder, storeResult } from "./order.ts";
import type { SortTask } from "./tiles.ts";

const workgroupSize = 256;

/** Pairs that an invocation merges, and a workgroup. */
const laneOutputs = 4;
const mergeOutputs = workgroupSize * laneOutputs;

/**
 * Merges neighbouring sorted runs of `run` pairs (a multiple of `mergeOutputs`) in each row of `sorted`, [rows, columns], into `target`,
 * or, without it, the first `kept` into the results. Each workgroup makes a stretch of the output; where its two inputs begin and end is
 * found by binary search along the merge path (Green, McColl & Bader 2012), then again by each invocation in workgroup memory.
 */
export function mergeRuns(runtime: WebGpuRuntime, task: SortTask, sorted: TensorView, run: number, target: TensorView | undefined): void {
  const { input, values, indices, rows, columns } = task;
  const kept = target ? columns : task.kept;
  const stretches = Math.ceil(kept / mergeOutputs);
  runtime.launch({
    name: "mergeRuns",
    variant: target ? "pairs" : "results",
    bindings: {
      sorted: read(sorted, "vec2<u32>"),
      ...(target
        ? { merged: write(target, "vec2<u32>") }
        : { input: read(input, "u32"), values: write(values, "u32"), indices: write(indices, "i32") }),
    },
    uniforms: { rows: u32(rows), columns: u32(columns), kept: u32(kept), run: u32(run), stretches: u32(stretches) },
    workgroups: workgroupGrid(rows * stretches),
    code: () => `${pairOrder}
${target ? "" : storeResult}
var<workgroup> pairs: array<vec2<u32>, ${mergeOutputs}>;
var<workgroup> edges: array<u32, 2>;
${pathFunction("firstCount", "sorted[a + middle]", "sorted[b + total - 1u - middle]")}
${pathFunction("firstCountHere", "pairs[a + middle]", "pairs[b + total - 1u - middle]")}
${entryPoint(workgroupSize, mergeBody(target !== undefined))}`,
  });
}

/** How many of the first `total` pairs of a merge come from its first run: runs at `a` and `b`, of `lengthA` and `lengthB`. */
function pathFunction(name: string, fromA: string, fromB: string): string {
  return `fn ${name}(a: u32, lengthA: u32, b: u32, lengthB: u32, total: u32) -> u32 {
  var low = total - min(total, lengthB);
  var high = min(total, lengthA);
  while (low < high) {
    let middle = (low + high) / 2u;
    if (precedes(${fromA}, ${fromB})) {
      low = middle + 1u;
    } else {
      high = middle;
    }
  }
  return low;
}`;
}

function mergeBody(toPairs: boolean): string {
  const store = toPairs
    ? "merged[uniforms.mergedOffset + row * uniforms.columns + place] = pair;"
    : "storeResult(row, place, pair.y);";
  return `  let row = workgroup / uniforms.stretches;
  let first = (workgroup % uniforms.stretches) * ${mergeOutputs}u;
  let pairStart = first / (2u * uniforms.run) * (2u * uniforms.run);
  let lengthA = min(uniforms.run, uniforms.columns - pairStart);
  let lengthB = min(uniforms.run, uniforms.columns - pairStart - lengthA);
  let a = uniforms.sortedOffset + row * uniforms.columns + pairStart;
  let b = a + lengthA;
  let begin = first - pairStart;
  let end = min(begin + ${mergeOutputs}u, lengthA + lengthB);
  let taken = row < uniforms.rows;
  if (taken && lane < 2u) { edges[lane] = firstCount(a, lengthA, b, lengthB, select(begin, end, lane == 1u)); }
  workgroupBarrier();
  let countA = edges[1] - edges[0];
  let count = end - begin;
  if (taken) {
    for (var i = lane; i < count; i += ${workgroupSize}u) {
      if (i < countA) { pairs[i] = sorted[a + edges[0] + i]; } else { pairs[i] = sorted[b + begin - edges[0] + i - countA]; }
    }
  }
  workgroupBarrier();
  let countB = count - countA;
  let done = min(lane * ${laneOutputs}u, count);
  if (taken) {
    var i = firstCountHere(0u, countA, countA, countB, done);
    var j = done - i;
    for (var step = 0u; step < ${laneOutputs}u; step++) {
      if (done + step < count) {
        var fromA = i < countA;
        if (fromA && j < countB) { fromA = precedes(pairs[i], pairs[countA + j]); }
        let pair = pairs[select(countA + j, i, fromA)];
        if (fromA) { i++; } else { j++; }
        let place = first + done + step;
        if (place < uniforms.kept) { ${store} }
      }
    }
  }`;
}
