import { sizeOf } from "../../../../tensor/shape.ts";
import type { TensorView } from "../../../backend.ts";
import type { WebGpuBuffer } from "../../buffers.ts";
import { entryPoint, f32, u32, workgroupGrid, write, type KernelBinding, type UniformValue } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { componentsOf, type Combiner, type ReductionSource } from "./combiners.ts";
import { countOf, planReduction, reductionRuns, reductionWorkgroup, type ReductionPlan, type Run } from "./reduction-plan.ts";

/**
 * Combines the elements of `input` along `axes` into `output` (contiguous). One launch where that keeps the device busy; else parts of
 * what is reduced give partial results [parts, outputs], which a second launch combines.
 */
export function reduceAxes(
  runtime: WebGpuRuntime,
  combiner: Combiner,
  input: TensorView,
  axes: readonly number[],
  output: TensorView,
): void {
  const runs = reductionRuns(input, axes);
  const outputs = sizeOf(output.shape);
  if (outputs === 0) return;
  const count = countOf(runs.reduced);
  const plan = planReduction(runs, combiner.elements.tensor.four !== undefined, true);
  if (plan.splits === 1) {
    launchReduction(runtime, combiner, "tensor", input, plan, output, "result", count);
    return;
  }
  const isPair = combiner.elements.partial.one === "vec2<u32>";
  const partial = runtime.temporary("int32", isPair ? [plan.splits, outputs, 2] : [plan.splits, outputs]);
  launchReduction(runtime, combiner, "tensor", input, plan, partial, "partial", count);
  const parts = { kept: [{ size: outputs, stride: 1 }], reduced: [{ size: plan.splits, stride: outputs }], offset: 0 };
  const packable = combiner.elements.partial.four !== undefined;
  launchReduction(runtime, combiner, "partial", partial, planReduction(withoutUnitRuns(parts), packable, false), output, "result", count);
  runtime.release(partial);
}

/** One output: the partial results lie side by side. */
function withoutUnitRuns(runs: { kept: Run[]; reduced: Run[]; offset: number }): { kept: Run[]; reduced: Run[]; offset: number } {
  return runs.kept[0]!.size > 1 ? runs : { ...runs, kept: [{ size: 1, stride: 0 }] };
}

function launchReduction(
  runtime: WebGpuRuntime,
  combiner: Combiner,
  source: ReductionSource,
  input: TensorView,
  plan: ReductionPlan,
  target: TensorView,
  role: "partial" | "result",
  count: number,
): void {
  const { packing, kept, reduced, keptUnits, reducedUnits, keptLanes, reducedLanes, keptStep, reducedStep, splits, chunk } = plan;
  const keptGroups = Math.ceil(keptUnits / keptLanes);
  const elements = combiner.elements[source];
  const sourceBinding: KernelBinding = {
    buffer: input.buffer as WebGpuBuffer,
    access: "read",
    type: packing === "none" ? elements.one : elements.four!,
    offset: plan.offset,
  };
  const uniforms: Record<string, UniformValue> = {
    keptGroups: u32(keptGroups),
    keptUnits: u32(keptUnits),
    keptLanes: u32(keptLanes),
    keptStep: u32(keptStep),
    reducedUnits: u32(reducedUnits),
    reducedLanes: u32(reducedLanes),
    reducedStep: u32(reducedStep),
    splits: u32(splits),
    chunk: u32(chunk),
    count: f32(count),
    ...runUniforms("kept", kept),
    ...runUniforms("reduced", reduced),
  };
  const targetType = role === "result" ? combiner.result : combiner.elements.partial.one;
  runtime.launch({
    name: `reduce ${combiner.name}`,
    variant: `${source} ${packing} ${kept.length} ${reduced.length} ${role}`,
    bindings: { source: sourceBinding, [role]: write(target, targetType) },
    uniforms,
    workgroups: workgroupGrid(keptGroups * splits),
    code: () => reductionCode(combiner, source, plan, role),
  });
}

function reductionCode(
  combiner: Combiner,
  source: ReductionSource,
  { packing, kept, reduced }: ReductionPlan,
  role: "partial" | "result",
): string {
  const components = componentsOf(packing);
  const base = role === "partial" ? `split * uniforms.keptUnits * ${components.length}u + ` : "";
  const store = role === "partial" ? "storePartial" : "storeResult";
  const stores = components.map(
    (component, i) => `    ${store}(${base}kept * ${components.length}u + ${i}u, ${combiner.storeArguments(component)});`,
  );
  // Four accumulators hide the time of a load behind others; blocks of 32 loads are added up apart, so that rounding errors stay small.
  return `${combiner.functions(source, packing)}
${role === "partial" ? combiner.storePartial : combiner.storeResult}
${placeFunction("kept", kept)}
${placeFunction("reduced", reduced)}
var<workgroup> totals: array<Value, ${reductionWorkgroup}>;
${entryPoint(
  reductionWorkgroup,
  `  let kept = (workgroup % uniforms.keptGroups) * uniforms.keptLanes + (lane / uniforms.keptStep) % uniforms.keptLanes;
  let split = workgroup / uniforms.keptGroups;
  let reducedLane = (lane / uniforms.reducedStep) % uniforms.reducedLanes;
  let taken = kept < uniforms.keptUnits && split < uniforms.splits;
  let lanes = uniforms.reducedLanes;
  var total = identity();
  if (taken) {
    let base = keptPlace(kept);
    let end = min((split + 1u) * uniforms.chunk, uniforms.reducedUnits);
    for (var start = split * uniforms.chunk + reducedLane; start < end; start += 32u * lanes) {
      let stop = min(end, start + 32u * lanes);
      var step = start;
      var a = identity();
      var b = identity();
      var c = identity();
      var d = identity();
      for (; step + 3u * lanes < stop; step += 4u * lanes) {
        a = combine(a, fetch(base + reducedPlace(step), step));
        b = combine(b, fetch(base + reducedPlace(step + lanes), step + lanes));
        c = combine(c, fetch(base + reducedPlace(step + 2u * lanes), step + 2u * lanes));
        d = combine(d, fetch(base + reducedPlace(step + 3u * lanes), step + 3u * lanes));
      }
      for (; step < stop; step += lanes) {
        a = combine(a, fetch(base + reducedPlace(step), step));
      }
      total = combine(total, combine(combine(a, b), combine(c, d)));
    }
  }
  totals[lane] = total;
  for (var distance = lanes / 2u; distance > 0u; distance /= 2u) {
    workgroupBarrier();
    if (reducedLane < distance) {
      total = combine(total, totals[lane + distance * uniforms.reducedStep]);
      totals[lane] = total;
    }
  }
  if (taken && reducedLane == 0u) {
${stores.join("\n")}
  }`,
)}`;
}

function runUniforms(name: string, runs: readonly Run[]): Record<string, UniformValue> {
  const uniforms: Record<string, UniformValue> = {};
  runs.forEach(({ size, stride }, i) => {
    if (i > 0) uniforms[`${name}Size${i}`] = u32(size);
    // Negative strides too: unsigned arithmetic wraps.
    uniforms[`${name}Stride${i}`] = u32(stride >>> 0);
  });
  return uniforms;
}

/** Declares `<name>Place(index)`: the distance of an index from the first element. */
function placeFunction(name: string, runs: readonly Run[]): string {
  const lines: string[] = [];
  for (let i = runs.length - 1; i > 0; i--) {
    lines.push(
      `  place += (rest % uniforms.${name}Size${i}) * uniforms.${name}Stride${i};`,
      `  rest /= uniforms.${name}Size${i};`,
    );
  }
  return `fn ${name}Place(index: u32) -> u32 {
  var rest = index;
  var place = 0u;
${lines.join("\n")}
  return place + rest * uniforms.${name}Stride0;
}`;
}
