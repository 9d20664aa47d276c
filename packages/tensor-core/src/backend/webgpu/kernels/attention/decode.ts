import type { KernelArguments } from "../../../backend.ts";
import { entryPoint, u32, workgroupGrid, write } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { commonCode, maskArguments, maskCode, RowTensors, sizeUniforms, workOf, type AttentionSizes } from "./problem.ts";
import { forwardTarget, splitKeys } from "./splits.ts";
import { tripCounts, type TripCounts } from "../../trip-counts.ts";
import { each, summedColumns } from "./tile.ts";

const invocations = 256;

/** Keys of a step: four invocations share the product of one. */
const stepKeys = 64;

/** Fewest keys of a split. */
const smallestSplit = 128;

/** Rows of a workgroup, held in registers, where there is more than one: with more rows, workgroups share keys through the cache. */
const severalRows = 4;

/** Most rows: beyond, arithmetic rather than memory sets the time, and tiles do better. */
const maximumRows = 16;

/** Vectors whose loads are under way together, of the `columns / 4` that an invocation loads in a step of keys and of values each. */
const loadsAtOnce = 4;

/** Whether `decodeAttention` is made for it: rows as few as in generating text, heads that fit. */
export function isDecode({ rows, headDim }: AttentionSizes): boolean {
  return rows <= maximumRows && headDim > 0 && headDim <= 256;
}

/**
 * Attention of one or a few queries to many keys, bound by memory ("Flash-Decoding"): keys are split among workgroups, and each loads a key
 * and a value once for all query heads of its key head. Slices of a workgroup take every n-th key, each with a softmax of its own.
 */
export function decodeAttention(runtime: WebGpuRuntime, parameters: KernelArguments["attention"], sizes: AttentionSizes): void {
  const { query, key, value } = parameters;
  const { rows, pairs, keys, headDim, batch, heads } = sizes;
  const columns = summedColumns(headDim, 64);
  const rowsHeld = rows <= 1 ? 1 : severalRows;
  const tiles = Math.ceil(rows / rowsHeld);
  const division = splitKeys(keys, tiles * pairs, smallestSplit);
  const target = forwardTarget(runtime, parameters, sizes, division);
  const tensors = new RowTensors({ query, key, value }, { output: target.output });
  const mask = maskArguments(parameters);
  const trips = tripCounts(runtime.isSoftware, { rounds: columns / 4 / loadsAtOnce, slices: invocations / columns, rowsHeld });
  const count = tiles * pairs * division.splits;
  runtime.launch({
    name: "attentionDecode",
    variant: `${columns} ${rowsHeld} ${tensors.vectors ? "vectors" : "scalars"} ${trips.isUnrolled ? "unrolled" : ""}`,
    bindings: { ...tensors.bindings(), ...mask.bindings, logSumExp: write(target.logSumExp) },
    uniforms: {
      ...tensors.uniforms(),
      ...mask.uniforms,
      ...sizeUniforms(parameters, sizes),
      ...target.uniforms,
      count: u32(count),
      tiles: u32(tiles),
      batch: u32(batch),
      heads: u32(heads),
      ...trips.uniforms,
    },
    workgroups: workgroupGrid(count),
    work: workOf(sizes, { products: 2, queryTensors: 2, keyTensors: 2 }),
    code: () => `${commonCode}
${maskCode}
${tensors.code("clamped")}
// The query rows; in the end one row of every slice.
var<workgroup> held: array<vec4<f32>, ${Math.max(rowsHeld * columns, invocations)}>;
// Quarters of the products of keys with the rows, up to four rows in one vector.
var<workgroup> quarters: array<${vectorOf(Math.min(rowsHeld, 4))}, ${invocations * Math.ceil(rowsHeld / 4)}>;
// Maximum and sum of weights of every slice.
var<workgroup> found: array<vec2<f32>, ${(rowsHeld * invocations) / columns}>;
${entryPoint(invocations, decodeBody(columns, rowsHeld, trips))}`,
  });
  target.finish();
}

const vectorOf = (width: number): string => (width === 1 ? "f32" : `vec${width}<f32>`);

function decodeBody(columns: number, rows: number, trips: TripCounts): string {
  const slices = invocations / columns;
  const eachRow = (piece: (r: number) => string): string => each(rows, piece);
  return `  if (workgroup >= uniforms.count) { return; }
${trips.code}
  let rowStart = (workgroup % uniforms.tiles) * ${rows}u;
  var rest = workgroup / uniforms.tiles;
  let split = rest % uniforms.splits;
  rest /= uniforms.splits;
  let keyHead = rest % uniforms.keyHeads;
  let batchIndex = rest / uniforms.keyHeads;
  let keyRows = keyBase(batchIndex, keyHead, 0u);
  let valueRows = valueBase(batchIndex, keyHead, 0u);
${eachRow((r) => rowNames(r))}
  let most = visibleKeys((min(rowStart + ${rows}u, uniforms.rows) - 1u) / uniforms.group);
  let keyEnd = min(most, (split + 1u) * uniforms.splitKeys);
  for (var i = lane; i < ${rows * columns}u; i += ${invocations}u) {
    let row = min(rowStart + i / ${columns}u, uniforms.rows - 1u);
    let column = i % ${columns}u;
    let values = queryAt(queryBase(batchIndex, keyHead * uniforms.group + row % uniforms.group, row / uniforms.group), column);
    let isInside = vec4<u32>(4u * column) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(uniforms.headDim);
    held[i] = select(vec4<f32>(), values * uniforms.scale, isInside);
  }
  let slice = lane / ${columns}u;
  let ownColumn = lane % ${columns}u;
  let quarter = lane & 3u;
  for (var start = split * uniforms.splitKeys; start < keyEnd; start += ${stepKeys}u) {
    workgroupBarrier();
    {
      let keyIndex = min(start + (lane >> 2u), keyEnd - 1u);
      let base = keyRows + keyIndex * u32(uniforms.keyRow);
${keyProducts(columns, rows)}
    }
    workgroupBarrier();
    for (var round = 0u; round < rounds; round++) {
      let first = slice + round * ${loadsAtOnce * slices}u;
${loadValues(slices)}
${each(loadsAtOnce, (i) => scoresOfKey(i, rows, slices))}
${eachRow((r) => addToRow(r, slices, rows))}
    }
  }
${mergeSlices(columns, rows)}`;
}

const rowNames = (r: number): string => `  let query${r} = (rowStart + ${r}u) / uniforms.group;
  let visible${r} = select(0u, visibleKeys(query${r}), rowStart + ${r}u < uniforms.rows);
  var maximum${r} = lowest;
  var total${r} = 0.0;
  var sum${r} = vec4<f32>();
  let maskBase${r} = maskBase(batchIndex, keyHead * uniforms.group + (rowStart + ${r}u) % uniforms.group, query${r});`;

/** Loads the values of the slice's next keys: number `first` of the step, and every n-th after it. */
const loadValues = (slices: number): string =>
  each(loadsAtOnce, (i) => {
    const place = `min(start + first + ${i * slices}u, keyEnd - 1u)`;
    return `      let v${i} = valueAt(valueRows + ${place} * u32(uniforms.valueRow), ownColumn);`;
  });

/** The invocation's quarter of the products of its key with all rows: columns quarter, quarter + 4, …; the first also has the mask. */
function keyProducts(columns: number, rows: number): string {
  const width = Math.min(rows, 4);
  const stores = each(rows / width, (g) => {
    const values = Array.from({ length: width }, (_, j) => `product${g * width + j}`).join(", ");
    return `      quarters[${g * invocations}u + lane] = ${vectorOf(width)}(${values});`;
  });
  return `${each(rows, (r) => `      var product${r} = 0.0;`)}
      if (uniforms.masked != 0u && quarter == 0u) {
${each(rows, (r) => `        product${r} = maskAt(maskBase${r}, keyIndex);`)}
      }
      for (var round = 0u; round < rounds; round++) {
        let column = quarter + round * ${4 * loadsAtOnce}u;
${each(loadsAtOnce, (i) => `        let k${i} = keyAt(base, column + ${4 * i}u);`)}
${each(loadsAtOnce, (i) => each(rows, (r) => `        product${r} += dot(k${i}, held[column + ${r * columns + 4 * i}u]);`))}
      }
${stores}`;
}

/** Adds up the quarters of the slice's next key `i`: scores<i>_<g> holds up to four rows. */
function scoresOfKey(i: number, rows: number, slices: number): string {
  return each(Math.ceil(rows / 4), (g) => {
    const place = (part: number): string => `quarters[4u * first + ${g * invocations + 4 * i * slices + part}u]`;
    return `      let scores${i}_${g} = (${place(0)} + ${place(1)}) + (${place(2)} + ${place(3)});`;
  });
}

/** Online softmax of row `r` over the slice's next four keys. */
function addToRow(r: number, slices: number, rows: number): string {
  const list = (piece: (i: number) => string): string => [0, 1, 2, 3].map(piece).join(", ");
  return `      {
        let keyIndex = start + first + vec4<u32>(${list((i) => `${i * slices}u`)});
        var score = vec4<f32>(${list((i) => `scores${i}_${Math.floor(r / 4)}${rows === 1 ? "" : `[${r % 4}]`}`)});
        let hidden = (keyIndex >= vec4<u32>(visible${r})) | areHidden(score);
        score = select(score, vec4<f32>(lowest), hidden);
        let top = max(maximum${r}, maximumOf(score));
        let shrink = weightOf(maximum${r} - top);
        let weights = select(weightsOf(score - top), vec4<f32>(), hidden);
        maximum${r} = top;
        total${r} = total${r} * shrink + sumOf(weights);
        sum${r} *= shrink;
        // What a causal query does not see may be memory that nobody wrote yet, NaN included.
${each(4, (i) => `        sum${r} += select(weights[${i}] * v${i}, vec4<f32>(), weights[${i}] == 0.0);`)}
      }`;
}

/**
 * Brings the slices to one maximum, adds them up in order and writes the rows. A loop with choices among the rows' registers: each barrier
 * and branch in the text costs software adapters much time to compile.
 */
function mergeSlices(columns: number, rows: number): string {
  const slices = invocations / columns;
  return `  if (ownColumn == 0u) {
${each(rows, (r) => `    found[${r * slices}u + slice] = vec2<f32>(maximum${r}, total${r});`)}
  }
  for (var r = 0u; r < rowsHeld; r++) {
    workgroupBarrier();
    var sum = sum0;
    var maximum = maximum0;
${each(
  rows - 1,
  (r) => `    sum = select(sum, sum${r + 1}, r == ${r + 1}u);
    maximum = select(maximum, maximum${r + 1}, r == ${r + 1}u);`,
)}
    var top = lowest;
    for (var i = 0u; i < slices; i++) { top = max(top, found[r * ${slices}u + i].x); }
    held[lane] = sum * weightOf(maximum - top);
    workgroupBarrier();
    let row = rowStart + r;
    if (lane < ${columns}u && row < uniforms.rows) {
      var all = 0.0;
      var result = vec4<f32>();
      for (var i = 0u; i < slices; i++) {
        let share = found[r * ${slices}u + i];
        all += weightOf(share.x - top) * share.y;
        result += held[i * ${columns}u + lane];
      }
      let head = keyHead * uniforms.group + row % uniforms.group;
      let queryIndex = row / uniforms.group;
      outputStore(outputBase(split * uniforms.batch + batchIndex, head, queryIndex), lane, result * select(1.0 / all, 0.0, all == 0.0));
      if (lane == 0u) {
        let place = split * uniforms.splitRows + (batchIndex * uniforms.heads + head) * uniforms.queries + queryIndex;
        logSumExp[uniforms.logSumExpOffset + place] = logSumExpOf(top, all);
      }
    }
  }`;
}
