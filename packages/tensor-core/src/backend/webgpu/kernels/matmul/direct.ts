/**
 * Products without workgroup memory: each invocation computes four columns of one or four rows by itself. On adapters that run on the CPU,
 * where barriers are expensive and long shaders take seconds to compile, this is several times as fast as tiles. Operands that cannot be
 * read as vectors are read element by element, in a loop as short as it gets.
 */
import { entryPoint, u32, workgroupGrid } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { activationSource, destinationBindings, destinationUniforms, isActivated, storeQuadSource, type Destination } from "./epilogue.ts";
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
  rowsOrScattered,
  type OperandLayout,
} from "./operand.ts";
import type { MatmulProblem } from "./problem.ts";
import { workOf } from "./work.ts";

const workgroupSize = 64;

/** How to compute a product without workgroup memory. */
export interface DirectPlan {
  readonly kind: "direct";
  /** Rows of an invocation. */
  readonly rows: 1 | 4;
  readonly splits: 1;
}

/** Launches a product. */
export function launchDirect(
  runtime: WebGpuRuntime,
  problem: MatmulProblem,
  layouts: { readonly a: OperandLayout; readonly b: OperandLayout },
  plan: DirectPlan,
  destination: Destination,
): void {
  const { m, n, k, a, b, batchSizes } = problem;
  const aWanted = plan.rows === 1 ? rowsOrScattered(layouts.a) : layouts.a;
  const byElement = aWanted.access === "scattered" || layouts.b.access === "scattered";
  const aLayout = byElement ? scattered(layouts.a) : aWanted;
  const bLayout = byElement ? scattered(layouts.b) : layouts.b;
  const rows = byElement ? 1 : plan.rows;
  const batches = batchSizes[0] * batchSizes[1] * batchSizes[2];
  const across = Math.ceil(n / 4);
  const down = Math.ceil(m / rows);
  const activated = isActivated(destination);
  runtime.launch({
    name: "matmul direct",
    variant: [rows, layoutName(aLayout), layoutName(bLayout), activated ? "activation" : ""].join(" "),
    bindings: {
      ...operandBindings("a", a, aLayout),
      ...operandBindings("b", b, bLayout),
      ...destinationBindings(destination, a.view),
    },
    uniforms: {
      m: u32(m),
      n: u32(n),
      k: u32(k),
      across: u32(across),
      down: u32(down),
      batches: u32(batches),
      ...batchUniforms(batchSizes),
      ...operandUniforms("a", a, aLayout),
      ...operandUniforms("b", b, bLayout),
      ...destinationUniforms(destination),
    },
    workgroups: workgroupGrid(Math.ceil((across * down * batches) / workgroupSize)),
    work: workOf(problem, destination, plan.splits),
    enables: operandEnables(aLayout, bLayout),
    code: () => directSource(rows, aLayout, bLayout, activated),
  });
}

const scattered = (layout: OperandLayout): OperandLayout => ({ ...layout, access: "scattered" });

function directSource(rows: 1 | 4, a: OperandLayout, b: OperandLayout, activated: boolean): string {
  const activation = `  for (var row = firstRow; row < min(firstRow + ${rows}u, uniforms.m); row++) {
    for (var c = column; c < min(column + 4u, uniforms.n); c++) {
      let place = outputStart + row * uniforms.n + c;
      output[place] = activate(output[place]);
    }
  }`;
  const byElement = a.access === "scattered";
  const rowLoop = byElement
    ? "    sums += aElement(aStart, firstRow, k) * bAlongTile(bStart, column, k);"
    : `    let valid = vec4<u32>(k, k + 1u, k + 2u, k + 3u) < vec4<u32>(uniforms.k);
    sums += bBlock(bStart, column, k, uniforms.k) * select(vec4<f32>(), aAlongK(aStart, firstRow, k), valid);`;
  const loop =
    rows === 4 ? "    sums += bBlock(bStart, column, k, uniforms.k) * transpose(aBlock(aStart, firstRow, k, uniforms.k));" : rowLoop;
  return [
    batchSource,
    operandSource("a", a),
    rows === 4 ? blockSource("a", a) : "",
    operandSource("b", b),
    byElement ? "" : blockSource("b", b),
    storeQuadSource(false),
    activated ? activationSource() : "",
    entryPoint(
      workgroupSize,
      `  let batch = index / (uniforms.across * uniforms.down);
  if (batch >= uniforms.batches) { return; }
  let column = index % uniforms.across * 4u;
  let firstRow = index / uniforms.across % uniforms.down * ${rows}u;
  let aStart = ${batchStart("a")};
  let bStart = ${batchStart("b")};
  var sums = ${rows === 4 ? "mat4x4<f32>()" : "vec4<f32>()"};
  for (var k = 0u; k < uniforms.k; k += ${byElement ? 1 : 4}u) {
${loop}
  }
  let outputStart = uniforms.outputOffset + batch * uniforms.m * uniforms.n;
${
  rows === 4
    ? [0, 1, 2, 3].map((r) => `  storeQuad(outputStart, firstRow + ${r}u, column, sums[${r}]);`).join("\n")
    : "  storeQuad(outputStart, firstRow, column, sums);"
}
${activated ? activation : ""}`,
    ),
  ].join("");
}
