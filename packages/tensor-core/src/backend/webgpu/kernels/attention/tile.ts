/**
 * WGSL of the tiled matrix products in attention: a workgroup holds 64 resident rows (queries, or keys in the gradient of the keys) and
 * goes along the other side 32 rows at a time.
 *
 * 256 invocations form a grid of 32 × 8: invocation (ty, tx) owns resident rows ty and ty + 32, streamed rows 4 tx … 4 tx + 3 of the
 * products between rows, and columns tx, tx + 8, … (of four values) of what is summed. The 16 KiB of workgroup memory hold, in vectors,
 *
 *     rows × rows:     0 … 511 a piece of 8 columns of the resident rows, 512 … 767 of the streamed rows
 *     weights × rows:  0 … 511 the weights [64, 8 vectors], 512 … 767 and 768 … 1023 streamed rows, in turn
 *
 * Vectors of a row are permuted by exclusive-or with the row's number, so that invocations reading one column of 8 rows meet no bank twice.
 */

import { u32, type UniformValue } from "../../program.ts";

/** Resident rows of a workgroup. */
export const residentRows = 64;
/** Streamed rows of a step. */
export const streamedRows = 32;
/** Invocations of a workgroup. */
export const tileInvocations = 256;

/** Names that the entry point has to begin with. */
export const tileNames = `  let ty = lane >> 3u;
  let tx = lane & 7u;
  let twist = ty & 7u;
  let ownRow = ty * 8u;`;

/** The workgroup memory. */
export const tileMemory = "var<workgroup> tile: array<vec4<f32>, 1024>;";

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
/** Text made of one piece for each number below `count`. */
export const each = (count: number, piece: (index: number) => string): string => range(count).map(piece).join("\n");

/**
 * Declares `<result>0` and `<result>1`: products of the two resident rows with the four streamed rows of the invocation. The arguments
 * are WGSL expressions of the vector at `column` of resident row ty, of ty + 32, and of streamed row ty. Begins with a barrier.
 */
export function rowProducts(result: string, resident: readonly [string, string], streamed: string): string {
  const pairs = [0, 1].flatMap((i) => range(4).map((j) => [i, j] as const));
  return `  var ${result}0: vec4<f32>;
  var ${result}1: vec4<f32>;
  {
${pairs.map(([i, j]) => `    var sum${i}${j} = vec4<f32>();`).join("\n")}
    for (var chunk = 0u; chunk < uniforms.columns; chunk += 8u) {
      let column = chunk + tx;
      workgroupBarrier();
      tile[ownRow + (tx ^ twist)] = ${resident[0]};
      tile[256u + ownRow + (tx ^ twist)] = ${resident[1]};
      tile[512u + ((ty & 3u) * 8u + (ty >> 2u)) * 8u + (tx ^ (ty >> 2u))] = ${streamed};
      workgroupBarrier();
      let steps = min(8u, uniforms.columns - chunk);
      for (var step = 0u; step < steps; step++) {
        let a0 = tile[ownRow + (step ^ twist)];
        let a1 = tile[256u + ownRow + (step ^ twist)];
        let place = 512u + tx * 8u + (step ^ tx);
${each(4, (j) => `        let b${j} = tile[place + ${j * 64}u];`)}
${pairs.map(([i, j]) => `        sum${i}${j} += a${i} * b${j};`).join("\n")}
      }
    }
${[0, 1].map((i) => `    ${result}${i} = vec4<f32>(${range(4).map((j) => `sumOf(sum${i}${j})`)});`).join("\n")}
  }`;
}

/** Vectors of a row that a workgroup sums up at once, a power of two from 16 to `limit` that holds a row, if one does. */
export function summedColumns(headDim: number, limit: number): number {
  let columns = 16;
  while (4 * columns < headDim && columns < limit) columns *= 2;
  return columns;
}

/** Workgroups that share the columns of one tile. */
export function columnBlocks(headDim: number, columns: number): number {
  return Math.max(1, Math.ceil(headDim / (4 * columns)));
}

/**
 * Trip counts as uniforms. As numbers in the text they would have software adapters unroll loops of barriers and of loads from workgroup
 * memory, which they then compile for many seconds.
 */
export function tripCounts(columns: number): Record<string, UniformValue> {
  const rows = tileInvocations / columns;
  return { stages: u32(streamedRows / rows), parts: u32(rows / 4), sharers: u32(8) };
}

/** Variables of `addWeightedRows`. */
export function declareSums(name: string, columns: number): string {
  return each(columns / 8, (n) => `  var ${name}0_${n} = vec4<f32>();\n  var ${name}1_${n} = vec4<f32>();`);
}

/**
 * Adds Σ_j weight[row, j] * streamed row j to the sums of the resident rows. `weights` are the names of the invocation's two vectors of
 * weights, `load` the vector at column `column` of streamed row `row` (0 … 31). Nobody may be reading vectors 0 … 767 when it begins; at
 * its end, somebody may be reading any. `guarded` names a uniform bool: where true, a weight of 0 leaves out even NaN.
 */
export function addWeightedRows(name: string, weights: readonly [string, string], load: string, columns: number, guarded?: string): string {
  const rows = tileInvocations / columns;
  const stage = (number: string, buffer: string): string => `    {
      let row = ${number} * ${rows}u + lane / ${columns}u;
      let column = columnStart + lane % ${columns}u;
      tile[${buffer} + lane] = ${load};
    }`;
  const products = (guard: boolean): string => `      for (var part = 0u; part < uniforms.parts; part++) {
        let place = (stage * ${rows / 4}u + part) ^ twist;
        let w0 = tile[ownRow + place];
        let w1 = tile[256u + ownRow + place];
        for (var j = 0u; j < 4u; j++) {
          let first = source + (part * 4u + j) * ${columns}u + tx;
${each(columns / 8, (n) => {
  const add = (i: number): string =>
    `${name}${i}_${n} += ${guard ? `select(w${i}[j] * v, vec4<f32>(), w${i}[j] == 0.0)` : `w${i}[j] * v`};`;
  return `          { let v = tile[first + ${8 * n}u]; ${add(0)} ${add(1)} }`;
})}
        }
      }`;
  const either = (condition: string): string => `      if (${condition}) {\n${products(true)}\n      } else {\n${products(false)}\n      }`;
  const body = guarded === undefined ? products(false) : either(guarded);
  return `  {
    tile[ownRow + (tx ^ twist)] = ${weights[0]};
    tile[256u + ownRow + (tx ^ twist)] = ${weights[1]};
${stage("0u", "512u")}
    for (var stage = 0u; stage < uniforms.stages; stage++) {
      workgroupBarrier();
      let source = 512u + (stage & 1u) * 256u;
      if (stage + 1u < uniforms.stages) {
${stage("(stage + 1u)", "(1280u - source)")}
      }
${body}
    }
  }`;
}

/** Stores the sums of both resident rows times factors, at bases `base0` and `base1`, if `valid0` and `valid1`. */
export function storeSums(name: string, output: string, columns: number, factors: readonly [string, string]): string {
  return [0, 1]
    .map(
      (i) => `  if (valid${i}) {
    let base = ${output}Base${i};
${each(columns / 8, (n) => `    ${output}Store(base, columnStart + tx + ${8 * n}u, ${name}${i}_${n} * ${factors[i]});`)}
  }`,
    )
    .join("\n");
}
