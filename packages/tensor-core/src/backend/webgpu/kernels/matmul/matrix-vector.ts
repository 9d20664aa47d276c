/**
 * Products of a matrix with a few vectors: every element of the matrix is read once for each 8 of them, and reading it is what the time goes
 * to. The matrix is b and the vectors are the rows of a, or the other way round. Where there are more than 8 vectors, the workgroups that
 * read the same part of the matrix are neighbours, so that all but one find it in the cache.
 *
 * "rows": k is contiguous. Lanes share the k of four rows, in a fixed number of lanes for each four; their sums meet in workgroup memory, or
 * first within subgroups.
 * "columns": the tile axis is contiguous. Lanes take four columns each, slices of lanes share k.
 */
import { entryPoint, u32, workgroupGrid } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { activationSource, destinationBindings, destinationUniforms, epilogueSource, isActivated, type Destination } from "./epilogue.ts";
import {
  batchSource,
  batchStart,
  batchUniforms,
  bindOperand,
  groupSource,
  isOperandAligned,
  layoutName,
  operandBindings,
  operandEnables,
  operandSource,
  operandUniforms,
  quantizedBindings,
  rowsOrScattered,
  type OperandLayout,
} from "./operand.ts";
import type { MatmulProblem, Operand } from "./problem.ts";
import { workOf } from "./work.ts";

/** Invocations of a workgroup: 8 vectors then need no more than 16 KiB. */
export const matrixVectorInvocations = 128;

/** Most vectors that a workgroup takes. */
export const maximumVectors = 8;

/** Fewest invocations of a subgroup, by the WebGPU standard. */
const smallestSubgroup = 4;

/** How to compute a product with few rows (or columns). */
export interface MatrixVectorPlan {
  readonly kind: "matrixVector";
  /** Which operand is the matrix. */
  readonly matrix: "a" | "b";
  /** Which axis of the matrix lanes run along. */
  readonly orientation: "rows" | "columns";
  /** Sums an invocation keeps for each element of the matrix. */
  readonly vectors: 1 | 2 | 4 | 8;
  /** Workgroups that read the same part of the matrix, for `vectors` vectors each. */
  readonly vectorBlocks: number;
  /** rows: lanes that share four rows. columns: lanes side by side. A power of two from 4 to 128. */
  readonly lanes: number;
  /** Quantised rows by 16 bytes at a time. */
  readonly wide: boolean;
  /** rows: sums meet within subgroups first, whatever their size, and only then in workgroup memory. */
  readonly subgroups: boolean;
  /** Parts of k that workgroups of their own sum up. */
  readonly splits: number;
}

/** Elements of a row that a lane loads at once. */
export function chunkLength(format: Operand["format"], orientation: "rows" | "columns", wide: boolean): number {
  if (orientation === "columns") return 4;
  if (wide) return format === "int8" ? 16 : 32;
  return format === "float16" ? 8 : 4;
}

/** Whether the rows of a quantised matrix can be read 16 bytes at a time, each within one group. */
export function hasWideRows(operand: Operand, k: number): boolean {
  if (operand.quantized === undefined) return false;
  const elements = operand.format === "int8" ? 16 : 32;
  return k % elements === 0 && operand.quantized.groupSize % elements === 0 && isOperandAligned(operand, "k", elements);
}

/** k of each split: a multiple of what one turn of all lanes takes. */
export function vectorSplitLength(k: number, plan: MatrixVectorPlan, format: Operand["format"]): number {
  const along = plan.orientation === "rows" ? plan.lanes : matrixVectorInvocations / plan.lanes;
  const step = along * chunkLength(format, plan.orientation, plan.wide);
  return Math.max(step, Math.ceil(k / plan.splits / step) * step);
}

/** Launches a product; `destination` holds `splits` outputs one after the other. */
export function launchMatrixVector(
  runtime: WebGpuRuntime,
  problem: MatmulProblem,
  layouts: { readonly a: OperandLayout; readonly b: OperandLayout },
  plan: MatrixVectorPlan,
  destination: Destination,
): void {
  const { m, n, k, batchSizes } = problem;
  const isRight = plan.matrix === "b";
  const [matrix, vector] = isRight ? [problem.b, problem.a] : [problem.a, problem.b];
  const matrixLayout = isRight ? layouts.b : layouts.a;
  const vectorLayout = rowsOrScattered(isRight ? layouts.a : layouts.b);
  const columnsOfWorkgroup = plan.orientation === "rows" ? matrixVectorInvocations / plan.lanes : plan.lanes;
  const batches = batchSizes[0] * batchSizes[1] * batchSizes[2];
  const blocks = Math.ceil(matrix.tileSize / (4 * columnsOfWorkgroup));
  const workgroups = plan.vectorBlocks * blocks * batches * plan.splits;
  const activated = isActivated(destination);
  const wideUnit = matrix.format === "int8" ? 16 : 32;
  runtime.launch({
    name: `matmul by ${plan.orientation}`,
    variant: [
      layoutName(matrixLayout),
      layoutName(vectorLayout),
      plan.vectors,
      plan.wide ? "wide" : "",
      plan.subgroups ? "subgroups" : "",
      activated ? "activation" : "",
    ].join(" "),
    bindings: {
      ...(plan.wide
        ? { matrix: bindOperand(matrix, "vec4<u32>", wideUnit), ...quantizedBindings(matrix.quantized) }
        : operandBindings("matrix", matrix, matrixLayout)),
      ...operandBindings("vectors", vector, vectorLayout),
      ...destinationBindings(destination, problem.a.view),
    },
    uniforms: {
      k: u32(k),
      workgroups: u32(workgroups),
      batches: u32(batches),
      blocks: u32(blocks),
      vectorBlocks: u32(plan.vectorBlocks),
      lanes: u32(plan.lanes),
      splitLength: u32(vectorSplitLength(k, plan, matrix.format)),
      outputSize: u32(m * n),
      outputMatrixStride: u32(isRight ? 1 : n),
      outputVectorStride: u32(isRight ? n : 1),
      biasMatrixStride: u32(isRight ? 1 : 0),
      biasVectorStride: u32(isRight ? 0 : 1),
      ...batchUniforms(batchSizes),
      ...operandUniforms("matrix", matrix, matrixLayout, plan.wide ? wideUnit : undefined),
      ...operandUniforms("vectors", vector, vectorLayout),
      ...destinationUniforms(destination),
    },
    workgroups: workgroupGrid(workgroups),
    work: workOf(problem, destination, plan.splits),
    enables: [...operandEnables(matrixLayout, vectorLayout), ...(plan.subgroups ? (["subgroups"] as const) : [])],
    code: () => matrixVectorSource(matrixLayout, vectorLayout, plan, activated),
  });
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const zero = "vec4<f32>()";

/** Sums of a lane in the orientation "rows": component r of `sum<v>` is row r times vector v. */
function rowsLoop(matrix: OperandLayout, { vectors, wide }: MatrixVectorPlan): string {
  if (wide) return wideRowsLoop(matrix, vectors);
  const chunk = chunkLength(matrix.format, "rows", false);
  const quads = range(chunk / 4);
  return `  for (var k = kStart + part * ${chunk}u; k < kEnd; k += uniforms.lanes * ${chunk}u) {
${quads
  .map(
    (q) => `    let k${q} = k + ${4 * q}u;
    let valid${q} = vec4<u32>(k${q}, k${q} + 1u, k${q} + 2u, k${q} + 3u) < vec4<u32>(kEnd);
${range(4)
  .map((r) => `    let row${q}_${r} = select(${zero}, matrixAlongK(matrixStart, first + ${r}u, k${q}), valid${q});`)
  .join("\n")}
${range(vectors)
  .map(
    (v) => `    let vector${q}_${v} = select(${zero}, vectorsAlongK(vectorsStart, firstVector + ${v}u, k${q}), valid${q});
    sum${v} += vec4<f32>(${range(4)
      .map((r) => `dot(row${q}_${r}, vector${q}_${v})`)
      .join(", ")});`,
  )
  .join("\n")}`,
  )
  .join("\n")}
  }`;
}

/**
 * Quantised rows, 16 bytes of each at a time. Small integers become floats by their bits: 2^23 + q has q as its lowest bits, and the
 * difference to 2^23 is exact. That is two cheap instructions where conversions run at a fraction of the speed on many GPUs.
 */
function wideRowsLoop({ format, minimums }: OperandLayout, vectors: number): string {
  const chunk = format === "int8" ? 16 : 32;
  const quads = range(chunk / 4);
  // Signed bytes are shifted to 0 … 255 by flipping the sign bit.
  const quad = (r: number, q: number): string =>
    format === "int8"
      ? `bitcast<vec4<f32>>(((vec4<u32>(words${r}[${q}] ^ 0x80808080u) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u)) | vec4<u32>(0x4b000000u)) - vec4<f32>(8388736.0)`
      : `bitcast<vec4<f32>>(((vec4<u32>(words${r}[${q >> 1}]) >> vec4<u32>(${range(4)
          .map((i) => `${(q % 2) * 16 + 4 * i}u`)
          .join(", ")})) & vec4<u32>(15u)) | vec4<u32>(0x4b000000u)) - vec4<f32>(8388608.0)`;
  return `  for (var k = kStart + part * ${chunk}u; k < kEnd; k += uniforms.lanes * ${chunk}u) {
${range(4)
  .map(
    (r) => `    let row${r} = min(first + ${r}u, uniforms.matrixTiles - 1u);
    let words${r} = matrix[matrixStart + row${r} * uniforms.matrixTileStride + k / ${chunk}u];`,
  )
  .join("\n")}
    let column = groupColumn(k);
    let scale = vec4<f32>(${range(4)
      .map((r) => `scaleOf(row${r}, column)`)
      .join(", ")});
${minimums ? `    let minimum = vec4<f32>(${range(4).map((r) => `minimumOf(row${r}, column)`).join(", ")});` : ""}
${range(vectors)
  .map((v) => `    var part${v} = ${zero};${minimums ? ` var total${v} = 0.0;` : ""}`)
  .join("\n")}
${quads
  .map(
    (q) => `${range(4)
      .map((r) => `    let quants${q}_${r} = ${quad(r, q)};`)
      .join("\n")}
${range(vectors)
  .map(
    (v) => `    let vector${q}_${v} = vectorsAlongK(vectorsStart, firstVector + ${v}u, k + ${4 * q}u);
    part${v} += vec4<f32>(${range(4)
      .map((r) => `dot(quants${q}_${r}, vector${q}_${v})`)
      .join(", ")});
    ${minimums ? `total${v} += dot(vector${q}_${v}, vec4<f32>(1.0));` : ""}`,
  )
  .join("\n")}`,
  )
  .join("\n")}
${range(vectors)
  .map((v) => `    sum${v} += scale * part${v}${minimums ? ` + minimum * total${v}` : ""};`)
  .join("\n")}
  }`;
}

/** Sums of a lane in the orientation "columns": component c of `sum<v>` is column c times vector v. */
function columnsLoop({ vectors }: MatrixVectorPlan): string {
  return `  for (var k = kStart + part * 4u; k < kEnd; k += slices * 4u) {
    let valid = vec4<u32>(k, k + 1u, k + 2u, k + 3u) < vec4<u32>(kEnd);
${range(4)
  .map((i) => `    let row${i} = select(${zero}, matrixAlongTile(matrixStart, first, k + ${i}u), valid.${"xyzw"[i]!});`)
  .join("\n")}
${range(vectors)
  .map(
    (v) => `    let vector${v} = select(${zero}, vectorsAlongK(vectorsStart, firstVector + ${v}u, k), valid);
    sum${v} += vector${v}.x * row0 + vector${v}.y * row1 + vector${v}.z * row2 + vector${v}.w * row3;`,
  )
  .join("\n")}
  }`;
}

/**
 * What remains to be added up of the sums of all lanes: after `reduce`, sums[v] of a quad are the vectors at `place(v, quad, j)` of
 * workgroup memory, j < `remaining`.
 */
interface Reduction {
  /** Vectors of workgroup memory. */
  readonly memory: number;
  readonly reduce: string;
  readonly remaining: string;
  place(v: string, quad: string, j: string): string;
}

/** Steps of a tree in workgroup memory, until few enough vectors remain that one lane adds them as fast as the next barriers pass. */
function treeReduction(vectors: number, isRows: boolean): Reduction {
  const lanes = matrixVectorInvocations;
  const remaining = isRows ? "min(uniforms.lanes, 8u)" : "4u";
  return {
    memory: vectors * lanes,
    reduce: `${range(vectors)
      .map((v) => `  partial[${v * lanes}u + lane] = sum${v};`)
      .join("\n")}
  workgroupBarrier();
  let remaining = ${remaining};
  for (var distance = ${isRows ? "uniforms.lanes" : `${lanes}u`} / 2u; distance >= ${isRows ? "remaining" : "remaining * uniforms.lanes"}; distance /= 2u) {
    if (${isRows ? "part" : "lane"} < distance) {
      for (var place = lane; place < ${vectors * lanes}u; place += ${lanes}u) { partial[place] += partial[place + distance]; }
    }
    workgroupBarrier();
  }`,
    remaining: "remaining",
    place: (v, quad, j) =>
      isRows ? `${v} * ${lanes}u + ${quad} * uniforms.lanes + ${j}` : `${v} * ${lanes}u + ${j} * uniforms.lanes + ${quad}`,
  };
}

/** Shuffles within each subgroup (or the part of it that shares rows), then one barrier. */
function subgroupReduction(vectors: number): Reduction {
  const most = matrixVectorInvocations / smallestSubgroup;
  return {
    memory: vectors * most,
    reduce: `  let width = min(uniforms.lanes, subgroupSize);
  for (var distance = width / 2u; distance > 0u; distance /= 2u) {
${range(vectors)
  .map((v) => `    sum${v} += subgroupShuffleXor(sum${v}, distance);`)
  .join("\n")}
  }
  if (part % width == 0u) {
${range(vectors)
  .map((v) => `    partial[${v * most}u + lane / width] = sum${v};`)
  .join("\n")}
  }
  workgroupBarrier();
  let remaining = uniforms.lanes / width;`,
    remaining: "remaining",
    place: (v, quad, j) => `${v} * ${most}u + ${quad} * remaining + ${j}`,
  };
}

/** The shader of one plan and one pair of layouts. */
export function matrixVectorSource(matrix: OperandLayout, vector: OperandLayout, plan: MatrixVectorPlan, activated: boolean): string {
  const { vectors, orientation, wide, subgroups } = plan;
  const isRows = orientation === "rows";
  const lanes = matrixVectorInvocations;
  const sums = range(vectors);
  const { memory, reduce, remaining, place } = subgroups ? subgroupReduction(vectors) : treeReduction(vectors, isRows);
  return [
    `var<workgroup> partial: array<vec4<f32>, ${memory}>;
`,
    batchSource,
    wide ? groupSource(matrix.minimums) : operandSource("matrix", matrix),
    // Only b can be anything but float32, so the two declare no function twice.
    operandSource("vectors", vector),
    epilogueSource,
    activated ? activationSource() : "",
    entryPoint(
      lanes,
      `  if (workgroup >= uniforms.workgroups) { return; }
  let firstVector = workgroup % uniforms.vectorBlocks * ${vectors}u;
  let outer = workgroup / uniforms.vectorBlocks;
  let block = outer % uniforms.blocks;
  let batch = (outer / uniforms.blocks) % uniforms.batches;
  let split = outer / (uniforms.blocks * uniforms.batches);
  let slices = ${lanes}u / uniforms.lanes;
  // Each quad of rows or columns of the matrix has ${isRows ? "the lanes side by side" : "one lane in each slice"}.
  let quads = ${isRows ? "slices" : "uniforms.lanes"};
  let part = lane ${isRows ? "%" : "/"} uniforms.lanes;
  let first = (block * quads + lane ${isRows ? "/" : "%"} uniforms.lanes) * 4u;
  let matrixStart = ${batchStart("matrix")};
  let vectorsStart = ${batchStart("vectors")};
  let kStart = split * uniforms.splitLength;
  let kEnd = min(kStart + uniforms.splitLength, uniforms.k);
${sums.map((v) => `  var sum${v} = ${zero};`).join("\n")}
${isRows ? rowsLoop(matrix, plan) : columnsLoop(plan)}
${reduce}
  let outputStart = uniforms.outputOffset + (split * uniforms.batches + batch) * uniforms.outputSize;
  for (var item = lane; item < ${vectors}u * quads; item += ${lanes}u) {
    let v = item / quads;
    let quad = item % quads;
    var sums = partial[${place("v", "quad", "0u")}];
    for (var j = 1u; j < ${remaining}; j++) { sums += partial[${place("v", "quad", "j")}]; }
    let row = firstVector + v;
    for (var i = 0u; i < 4u; i++) {
      let index = (block * quads + quad) * 4u + i;
      if (row >= uniforms.vectorsTiles || index >= uniforms.matrixTiles) { continue; }
      let place = outputStart + row * uniforms.outputVectorStride + index * uniforms.outputMatrixStride;
      let result = finish(sums[i], place, row * uniforms.biasVectorStride + index * uniforms.biasMatrixStride);
      output[place] = ${activated ? "activate(result)" : "result"};
    }
  }`,
      subgroups ? ", @builtin(subgroup_size) subgroupSize: u32" : "",
    ),
  ].join("");
}
