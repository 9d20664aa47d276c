import type { KernelArguments, TensorView } from "../../../backend.ts";
import { entryPoint, read, u32, workgroupGrid, write } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import {
  commonCode,
  maskArguments,
  maskCode,
  maskedScores,
  RowTensors,
  sizesOf,
  sizeUniforms,
  workOf,
  type AttentionSizes,
} from "./problem.ts";
import type { TripCounts } from "../../trip-counts.ts";
import {
  addWeightedRows,
  columnBlocks,
  declareSums,
  each,
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

type GradientArguments = KernelArguments["attentionGradient"];

/**
 * Gradients with the probabilities recomputed from logSumExp. With P = e^(S - logSumExp), G = ∂L/∂O, T = G Vᵀ and D the row sums of G * O:
 * ∂L/∂S = P * (T - D), ∂L/∂V = Pᵀ G, ∂L/∂Q = scale (∂L/∂S) K, ∂L/∂K = scale (∂L/∂S)ᵀ Q. Two kernels, each computing S and T for itself, so
 * that every sum has one owner and one order.
 */
export function attentionGradient(runtime: WebGpuRuntime, parameters: GradientArguments): void {
  const sizes = sizesOf(parameters);
  const statistics = runtime.temporary("float32", [sizes.pairs, sizes.rows, 2]);
  rowStatistics(runtime, parameters, sizes, statistics);
  queryGradient(runtime, parameters, sizes, statistics);
  keyValueGradient(runtime, parameters, sizes, statistics);
  runtime.release(statistics);
}

const statisticsWorkgroup = 64;
/** Invocations that share a row of the statistics. */
const lanesPerRow = 8;

/** For each packed row: logSumExp, and the sum of gradient * output. */
function rowStatistics(runtime: WebGpuRuntime, parameters: GradientArguments, sizes: AttentionSizes, statistics: TensorView): void {
  const { gradient, output, logSumExp } = parameters;
  const tensors = new RowTensors({ gradient, output }, {});
  const rowsOfWorkgroup = statisticsWorkgroup / lanesPerRow;
  const count = sizes.pairs * sizes.rows;
  runtime.launch({
    name: "attentionGradientStatistics",
    variant: tensors.vectors ? "vectors" : "scalars",
    bindings: { ...tensors.bindings(), logSumExp: read(logSumExp), statistics: write(statistics, "vec2<f32>") },
    uniforms: { ...tensors.uniforms(), ...sizeUniforms(parameters, sizes), count: u32(count), heads: u32(sizes.heads) },
    workgroups: workgroupGrid(Math.ceil(count / rowsOfWorkgroup)),
    code: () => `${commonCode}
${tensors.code("checked")}
var<workgroup> parts: array<f32, ${statisticsWorkgroup}>;
${entryPoint(
  statisticsWorkgroup,
  `  let place = workgroup * ${rowsOfWorkgroup}u + lane / ${lanesPerRow}u;
  let valid = place < uniforms.count;
  let row = place % uniforms.rows;
  let pair = place / uniforms.rows;
  let batchIndex = pair / uniforms.keyHeads;
  let head = (pair % uniforms.keyHeads) * uniforms.group + row % uniforms.group;
  let queryIndex = row / uniforms.group;
  let gradientRow = gradientBase(batchIndex, head, queryIndex);
  let outputRow = outputBase(batchIndex, head, queryIndex);
  var sum = 0.0;
  for (var column = lane % ${lanesPerRow}u; column < uniforms.columns; column += ${lanesPerRow}u) {
    sum += sumOf(gradientIf(valid, gradientRow, column) * outputIf(valid, outputRow, column));
  }
  parts[lane] = sum;
  workgroupBarrier();
  if (valid && lane % ${lanesPerRow}u == 0u) {
    for (var i = 1u; i < ${lanesPerRow}u; i++) { sum += parts[lane + i]; }
    let total = logSumExp[uniforms.logSumExpOffset + (batchIndex * uniforms.heads + head) * uniforms.queries + queryIndex];
    statistics[uniforms.statisticsOffset + place] = vec2<f32>(total, sum);
  }`,
)}`,
  });
}

/** What tells the two launches apart: each goes over tiles of its own side and writes the gradients of that side. */
interface GradientPass {
  readonly name: string;
  /** Rows or keys, 64 of which a workgroup takes. */
  readonly resident: number;
  readonly outputs: Readonly<Record<string, TensorView>>;
  readonly work: Parameters<typeof workOf>[1];
  readonly body: (columns: number, trips: TripCounts) => string;
}

function launchGradient(
  runtime: WebGpuRuntime,
  parameters: GradientArguments,
  sizes: AttentionSizes,
  statistics: TensorView,
  { name, resident, outputs, work, body }: GradientPass,
): void {
  const { gradient, query, key, value } = parameters;
  const columns = summedColumns(sizes.headDim, 32);
  const blocks = columnBlocks(sizes.headDim, columns);
  const tiles = Math.ceil(resident / residentRows);
  const tensors = new RowTensors({ gradient, query, key, value }, outputs);
  const mask = maskArguments(parameters);
  const trips = tileTripCounts(runtime.isSoftware, columns);
  const count = tiles * sizes.pairs * blocks;
  runtime.launch({
    name,
    variant: `${columns} ${tensors.vectors ? "vectors" : "scalars"} ${trips.isUnrolled ? "unrolled" : ""}`,
    bindings: { ...tensors.bindings(), ...mask.bindings, statistics: read(statistics, "vec2<f32>") },
    uniforms: {
      ...tensors.uniforms(),
      ...mask.uniforms,
      ...sizeUniforms(parameters, sizes),
      count: u32(count),
      tiles: u32(tiles),
      blocks: u32(blocks),
      ...trips.uniforms,
    },
    workgroups: workgroupGrid(count),
    work: workOf(sizes, work),
    code: () => `${commonCode}
${maskCode}
${tensors.code("checked")}
${tileMemory}
${entryPoint(tileInvocations, body(columns, trips))}`,
  });
}

/** One workgroup for 64 rows, going along the keys they see. */
function queryGradient(runtime: WebGpuRuntime, parameters: GradientArguments, sizes: AttentionSizes, statistics: TensorView): void {
  launchGradient(runtime, parameters, sizes, statistics, {
    name: "attentionGradientQuery",
    resident: sizes.rows,
    outputs: { queryGradient: parameters.queryGradient },
    work: { products: 3, queryTensors: 3, keyTensors: 2 },
    body: queryGradientBody,
  });
}

/** Work of a workgroup from its number: tile (the last first when `reversed`), block of columns, key head and batch. */
const workCode = (columns: number, reversed: boolean): string => `  if (workgroup >= uniforms.count) { return; }
${tileNames}
  let tileStart = (${reversed ? "uniforms.tiles - 1u - " : ""}workgroup % uniforms.tiles) * ${residentRows}u;
  var rest = workgroup / uniforms.tiles;
  let columnStart = (rest % uniforms.blocks) * ${columns}u;
  let pair = rest / uniforms.blocks;
  let keyHead = pair % uniforms.keyHeads;
  let batchIndex = pair / uniforms.keyHeads;`;

function queryGradientBody(columns: number, trips: TripCounts): string {
  const both = (piece: (i: number) => string): string => each(2, piece);
  const rowOf = (name: string, index: string): string =>
    `${name}If(start + ${index} < uniforms.keys, ${name}Rows + (start + ${index}) * u32(uniforms.${name}Row), column)`;
  return `${workCode(columns, true)}
${trips.code}
  let keyRows = keyBase(batchIndex, keyHead, 0u);
  let valueRows = valueBase(batchIndex, keyHead, 0u);
${both(
  (i) => `  let row${i} = tileStart + ty + ${32 * i}u;
  let valid${i} = row${i} < uniforms.rows;
  let query${i} = row${i} / uniforms.group;
  let head${i} = keyHead * uniforms.group + row${i} % uniforms.group;
  let visible${i} = select(0u, visibleKeys(query${i}), valid${i});
  let queryBase${i} = queryBase(batchIndex, head${i}, query${i});
  let gradientBase${i} = gradientBase(batchIndex, head${i}, query${i});
  let queryGradientBase${i} = queryGradientBase(batchIndex, head${i}, query${i});
  let known${i} = statistics[uniforms.statisticsOffset + pair * uniforms.rows + min(row${i}, uniforms.rows - 1u)];`,
)}
  let keyEnd = visibleKeys((min(tileStart + ${residentRows}u, uniforms.rows) - 1u) / uniforms.group);
${declareSums("sum", columns)}
  for (var start = 0u; start < keyEnd; start += ${streamedRows}u) {
${rowProducts("score", ["queryIf(valid0, queryBase0, column)", "queryIf(valid1, queryBase1, column)"], rowOf("key", "ty"), trips)}
${rowProducts("mixed", ["gradientIf(valid0, gradientBase0, column)", "gradientIf(valid1, gradientBase1, column)"], rowOf("value", "ty"), trips)}
    let keyIndex = vec4<u32>(start + 4u * tx) + vec4<u32>(0u, 1u, 2u, 3u);
${maskedScores}
${both(
  (i) => `    let weights${i} = select(weightsOf(score${i} - known${i}.x) * (mixed${i} - known${i}.y), vec4<f32>(), hidden${i});`,
)}
    workgroupBarrier();
${addWeightedRows("sum", ["weights0", "weights1"], rowOf("key", "row"), columns, trips)}
  }
${storeSums("sum", "queryGradient", columns, ["uniforms.scale", "uniforms.scale"])}`;
}

/** One workgroup for 64 keys, going along the rows that see them, of all query heads of the key head. */
function keyValueGradient(runtime: WebGpuRuntime, parameters: GradientArguments, sizes: AttentionSizes, statistics: TensorView): void {
  const { keyGradient, valueGradient } = parameters;
  launchGradient(runtime, parameters, sizes, statistics, {
    name: "attentionGradientKeyValue",
    resident: sizes.keys,
    outputs: { keyGradient, valueGradient },
    work: { products: 4, queryTensors: 2, keyTensors: 4 },
    body: keyValueGradientBody,
  });
}

function keyValueGradientBody(columns: number, trips: TripCounts): string {
  const both = (piece: (i: number) => string): string => each(2, piece);
  const own = (name: string): [string, string] => [`${name}If(valid0, ${name}Base0, column)`, `${name}If(valid1, ${name}Base1, column)`];
  const each4 = (piece: (j: number) => string): string => [0, 1, 2, 3].map(piece).join(", ");
  const summed = (name: string): string => {
    const base = `${name}Base(batchIndex, keyHead * uniforms.group + (start + row) % uniforms.group, (start + row) / uniforms.group)`;
    return `${name}If(start + row < uniforms.rows, ${base}, column)`;
  };
  return `${workCode(columns, false)}
${trips.code}
${both(
  (i) => `  let key${i} = tileStart + ty + ${32 * i}u;
  let valid${i} = key${i} < uniforms.keys;
  let keyBase${i} = keyBase(batchIndex, keyHead, key${i});
  let valueBase${i} = valueBase(batchIndex, keyHead, key${i});
  let keyGradientBase${i} = keyGradientBase(batchIndex, keyHead, key${i});
  let valueGradientBase${i} = valueGradientBase(batchIndex, keyHead, key${i});`,
)}
${declareSums("keySum", columns)}
${declareSums("valueSum", columns)}
  // From the first query that sees the first key.
  let rowStart = min(u32(max(i32(tileStart) - uniforms.visible + 1, 0)), uniforms.queries) * uniforms.group;
  for (var start = rowStart; start < uniforms.rows; start += ${streamedRows}u) {
    let ownHead = keyHead * uniforms.group + (start + ty) % uniforms.group;
    let isRow = start + ty < uniforms.rows;
    let ownQuery = queryBase(batchIndex, ownHead, (start + ty) / uniforms.group);
    let ownGradient = gradientBase(batchIndex, ownHead, (start + ty) / uniforms.group);
${rowProducts("score", own("key"), "queryIf(isRow, ownQuery, column)", trips)}
${rowProducts("mixed", own("value"), "gradientIf(isRow, ownGradient, column)", trips)}
    let freeIndex = vec4<u32>(start + 4u * tx) + vec4<u32>(0u, 1u, 2u, 3u);
    let rowIndex = min(freeIndex, vec4<u32>(uniforms.rows - 1u));
    let queryIndex = rowIndex / uniforms.group;
    let known = uniforms.statisticsOffset + pair * uniforms.rows;
${each(4, (j) => `    let known${j} = statistics[known + rowIndex[${j}]];`)}
    let totals = vec4<f32>(${each4((j) => `known${j}.x`)});
    let means = vec4<f32>(${each4((j) => `known${j}.y`)});
    let visible = select(vec4<u32>(), vec4<u32>(${each4((j) => `visibleKeys(queryIndex[${j}])`)}), freeIndex == rowIndex);
${both(
  (i) => `    score${i} *= uniforms.scale;
    var hidden${i} = vec4<u32>(key${i}) >= visible;`,
)}
    if (uniforms.masked != 0u) {
      let last = uniforms.keys - 1u;
      let heads = keyHead * uniforms.group + rowIndex % uniforms.group;
      let bases = vec4<i32>(${each4((j) => `maskBase(batchIndex, heads[${j}], queryIndex[${j}])`)});
${both(
  (i) => `      let added${i} = vec4<f32>(${each4((j) => `maskAt(bases[${j}], min(key${i}, last))`)});
      score${i} += added${i};
      hidden${i} = hidden${i} | areHidden(added${i});`,
)}
    }
${both(
  (i) => `    let weights${i} = select(weightsOf(score${i} - totals), vec4<f32>(), hidden${i});
    let changes${i} = select(weights${i} * (mixed${i} - means), vec4<f32>(), hidden${i});`,
)}
    workgroupBarrier();
${addWeightedRows("valueSum", ["weights0", "weights1"], summed("gradient"), columns, trips)}
    workgroupBarrier();
${addWeightedRows("keySum", ["changes0", "changes1"], summed("query"), columns, trips)}
  }
${storeSums("keySum", "keyGradient", columns, ["uniforms.scale", "uniforms.scale"])}
${storeSums("valueSum", "valueGradient", columns, ["1.0", "1.0"])}`;
}
