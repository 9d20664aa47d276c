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
 *     rows × held rows: 0 … 511 the streamed rows, of up to 16 columns; the resident rows have another 16 KiB
 *
 * Vectors of a row are permuted by exclusive-or with the row's number, so that invocations reading one column of 8 rows meet no bank twice.
 */

import { tripCounts, type TripCounts } from "../../trip-counts.ts";

/** Resident rows of a workgroup. */
export const residentRows = 64;
/** Streamed rows of a step. */
export const streamedRows = 32;
/** Invocations of a workgroup. */
export const tileInvocations = 256;

/** Vectors of a row in `heldMemory`, and columns of a piece elsewhere. */
const heldColumns = 16;
const pieceColumns = 8;

/** Names that the entry point has to begin with. */
export const tileNames = `  let ty = lane >> 3u;
  let tx = lane & 7u;
  let twist = ty & 7u;
  let ownRow = ty * 8u;`;

/** The workgroup memory. */
export const tileMemory = "var<workgroup> tile: array<vec4<f32>, 1024>;";
/** Another 16 KiB, for `heldRowProducts`. */
export const heldMemory: string = `var<workgroup> held: array<vec4<f32>, ${residentRows * heldColumns}>;`;

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
/** Text made of one piece for each number below `count`. */
export const each = (count: number, piece: (index: number) => string): string => range(count).map(piece).join("\n");

/**
 * Declares `<result>0` and `<result>1`: products of the two resident rows with the four streamed rows of the invocation. The arguments
 * are WGSL expressions of the vector at `column` of resident row ty, of ty + 32, and of streamed row ty. Begins with a barrier.
 */
export function rowProducts(result: string, resident: readonly [string, string], streamed: string, { isUnrolled }: TripCounts): string {
  // Columns past the end are zeros, so that a number in the text does as well as the uniform, which software compilers need.
  const steps = isUnrolled ? `const steps = ${pieceColumns}u;` : `let steps = min(${pieceColumns}u, uniforms.columns - chunk);`;
  return `  var ${result}0: vec4<f32>;
  var ${result}1: vec4<f32>;
  {
${declarePairs}
    for (var chunk = 0u; chunk < uniforms.columns; chunk += ${pieceColumns}u) {
      let column = chunk + tx;
      workgroupBarrier();
      tile[ownRow + (tx ^ twist)] = ${resident[0]};
      tile[256u + ownRow + (tx ^ twist)] = ${resident[1]};
      tile[512u + ((ty & 3u) * 8u + (ty >> 2u)) * 8u + (tx ^ (ty >> 2u))] = ${streamed};
      workgroupBarrier();
      ${steps}
      for (var step = 0u; step < steps; step++) {
        let a0 = tile[ownRow + (step ^ twist)];
        let a1 = tile[256u + ownRow + (step ^ twist)];
        let place = 512u + tx * 8u + (step ^ tx);
${each(4, (j) => `        let b${j} = tile[place + ${j * 64}u];`)}
${addPairs}
      }
    }
${sumPairs(result)}
  }`;
}

const pairs = [0, 1].flatMap((i) => range(4).map((j) => [i, j] as const));
const declarePairs = pairs.map(([i, j]) => `    var sum${i}${j} = vec4<f32>();`).join("\n");
const addPairs = pairs.map(([i, j]) => `        sum${i}${j} += a${i} * b${j};`).join("\n");
const sumPairs = (result: string): string =>
  each(2, (i) => `    ${result}${i} = vec4<f32>(${range(4).map((j) => `sumOf(sum${i}${j})`)});`);

/** Whether rows are short enough to be held. */
export function fitsHeldRows(headDim: number): boolean {
  return headDim <= 4 * heldColumns;
}

/** Brings the resident rows into `heldMemory`, once for all streamed rows. Expressions as in `rowProducts`. */
export function holdRows(resident: readonly [string, string]): string {
  return each(
    heldColumns / pieceColumns,
    (piece) => `  {
    let column = ${piece * pieceColumns}u + tx;
    let place = ty * ${heldColumns}u + ${piece * pieceColumns}u + (tx ^ twist);
    held[place] = ${resident[0]};
    held[${(residentRows / 2) * heldColumns}u + place] = ${resident[1]};
  }`,
  );
}

/**
 * As `rowProducts`, of the rows held: the streamed rows come whole into vectors 0 … 511, with two barriers however long they are. At its
 * end, others may be reading those.
 */
export function heldRowProducts(result: string, streamed: string): string {
  return `  var ${result}0: vec4<f32>;
  var ${result}1: vec4<f32>;
  {
${declarePairs}
    workgroupBarrier();
${each(
  heldColumns / pieceColumns,
  (piece) => `    {
      let column = ${piece * pieceColumns}u + tx;
      tile[((ty & 3u) * 8u + (ty >> 2u)) * ${heldColumns}u + ${piece * pieceColumns}u + (tx ^ (ty >> 2u))] = ${streamed};
    }`,
)}
    workgroupBarrier();
    for (var chunk = 0u; chunk < uniforms.columns; chunk += ${pieceColumns}u) {
      for (var step = 0u; step < ${pieceColumns}u; step++) {
        let ownPlace = ty * ${heldColumns}u + chunk + (step ^ twist);
        let a0 = held[ownPlace];
        let a1 = held[${(residentRows / 2) * heldColumns}u + ownPlace];
        let place = tx * ${heldColumns}u + chunk + (step ^ tx);
${each(4, (j) => `        let b${j} = tile[place + ${j * 8 * heldColumns}u];`)}
${addPairs}
      }
    }
${sumPairs(result)}
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

/** Trip counts of a kernel made of tiles: those of `addWeightedRows`, and the `sharers` of a row. */
export function tileTripCounts(isSoftware: boolean, columns: number): TripCounts {
  const rows = tileInvocations / columns;
  return tripCounts(isSoftware, { stages: streamedRows / rows, parts: rows / 4, sharers: 8 });
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
export function addWeightedRows(
  name: string,
  weights: readonly [string, string],
  load: string,
  columns: number,
  { isUnrolled }: TripCounts,
  guarded?: string,
): string {
  const rows = tileInvocations / columns;
  const stage = (number: string, buffer: string): string => `    {
      let row = ${number} * ${rows}u + lane / ${columns}u;
      let column = columnStart + lane % ${columns}u;
      tile[${buffer} + lane] = ${load};
    }`;
  const addRow = (j: string, guard: boolean): string => `          let first = source + (part * 4u + ${j}) * ${columns}u + tx;
${each(columns / 8, (n) => {
  const add = (i: number): string =>
    `${name}${i}_${n} += ${guard ? `select(w${i}[${j}] * v, vec4<f32>(), w${i}[${j}] == 0.0)` : `w${i}[${j}] * v`};`;
  return `          { let v = tile[first + ${8 * n}u]; ${add(0)} ${add(1)} }`;
})}`;
  const addRows = (guard: boolean): string =>
    isUnrolled
      ? each(4, (j) => `        {\n${addRow(`${j}u`, guard)}\n        }`)
      : `        for (var j = 0u; j < 4u; j++) {\n${addRow("j", guard)}\n        }`;
  const products = (guard: boolean): string => `      for (var part = 0u; part < parts; part++) {
        let place = (stage * ${rows / 4}u + part) ^ twist;
        let w0 = tile[ownRow + place];
        let w1 = tile[256u + ownRow + place];
${addRows(guard)}
      }`;
  const either = (condition: string): string => `      if (${condition}) {\n${products(true)}\n      } else {\n${products(false)}\n      }`;
  const body = guarded === undefined ? products(false) : either(guarded);
  return `  {
    tile[ownRow + (tx ^ twist)] = ${weights[0]};
    tile[256u + ownRow + (tx ^ twist)] = ${weights[1]};
${stage("0u", "512u")}
    for (var stage = 0u; stage < stages; stage++) {
      workgroupBarrier();
      let source = 512u + (stage & 1u) * 256u;
      if (stage + 1u < stages) {
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
