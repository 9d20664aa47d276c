import type { KernelArguments } from "../../../backend.ts";
import { entryPoint, u32, workgroupGrid, write } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { commonCode, maskBinding, RowTensors, sizeUniforms, type AttentionSizes } from "./problem.ts";
import { forwardTarget, splitKeys } from "./splits.ts";
import { each, summedColumns } from "./tile.ts";

const invocations = 256;

/** Keys of a step: four invocations share the product of one. */
const stepKeys = 64;

/** Fewest keys of a split. */
const smallestSplit = 128;

/** Most rows of a workgroup, held in registers. */
const maximumRows = 8;

/** Vectors whose loads are under way together. */
const loadsAtOnce = 4;

/** Whether `decodeAttention` is made for it: rows as few as in generating text, heads that fit. */
export function isDecode({ rows, headDim }: AttentionSizes): boolean {
  return rows <= 2 * maximumRows && headDim > 0 && headDim <= 256;
}

/**
 * Attention of one or a few queries to many keys, bound by memory ("Flash-Decoding"): keys are split among workgroups, and each loads a key
 * and a value once for all query heads of its key head. Slices of a workgroup take every n-th key, each with a softmax of its own.
 */
export function decodeAttention(runtime: WebGpuRuntime, parameters: KernelArguments["attention"], sizes: AttentionSizes): void {
  const { query, key, value } = parameters;
  const { rows, pairs, keys, headDim, batch, heads } = sizes;
  const columns = summedColumns(headDim, 64);
  const rowsHeld = Math.min(maximumRows, 2 ** Math.ceil(Math.log2(Math.max(rows, 1))));
  const tiles = Math.ceil(rows / rowsHeld);
  const division = splitKeys(keys, tiles * pairs, smallestSplit);
  const target = forwardTarget(runtime, parameters, sizes, division);
  const tensors = new RowTensors({ query, key, value }, { output: target.output });
  const mask = maskBinding(parameters.mask);
  const hasMask = "mask" in mask.bindings;
  const count = tiles * pairs * division.splits;
  runtime.launch({
    name: "attentionDecode",
    variant: `${columns} ${rowsHeld} ${tensors.vectors ? "vectors" : "scalars"}${hasMask ? " mask" : ""}`,
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
    },
    workgroups: workgroupGrid(count),
    code: () => `${commonCode(hasMask)}
${tensors.code("clamped")}
// The query rows; in the end what the slices found.
var<workgroup> held: array<vec4<f32>, ${Math.max(rowsHeld * columns, invocations)}>;
// Quarters of the products of keys with the rows, up to four rows in one vector.
var<workgroup> quarters: array<${vectorOf(Math.min(rowsHeld, 4))}, ${invocations * Math.ceil(rowsHeld / 4)}>;
${entryPoint(invocations, decodeBody(columns, rowsHeld, hasMask))}`,
  });
  target.finish();
}

const vectorOf = (width: number): string => (width === 1 ? "f32" : `vec${width}<f32>`);

function decodeBody(columns: number, rows: number, hasMask: boolean): string {
  const slices = invocations / columns;
  const eachRow = (piece: (r: number) => string): string => each(rows, piece);
  const keysOfSlice = stepKeys / slices;
  const loads = Math.min(loadsAtOnce, keysOfSlice);
  return `  if (workgroup >= uniforms.count) { return; }
  let rowStart = (workgroup % uniforms.tiles) * ${rows}u;
  var rest = workgroup / uniforms.tiles;
  let split = rest % uniforms.splits;
  rest /= uniforms.splits;
  let keyHead = rest % uniforms.keyHeads;
  let batchIndex = rest / uniforms.keyHeads;
  let keyRows = keyBase(batchIndex, keyHead, 0u);
  let valueRows = valueBase(batchIndex, keyHead, 0u);
${eachRow(
  (r) => `  let query${r} = (rowStart + ${r}u) / uniforms.group;
  let head${r} = keyHead * uniforms.group + (rowStart + ${r}u) % uniforms.group;
  let visible${r} = select(0u, visibleKeys(query${r}), rowStart + ${r}u < uniforms.rows);
  var maximum${r} = lowest;
  var total${r} = 0.0;
  var sum${r} = vec4<f32>();${hasMask ? `\n  let maskBase${r} = maskBase(batchIndex, head${r}, query${r});` : ""}`,
)}
  let fewest = visibleKeys(rowStart / uniforms.group);
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
    // What a causal query does not see may be memory that nobody wrote yet.
    let guarded = start + ${stepKeys}u > fewest;
    workgroupBarrier();
    {
      let base = keyRows + min(start + (lane >> 2u), keyEnd - 1u) * u32(uniforms.keyRow);
${keyProducts(columns, rows)}
    }
    workgroupBarrier();
    for (var round = 0u; round < ${keysOfSlice / loads}u; round++) {
      let first = slice + round * ${loads * slices}u;
${loadValues(loads, slices)}
${each(loads, (i) => scoresOfKey(i, rows, slices))}
${eachRow((r) => addToRow(r, loads, slices, rows, hasMask))}
    }
  }
${mergeSlices(columns, rows)}`;
}

/** Loads the values of the slice's next keys: number `first` of the step, and every n-th after it. */
const loadValues = (count: number, slices: number): string =>
  each(count, (i) => {
    const place = `min(start + first + ${i * slices}u, keyEnd - 1u)`;
    return `      let v${i} = valueAt(valueRows + ${place} * u32(uniforms.valueRow), ownColumn);`;
  });

/** The invocation's quarter of the products of its key with all rows: columns quarter, quarter + 4, … */
function keyProducts(columns: number, rows: number): string {
  const count = columns / 4;
  const atOnce = Math.min(loadsAtOnce, count);
  const width = Math.min(rows, 4);
  const stores = each(rows / width, (g) => {
    const values = Array.from({ length: width }, (_, j) => `product${g * width + j}`).join(", ");
    return `      quarters[${g * invocations}u + lane] = ${vectorOf(width)}(${values});`;
  });
  return `${each(rows, (r) => `      var product${r} = 0.0;`)}
      for (var round = 0u; round < ${count / atOnce}u; round++) {
        let column = quarter + round * ${4 * atOnce}u;
${each(atOnce, (i) => `        let k${i} = keyAt(base, column + ${4 * i}u);`)}
${each(atOnce, (i) => each(rows, (r) => `        product${r} += dot(k${i}, held[column + ${r * columns + 4 * i}u]);`))}
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

/** Online softmax of row `r` over the slice's next two or four keys. */
function addToRow(r: number, count: number, slices: number, rows: number, hasMask: boolean): string {
  const list = (piece: (i: number) => string): string => Array.from({ length: count }, (_, i) => piece(i)).join(", ");
  const scoreOf = (i: number): string => `scores${i}_${Math.floor(r / 4)}${rows === 1 ? "" : `[${r % 4}]`}`;
  const masked = `
      let added = vec${count}<f32>(${list((i) => `maskAt(maskBase${r}, min(keyIndex[${i}], uniforms.keys - 1u))`)});
      hidden = hidden | (bitcast<vec${count}<u32>>(added) == vec${count}<u32>(uniforms.minusInfinity));
      score += added;`;
  return `    {
      let keyIndex = vec${count}<u32>(${list((i) => `start + first + ${i * slices}u`)});
      var score = vec${count}<f32>(${list(scoreOf)});
      var hidden = keyIndex >= vec${count}<u32>(visible${r});${hasMask ? masked : ""}
      score = select(score, vec${count}<f32>(lowest), hidden);
      let top = max(maximum${r}, ${count === 4 ? "maximumOf(score)" : "max(score.x, score.y)"});
      let shrink = weightOf(maximum${r} - top);
      let weights = select(vec${count}<f32>(${list((i) => `weightOf(score[${i}] - top)`)}), vec${count}<f32>(), hidden);
      maximum${r} = top;
      total${r} = total${r} * shrink + ${count === 4 ? "sumOf(weights)" : "(weights.x + weights.y)"};
      sum${r} *= shrink;
      if (guarded) {
${each(count, (i) => `        sum${r} += select(weights[${i}] * v${i}, vec4<f32>(), weights[${i}] == 0.0);`)}
      } else {
${each(count, (i) => `        sum${r} += weights[${i}] * v${i};`)}
      }
    }`;
}

/** Brings the slices to one maximum, adds them up in order and writes the rows. */
function mergeSlices(columns: number, rows: number): string {
  const slices = invocations / columns;
  return `  workgroupBarrier();
  if (ownColumn == 0u) {
${each(rows, (r) => `    held[${r * slices}u + slice] = vec4<f32>(maximum${r}, total${r}, 0.0, 0.0);`)}
  }
  workgroupBarrier();
${each(
  rows,
  (r) => `  var top${r} = lowest;
  for (var i = 0u; i < ${slices}u; i++) { top${r} = max(top${r}, held[${r * slices}u + i].x); }
  var all${r} = 0.0;
  for (var i = 0u; i < ${slices}u; i++) {
    let found = held[${r * slices}u + i].xy;
    all${r} += weightOf(found.x - top${r}) * found.y;
  }
  sum${r} *= weightOf(maximum${r} - top${r});`,
)}
${each(
  rows,
  (r) => `  workgroupBarrier();
  held[lane] = sum${r};
  workgroupBarrier();
  if (lane < ${columns}u && rowStart + ${r}u < uniforms.rows) {
    var result = held[lane];
    for (var i = 1u; i < ${slices}u; i++) { result += held[i * ${columns}u + lane]; }
    let base = outputBase(split * uniforms.batch + batchIndex, head${r}, query${r});
    outputStore(base, lane, result * select(1.0 / all${r}, 0.0, all${r} == 0.0));
    if (lane == 0u) {
      let place = split * uniforms.splitRows + (batchIndex * uniforms.heads + head${r}) * uniforms.queries + query${r};
      logSumExp[uniforms.logSumExpOffset + place] = logSumExpOf(top${r}, all${r});
    }
  }`,
)}`;
}
