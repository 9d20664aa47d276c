import type { KernelArguments } from "../../../backend.ts";
import { entryPoint, u32, workgroupGrid, write } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { commonCode, maskArguments, maskCode, maskedScores, RowTensors, sizeUniforms, workOf, type AttentionSizes } from "./problem.ts";
import { forwardTarget, splitKeys } from "./splits.ts";
import type { TripCounts } from "../../trip-counts.ts";
import {
  addWeightedRows,
  columnBlocks,
  declareSums,
  each,
  fitsHeldRows,
  heldMemory,
  heldRowProducts,
  holdRows,
  residentRows,
  rowProducts,
  storeSums,
  streamedRows,
  summedColumns,
  tileInvocations,
  tileMemory,
  tileNames,
  tileTripCounts,
} from "./tile.ts";

/** Fewest keys of a split: below, its partial results weigh more than its keys. */
const smallestSplit = 256;

/** Workgroup memory of the tile and of rows held beside it. */
const memoryWithHeldRows = 32 * 1024;

/**
 * Attention of many queries (Dao et al. 2022, "FlashAttention"): 64 rows stay, keys pass by 32 at a time, and the softmax is rescaled
 * as its maximum grows. Keys that no row of the tile sees are skipped.
 */
export function tiledAttention(runtime: WebGpuRuntime, parameters: KernelArguments["attention"], sizes: AttentionSizes): void {
  const { query, key, value } = parameters;
  const { rows, pairs, keys, headDim, batch, heads } = sizes;
  const columns = summedColumns(headDim, 32);
  const blocks = columnBlocks(headDim, columns);
  const tiles = Math.ceil(rows / residentRows);
  const division = splitKeys(keys, tiles * pairs * blocks, smallestSplit);
  const target = forwardTarget(runtime, parameters, sizes, division);
  const tensors = new RowTensors({ query, key, value }, { output: target.output });
  const mask = maskArguments(parameters);
  const trips = tileTripCounts(runtime.isSoftware, columns);
  const holds = trips.isUnrolled && fitsHeldRows(headDim) && runtime.limits.workgroupMemory >= memoryWithHeldRows;
  const count = tiles * pairs * blocks * division.splits;
  runtime.launch({
    name: "attention",
    variant: `${columns} ${tensors.vectors ? "vectors" : "scalars"} ${trips.isUnrolled ? "unrolled" : ""} ${holds ? "held" : ""}`,
    bindings: { ...tensors.bindings(), ...mask.bindings, logSumExp: write(target.logSumExp) },
    uniforms: {
      ...tensors.uniforms(),
      ...mask.uniforms,
      ...sizeUniforms(parameters, sizes),
      ...target.uniforms,
      count: u32(count),
      tiles: u32(tiles),
      blocks: u32(blocks),
      ...trips.uniforms,
      batch: u32(batch),
      heads: u32(heads),
    },
    workgroups: workgroupGrid(count),
    work: workOf(sizes, { products: 2, queryTensors: 2, keyTensors: 2 }),
    code: () => `${commonCode}
${maskCode}
${tensors.code("checked")}
${tileMemory}
${holds ? heldMemory : ""}
${entryPoint(tileInvocations, forwardBody(columns, trips, holds))}`,
  });
  target.finish();
}

function forwardBody(columns: number, trips: TripCounts, holds: boolean): string {
  const queryRows = ["queryIf(valid0, queryBase0, column)", "queryIf(valid1, queryBase1, column)"] as const;
  const keyRow = "keyIf(start + ty < uniforms.keys, keyRows + (start + ty) * u32(uniforms.keyRow), column)";
  const summedValue = "valueIf(start + row < uniforms.keys, valueRows + (start + row) * u32(uniforms.valueRow), column)";
  const both = (piece: (i: number) => string): string => each(2, piece);
  return `  if (workgroup >= uniforms.count) { return; }
${tileNames}
${trips.code}
  // Late rows see most keys: they start first.
  let rowStart = (uniforms.tiles - 1u - workgroup % uniforms.tiles) * ${residentRows}u;
  var rest = workgroup / uniforms.tiles;
  let columnStart = (rest % uniforms.blocks) * ${columns}u;
  let isFirstBlock = rest % uniforms.blocks == 0u;
  rest /= uniforms.blocks;
  let split = rest % uniforms.splits;
  rest /= uniforms.splits;
  let keyHead = rest % uniforms.keyHeads;
  let batchIndex = rest / uniforms.keyHeads;
  let keyRows = keyBase(batchIndex, keyHead, 0u);
  let valueRows = valueBase(batchIndex, keyHead, 0u);
${both(
  (i) => `  let row${i} = rowStart + ty + ${32 * i}u;
  let valid${i} = row${i} < uniforms.rows;
  let query${i} = row${i} / uniforms.group;
  let head${i} = keyHead * uniforms.group + row${i} % uniforms.group;
  let visible${i} = select(0u, visibleKeys(query${i}), valid${i});
  let queryBase${i} = queryBase(batchIndex, head${i}, query${i});`,
)}
  let fewest = visibleKeys(rowStart / uniforms.group);
  let most = visibleKeys((min(rowStart + ${residentRows}u, uniforms.rows) - 1u) / uniforms.group);
  let keyEnd = min(most, (split + 1u) * uniforms.splitKeys);
${both((i) => `  var maximum${i} = lowest;\n  var total${i} = 0.0;`)}
${declareSums("sum", columns)}
${holds ? holdRows(queryRows) : ""}
  for (var start = split * uniforms.splitKeys; start < keyEnd; start += ${streamedRows}u) {
${holds ? heldRowProducts("score", keyRow) : rowProducts("score", queryRows, keyRow, trips)}
    let keyIndex = vec4<u32>(start + 4u * tx) + vec4<u32>(0u, 1u, 2u, 3u);
${maskedScores}
${both((i) => `    score${i} = select(score${i}, vec4<f32>(lowest), hidden${i});`)}
    tile[768u + lane] = vec4<f32>(maximumOf(score0), maximumOf(score1), 0.0, 0.0);
    workgroupBarrier();
    var tops = vec2<f32>(maximum0, maximum1);
    for (var j = 0u; j < sharers; j++) { tops = max(tops, tile[768u + ownRow + ((j + ty) & 7u)].xy); }
${both(
  (i) => `    let shrink${i} = weightOf(maximum${i} - tops[${i}]);
    maximum${i} = tops[${i}];
    let weights${i} = select(weightsOf(score${i} - maximum${i}), vec4<f32>(), hidden${i});
    total${i} = total${i} * shrink${i} + sumOf(weights${i});
${each(columns / 8, (n) => `    sum${i}_${n} *= shrink${i};`)}`,
)}
    // What a causal query does not see may be memory that nobody wrote yet.
    let guarded = min(start + ${streamedRows}u, uniforms.keys) > fewest;
${addWeightedRows("sum", ["weights0", "weights1"], summedValue, columns, trips, "guarded")}
  }
  workgroupBarrier();
  tile[lane] = vec4<f32>(total0, total1, 0.0, 0.0);
  workgroupBarrier();
  var totals = vec2<f32>();
  for (var j = 0u; j < sharers; j++) { totals += tile[ownRow + ((j + ty) & 7u)].xy; }
${both(
  (i) => `  let factor${i} = select(1.0 / totals[${i}], 0.0, totals[${i}] == 0.0);
  let outputBase${i} = outputBase(split * uniforms.batch + batchIndex, head${i}, query${i});
  if (valid${i} && isFirstBlock && tx == 0u) {
    let place = split * uniforms.splitRows + (batchIndex * uniforms.heads + head${i}) * uniforms.queries + query${i};
    logSumExp[uniforms.logSumExpOffset + place] = logSumExpOf(maximum${i}, totals[${i}]);
  }`,
)}
${storeSums("sum", "output", columns, ["factor0", "factor1"])}`;
}
