/**
 * Products by the matrix units of a GPU, through the experimental WebGPU feature "chromium-experimental-subgroup-matrix". Off unless the user
 * asks for it (`webgpu({ subgroupMatrix: true })`), because products with a float16 matrix round the other operand to float16 as well, and
 * because the authors of this file had no adapter with the feature: the shader is known to be valid WGSL (Dawn), and to be right with the
 * feature's built-ins replaced by plain loops; on hardware it has never run. So it is tried against exact results on each device that asks
 * for it, before use: see `subgroup-matrix-trial.ts`.
 *
 * WGSL: https://github.com/gpuweb/gpuweb/blob/main/proposals/subgroup-matrix.md, with Dawn's `row_major` template arguments.
 */
import { entryPoint, u32, workgroupGrid, type KernelLaunch } from "../../program.ts";
import type { RuntimeLimits, WebGpuRuntime } from "../../runtime.ts";
import { activationSource, destinationBindings, destinationUniforms, epilogueSource, isActivated, type Destination } from "./epilogue.ts";
import {
  batchSource,
  batchStart,
  batchUniforms,
  blockSource,
  layoutName,
  operandBindings,
  operandEnables,
  operandSource,
  operandUniforms,
  type OperandLayout,
} from "./operand.ts";
import type { MatmulProblem, OperandFormat } from "./problem.ts";
import { workOf } from "./work.ts";

/** One shape that the units multiply at once: m × k by k × n, with float32 sums. */
export interface SubgroupMatrixUnit {
  /** Both operands are rounded to it. */
  readonly component: "f16" | "f32";
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Invocations of every subgroup. */
  readonly subgroupSize: number;
}

/** The unit for each component type, where there is one. */
export type SubgroupMatrixUnits = Readonly<Partial<Record<SubgroupMatrixUnit["component"], SubgroupMatrixUnit>>>;

/** How to compute a product by matrix units. */
export interface SubgroupMatrixPlan {
  readonly kind: "subgroupMatrix";
  readonly unit: SubgroupMatrixUnit;
  readonly splits: 1;
}

/** A configuration that an adapter lists (`GPUSubgroupMatrixConfig`). */
export interface SubgroupMatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** Rows and columns of the output that a workgroup computes, and those of each of its 2 × 2 subgroups. */
const tileSize = 64;
const partSize = 32;
const subgroups = 4;

/** Products with fewer rows or columns would leave most of a tile empty. */
export const leastMatrixSize: number = partSize;

/** Steps of k in workgroup memory at once: 64 bytes of each row. */
const stepOf = ({ component }: SubgroupMatrixUnit): number => (component === "f16" ? 32 : 16);

/** Rows are 16 bytes longer than what they hold, so that neighbours start in different banks. */
const paddingOf = ({ component }: SubgroupMatrixUnit): number => (component === "f16" ? 8 : 4);

function workgroupMemory(unit: SubgroupMatrixUnit): number {
  const [step, padding] = [stepOf(unit), paddingOf(unit)];
  const elements = tileSize * (step + padding) + step * (tileSize + padding);
  return elements * (unit.component === "f16" ? 2 : 4) + subgroups * unit.m * unit.n * 4;
}

/** Units that this kernel can use, the largest first. A subgroup size that varies between pipelines rules all out. */
export function usableUnits(
  configs: readonly SubgroupMatrixConfig[],
  subgroupSize: { readonly minimum: number; readonly maximum: number },
  limits: RuntimeLimits,
): SubgroupMatrixUnits {
  if (subgroupSize.minimum !== subgroupSize.maximum || subgroups * subgroupSize.maximum > limits.workgroupInvocations) return {};
  const units = configs.flatMap(({ componentType: component, resultComponentType, M: m, N: n, K: k }): SubgroupMatrixUnit[] => {
    if ((component !== "f16" && component !== "f32") || resultComponentType !== "f32") return [];
    const unit: SubgroupMatrixUnit = { component, m, n, k, subgroupSize: subgroupSize.maximum };
    const divides = [partSize / m, partSize / n, stepOf(unit) / k].every((count) => Number.isInteger(count));
    return divides && workgroupMemory(unit) <= limits.workgroupMemory ? [unit] : [];
  });
  const largest = (component: SubgroupMatrixUnit["component"]): SubgroupMatrixUnit | undefined =>
    units.filter((unit) => unit.component === component).toSorted((one, other) => other.m * other.n * other.k - one.m * one.n * one.k)[0];
  const [f16, f32] = [largest("f16"), largest("f32")];
  return { ...(f16 && { f16 }), ...(f32 && { f32 }) };
}

/** The unit for products with b in a format: what is not float16 keeps its precision. */
export function unitFor(format: OperandFormat, units: SubgroupMatrixUnits | undefined): SubgroupMatrixUnit | undefined {
  return units?.[format === "float16" ? "f16" : "f32"];
}

const unitsInUse = new WeakMap<WebGpuRuntime, SubgroupMatrixUnits>();

/** Units that products of this runtime use; undefined unless `useUnits` was called. */
export function unitsOf(runtime: WebGpuRuntime): SubgroupMatrixUnits | undefined {
  return unitsInUse.get(runtime);
}

/** Lets products of this runtime use units. */
export function useUnits(runtime: WebGpuRuntime, units: SubgroupMatrixUnits): void {
  unitsInUse.set(runtime, units);
}

/** What the shader says to the units, as WGSL: replaced in tests on adapters without them. */
export interface MatrixDialect {
  readonly name: string;
  readonly enables: NonNullable<KernelLaunch["enables"]>;
  /** More parameters of the entry point. */
  readonly parameters: string;
  /** The number of the subgroup in its workgroup. */
  subgroup(unit: SubgroupMatrixUnit): string;
  /** Types `Left`, `Right` and `Result`, over `tileA`, `tileB` and `results`, all in rows of these lengths. */
  declarations(unit: SubgroupMatrixUnit, strides: { readonly a: number; readonly b: number }): string;
  loadLeft(place: string): string;
  loadRight(place: string): string;
  multiplyAccumulate(left: string, right: string, sum: string): string;
  store(place: string, sum: string): string;
}

/** The feature itself. */
export const experimentalDialect: MatrixDialect = {
  name: "",
  enables: ["subgroups", "chromium_experimental_subgroup_matrix"],
  parameters: ", @builtin(subgroup_id) subgroupId: u32",
  subgroup: () => "subgroupId",
  declarations: ({ component, m, n, k }, strides) => `alias Left = subgroup_matrix_left<${component}, ${k}, ${m}>;
alias Right = subgroup_matrix_right<${component}, ${n}, ${k}>;
alias Result = subgroup_matrix_result<f32, ${n}, ${m}>;
const strideA = ${strides.a}u;
const strideB = ${strides.b}u;
const strideOfResults = ${n}u;
`,
  loadLeft: (place) => `subgroupMatrixLoad<Left, row_major>(&tileA, ${place}, strideA)`,
  loadRight: (place) => `subgroupMatrixLoad<Right, row_major>(&tileB, ${place}, strideB)`,
  multiplyAccumulate: (left, right, sum) => `subgroupMatrixMultiplyAccumulate(${left}, ${right}, ${sum})`,
  store: (place, sum) => `subgroupMatrixStore<row_major>(&results, ${place}, ${sum}, strideOfResults)`,
};

/** Launches a product. */
export function launchSubgroupMatrix(
  runtime: WebGpuRuntime,
  problem: MatmulProblem,
  layouts: { readonly a: OperandLayout; readonly b: OperandLayout },
  { unit, splits }: SubgroupMatrixPlan,
  destination: Destination,
  dialect: MatrixDialect = experimentalDialect,
): void {
  const { m, n, k, a, b, batchSizes } = problem;
  const batches = batchSizes[0] * batchSizes[1] * batchSizes[2];
  const tileRows = Math.ceil(m / tileSize);
  const tileColumns = Math.ceil(n / tileSize);
  const workgroups = tileRows * tileColumns * batches;
  const activated = isActivated(destination);
  const extensions = new Set([...operandEnables(layouts.a, layouts.b), ...(unit.component === "f16" ? (["f16"] as const) : []), ...dialect.enables]);
  runtime.launch({
    name: "matmul by subgroup matrices",
    variant: [
      `${unit.component} ${unit.m}x${unit.n}x${unit.k}/${unit.subgroupSize}`,
      layoutName(layouts.a),
      layoutName(layouts.b),
      activated ? "activation" : "",
      dialect.name,
    ].join(" "),
    bindings: { ...operandBindings("a", a, layouts.a), ...operandBindings("b", b, layouts.b), ...destinationBindings(destination, a.view) },
    uniforms: {
      m: u32(m),
      n: u32(n),
      k: u32(k),
      workgroups: u32(workgroups),
      tileRows: u32(tileRows),
      tileColumns: u32(tileColumns),
      ...batchUniforms(batchSizes),
      ...operandUniforms("a", a, layouts.a),
      ...operandUniforms("b", b, layouts.b),
      ...destinationUniforms(destination),
    },
    workgroups: workgroupGrid(workgroups),
    work: workOf(problem, destination, splits),
    enables: [...extensions],
    code: () => subgroupMatrixSource(unit, layouts.a, layouts.b, activated, dialect),
  });
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Copies one operand's part of a step of k to workgroup memory, as rows of a (a) or of k (b). */
function fill(operand: "a" | "b", layout: OperandLayout, unit: SubgroupMatrixUnit, stride: number): string {
  const quads = tileSize / 4;
  const steps = stepOf(unit) / 4;
  const [x, y] = layout.access === "alongTile" ? [`task % ${quads}u`, `task / ${quads}u`] : [`task / ${steps}u`, `task % ${steps}u`];
  const [target, place] =
    operand === "a"
      ? ["tileA", (r: number, c: number) => `(x + ${r}u) * ${stride}u + y + ${c}u`]
      : ["tileB", (r: number, c: number) => `(y + ${c}u) * ${stride}u + x + ${r}u`];
  const stores = range(4).flatMap((c) => range(4).map((r) => `      ${target}[${place(r, c)}] = ${unit.component}(block[${c}][${r}]);`));
  return `    for (var task = lane; task < ${quads * steps}u; task += ${subgroups * unit.subgroupSize}u) {
      let x = (${x}) * 4u;
      let y = (${y}) * 4u;
      let block = ${operand}Block(${operand}Start, ${operand}Tile + x, k + y, uniforms.k);
${stores.join("\n")}
    }`;
}

/** The shader for one unit and one pair of layouts. */
export function subgroupMatrixSource(
  unit: SubgroupMatrixUnit,
  a: OperandLayout,
  b: OperandLayout,
  activated: boolean,
  dialect: MatrixDialect = experimentalDialect,
): string {
  const { component, m, n, k, subgroupSize } = unit;
  const step = stepOf(unit);
  const strides = { a: step + paddingOf(unit), b: tileSize + paddingOf(unit) };
  const rows = range(partSize / m);
  const columns = range(partSize / n);
  const sums = rows.flatMap((i) => columns.map((j) => ({ i, j, name: `sum${i}_${j}` })));
  const multiply = range(step / k).flatMap((s) => [
    ...rows.map((i) => `let left${s}_${i} = ${dialect.loadLeft(`(partRow + ${i * m}u) * ${strides.a}u + ${s * k}u`)};`),
    ...columns.map((j) => `let right${s}_${j} = ${dialect.loadRight(`${s * k * strides.b}u + partColumn + ${j * n}u`)};`),
    ...sums.map(({ i, j, name }) => `${name} = ${dialect.multiplyAccumulate(`left${s}_${i}`, `right${s}_${j}`, name)};`),
  ]);
  return [
    `var<workgroup> tileA: array<${component}, ${tileSize * strides.a}>;
var<workgroup> tileB: array<${component}, ${step * strides.b}>;
var<workgroup> results: array<f32, ${subgroups * m * n}>;
`,
    dialect.declarations(unit, strides),
    batchSource,
    operandSource("a", a),
    blockSource("a", a),
    operandSource("b", b),
    blockSource("b", b),
    epilogueSource,
    activated ? activationSource() : "",
    // The results of one unit of each subgroup, at (row, column) of each subgroup's part of the tile.
    `fn storeResults(outputStart: u32, row: u32, column: u32, lane: u32) {
  for (var item = lane; item < ${subgroups * m * n}u; item += ${subgroups * subgroupSize}u) {
    let part = item / ${m * n}u;
    let outputRow = row + part / 2u * ${partSize}u + item % ${m * n}u / ${n}u;
    let outputColumn = column + part % 2u * ${partSize}u + item % ${n}u;
    if (outputRow < uniforms.m && outputColumn < uniforms.n) {
      let place = outputStart + outputRow * uniforms.n + outputColumn;
      let result = finish(results[item], place, outputColumn);
      output[place] = ${activated ? "activate(result)" : "result"};
    }
  }
}
`,
    entryPoint(
      subgroups * subgroupSize,
      `  if (workgroup >= uniforms.workgroups) { return; }
  let position = workgroup % (uniforms.tileRows * uniforms.tileColumns);
  let batch = workgroup / (uniforms.tileRows * uniforms.tileColumns);
  let aTile = position % uniforms.tileRows * ${tileSize}u;
  let bTile = position / uniforms.tileRows * ${tileSize}u;
  let aStart = ${batchStart("a")};
  let bStart = ${batchStart("b")};
  let subgroup = ${dialect.subgroup(unit)};
  let partRow = subgroup / 2u * ${partSize}u;
  let partColumn = subgroup % 2u * ${partSize}u;
${sums.map(({ name }) => `  var ${name}: Result;`).join("\n")}
  for (var k = 0u; k < uniforms.k; k += ${step}u) {
${fill("a", a, unit, strides.a)}
${fill("b", b, unit, strides.b)}
    workgroupBarrier();
${multiply.map((line) => `    ${line}`).join("\n")}
    workgroupBarrier();
  }
  let outputStart = uniforms.outputOffset + batch * uniforms.m * uniforms.n;
${sums
  .map(
    ({ i, j, name }) => `  ${dialect.store(`subgroup * ${m * n}u`, name)};
  workgroupBarrier();
  storeResults(outputStart, aTile + ${i * m}u, bTile + ${j * n}u, lane);
  workgroupBarrier();`,
  )
  .join("\n")}`,
      dialect.parameters,
    ),
  ].join("");
}
