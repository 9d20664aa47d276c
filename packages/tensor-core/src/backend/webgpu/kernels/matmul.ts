import type { Kernels, KernelArguments } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { chooseMatmul, layoutOf, shapeOf, type MatmulLayout, type MatmulMachine, type MatmulPlan } from "./matmul/choose.ts";
import { launchDirect } from "./matmul/direct.ts";
import { sumSplits, type Destination } from "./matmul/epilogue.ts";
import { launchMatrixVector } from "./matmul/matrix-vector.ts";
import { matmulProblems, type MatmulProblem } from "./matmul/problem.ts";
import { launchSubgroupMatrix, unitsOf } from "./matmul/subgroup-matrix.ts";
import { launchTiled } from "./matmul/tiled.ts";
import { tunedTilesOf } from "./matmul/tuned-tiles.ts";

/** Matrix products: tiles in workgroup memory, or one pass over the matrix where there are few vectors. */
export function matmulKernels(runtime: WebGpuRuntime): Pick<Kernels, "matmul"> {
  return {
    matmul(call) {
      runMatmul(runtime, call);
    },
  };
}

/** Computes a product, by a plan of the caller's where `plan` gives one. */
export function runMatmul(
  runtime: WebGpuRuntime,
  call: KernelArguments["matmul"],
  plan: (problem: MatmulProblem, layout: MatmulLayout) => MatmulPlan = (problem, layout) =>
    chooseMatmul(shapeOf(problem), layout, machineOf(runtime), tunedTilesOf(runtime)),
): void {
  for (const problem of matmulProblems(call)) {
    const layout = layoutOf(problem, runtime.features);
    launch(runtime, problem, layout, plan(problem, layout));
  }
}

/** What the choice of kernels needs to know of an adapter. */
export function machineOf(runtime: WebGpuRuntime): MatmulMachine {
  const { features, limits } = runtime;
  return {
    limits,
    isSoftware: runtime.isSoftware,
    subgroups: features.subgroups,
    subgroupMatrix: unitsOf(runtime),
  };
}

function launch(runtime: WebGpuRuntime, problem: MatmulProblem, layout: MatmulLayout, plan: MatmulPlan): void {
  const launchPart = (destination: Destination): void => {
    if (plan.kind === "tiled") launchTiled(runtime, problem, layout, plan, destination);
    else if (plan.kind === "matrixVector") launchMatrixVector(runtime, problem, layout, plan, destination);
    else if (plan.kind === "subgroupMatrix") launchSubgroupMatrix(runtime, problem, layout, plan, destination);
    else launchDirect(runtime, problem, layout, plan, destination);
  };
  if (plan.splits === 1) {
    launchPart({ view: problem.output, epilogue: problem });
    return;
  }
  const parts = runtime.temporary("float32", [plan.splits, ...problem.output.shape]);
  launchPart({ view: parts, epilogue: undefined });
  sumSplits(runtime, parts, plan.splits, problem);
  runtime.release(parts);
}
