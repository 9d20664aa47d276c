import type { TensorView } from "../../backend.ts";
import { entryPoint, read, u32, workgroupGrid, write, type KernelBinding } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import {
  callReduction,
  rowDeclarations,
  rowEntryPoint,
  rowExtensions,
  rowLayout,
  rowLoopEntryPoint,
  rowReduction,
  rowsPerWorkgroup,
  type RowLayout,
} from "../wgsl/row-reduction.ts";

/** Arguments of `layerNormGradient`, or without `mean` and `biasGradient` those of `rmsNormGradient`. */
export interface NormalizationGradient {
  readonly gradient: TensorView;
  readonly input: TensorView;
  readonly weight?: TensorView | undefined;
  readonly mean?: TensorView | undefined;
  readonly rstd: TensorView;
  readonly rows: number;
  readonly columns: number;
  readonly inputGradient: TensorView;
  readonly weightGradient?: TensorView | undefined;
  readonly biasGradient?: TensorView | undefined;
}

/** Values that an invocation keeps in registers to sum parameter gradients over the rows it sees. */
const mostAccumulators = 8;

/** Rows of a workgroup's sums: the more, the smaller the second launch; and workgroups that keep a large GPU busy. */
const rowsPerSum = 8;
const fewestWorkgroups = 128;
const mostWorkgroups = 512;

/** Name and summand of each parameter gradient; g, the gradient, and `normalized` are values of one place. */
const summands = { weight: "g * normalized", bias: "g" } as const;
type ParameterName = keyof typeof summands;
type ParameterViews = Partial<Record<ParameterName, TensorView>>;

/** The value x̂ of a place: `normalizedAt(place, row)`. */
function normalizedFunction(isCentred: boolean): string {
  const centred = isCentred ? " - Value(mean[uniforms.meanOffset + row])" : "";
  return `fn normalizedAt(place: u32, row: u32) -> Value {
  return (input[uniforms.inputOffset + place]${centred}) * rstd[uniforms.rstdOffset + row];
}`;
}

/**
 * Gradients of LayerNorm and RMSNorm. With x̂ the normalised row and h = g w: ∂L/∂x = rstd (h - mean(h) - x̂ mean(h x̂)), where RMSNorm
 * has no mean(h); ∂L/∂w = Σ_rows g x̂; ∂L/∂b = Σ_rows g. The sums over rows are taken in the same pass: workgroups walk over rows and
 * keep sums of the columns of each invocation; a second launch adds those of the workgroups, in a fixed order. Rows too long for the
 * registers need a second pass over gradient and input.
 */
export function normalizationGradient(runtime: WebGpuRuntime, settings: NormalizationGradient): void {
  const { gradient, input, weight, rows, columns, inputGradient, weightGradient, biasGradient } = settings;
  const parameters: ParameterViews = {
    ...(weightGradient && { weight: weightGradient }),
    ...(biasGradient && { bias: biasGradient }),
  };
  const names = Object.keys(parameters) as ParameterName[];
  const layout = rowLayout(rows, columns, [gradient, input, weight, inputGradient, weightGradient, biasGradient]);
  const vectors = columns / layout.width;
  const kept = 2 ** Math.ceil(Math.log2(Math.max(vectors / layout.lanes, 1)));
  if (names.length === 0 || rows === 0 || kept * names.length > mostAccumulators) {
    inputGradients(runtime, settings, layout, {}, undefined);
    if (names.length > 0) parameterGradients(runtime, settings, layout, parameters, undefined);
    return;
  }
  const workgroups = fusedWorkgroups(rows, layout);
  if (workgroups === 1) {
    inputGradients(runtime, settings, layout, parameters, { kept, workgroups });
    return;
  }
  const partials: ParameterViews = {};
  for (const name of names) partials[name] = runtime.temporary("float32", [workgroups, columns]);
  inputGradients(runtime, settings, layout, partials, { kept, workgroups });
  parameterGradients(runtime, settings, layout, parameters, { views: partials, workgroups });
  runtime.release(...Object.values(partials));
}

function fusedWorkgroups(rows: number, layout: RowLayout): number {
  const blocks = Math.ceil(rows / rowsPerWorkgroup(layout));
  return Math.min(blocks, mostWorkgroups, Math.max(fewestWorkgroups, Math.ceil(blocks / rowsPerSum)));
}

/** The launch for ∂L/∂x, and with `fused` sums over the rows of each workgroup: `sums` [workgroups, columns]. */
function inputGradients(
  runtime: WebGpuRuntime,
  { gradient, input, weight, mean, rstd, rows, inputGradient }: NormalizationGradient,
  layout: RowLayout,
  sums: ParameterViews,
  fused: { readonly kept: number; readonly workgroups: number } | undefined,
): void {
  if (rows === 0) return;
  const { lanes, type } = layout;
  const isCentred = mean !== undefined;
  const names = Object.keys(sums) as ParameterName[];
  const kept = Array.from({ length: fused?.kept ?? 0 }, (_, k) => k);
  const bindings: Record<string, KernelBinding> = { gradient: read(gradient, type), input: read(input, type) };
  if (weight !== undefined) bindings["weight"] = read(weight, type);
  if (mean !== undefined) bindings["mean"] = read(mean);
  bindings["rstd"] = read(rstd);
  bindings["inputGradient"] = write(inputGradient, type);
  for (const name of names) bindings[`${name}Sums`] = write(sums[name]!, type);

  const load = `let g = gradient[uniforms.gradientOffset + rowStart + c];
    let normalized = normalizedAt(rowStart + c, row);
    let scaled = g${weight === undefined ? "" : " * weight[uniforms.weightOffset + c]"};`;
  const summand = isCentred ? "vec2(sumOf(scaled), sumOf(scaled * normalized))" : "sumOf(scaled * normalized)";
  const sumType = isCentred ? "vec2<f32>" : "f32";
  const sumRow =
    fused === undefined
      ? `  for (var c = first; c < end; c += step) {
    ${load}
    total += ${summand};
  }
`
      : kept
          .map(
            (k) => `  if (first + ${k * lanes}u < end) {
    let c = first + ${k * lanes}u;
    ${load}
    total += ${summand};
${names.map((name) => `    ${name}Sum${k} += ${summands[name]};\n`).join("")}  }
`,
          )
          .join("");
  const value = isCentred ? "scaled - Value(average.x) - normalized * average.y" : "scaled - normalized * average";
  const body = `  var total = ${sumType}(0.0);
${sumRow}  let average = ${callReduction(runtime, "reduceTotals", "total")} / f32(uniforms.columns);
  for (var c = first; c < end; c += step) {
    ${load}
    inputGradient[uniforms.inputGradientOffset + rowStart + c] = (${value}) * rstd[uniforms.rstdOffset + row];
  }
`;
  const perWorkgroup = rowsPerWorkgroup(layout);
  const before = names.flatMap((name) => kept.map((k) => `  var ${name}Sum${k} = Value(0.0);\n`)).join("");
  const after = names.flatMap((name) => kept.map((k) => storeSums(name, k, layout))).join("");
  runtime.launch({
    name: isCentred ? "layerNormGradient" : "rmsNormGradient",
    variant: `${layout.variant} ${fused?.kept ?? ""}`,
    bindings,
    uniforms: {
      ...layout.uniforms,
      ...(fused && { blocks: u32(Math.ceil(rows / perWorkgroup)), workgroups: u32(fused.workgroups) }),
    },
    workgroups: fused === undefined ? layout.workgroups : [fused.workgroups],
    ...rowExtensions(runtime),
    code: () =>
      `${rowDeclarations(layout)}
${normalizedFunction(isCentred)}
${fused !== undefined && perWorkgroup > 1 ? "var<workgroup> laneSums: array<Value, 256>;" : ""}
${rowReduction(runtime, layout, { name: "reduceTotals", type: sumType, combine: "a + b" })}
${fused === undefined ? rowEntryPoint(runtime, layout, body) : rowLoopEntryPoint(runtime, layout, { before, body, after })}`,
  });
}

/** Adds the sums of the row groups in the workgroup, and stores the workgroup's. */
function storeSums(name: ParameterName, k: number, layout: RowLayout): string {
  const { lanes } = layout;
  const place = `uniforms.${name}SumsOffset + workgroup * uniforms.rowVectors + lane + ${k * lanes}u`;
  if (rowsPerWorkgroup(layout) === 1) {
    return `  if (lane + ${k * lanes}u < uniforms.rowVectors) {
    ${name}Sums[${place}] = ${name}Sum${k};
  }
`;
  }
  return `  workgroupBarrier();
  laneSums[lane] = ${name}Sum${k};
  workgroupBarrier();
  if (lane < ${lanes}u && lane + ${k * lanes}u < uniforms.rowVectors) {
    var sum = laneSums[lane];
    for (var i = lane + ${lanes}u; i < 256u; i += ${lanes}u) {
      sum += laneSums[i];
    }
    ${name}Sums[${place}] = sum;
  }
`;
}

/** Values side by side that a workgroup of `parameterGradients` takes: 128 bytes of vectors. */
const columnTile = 8;
const workgroupSize = 256;

/** Sums over rows, of the workgroups' `partials` or from the rows: each workgroup takes a few columns, its invocations share the rows. */
function parameterGradients(
  runtime: WebGpuRuntime,
  { gradient, input, mean, rstd, rows, columns }: NormalizationGradient,
  layout: RowLayout,
  parameters: ParameterViews,
  partials: { readonly views: ParameterViews; readonly workgroups: number } | undefined,
): void {
  const { type, width } = layout;
  const names = Object.keys(parameters) as ParameterName[];
  const hasPartials = partials !== undefined;
  const isCentred = mean !== undefined;
  const vectors = columns / width;
  const bindings: Record<string, KernelBinding> = {};
  if (hasPartials) {
    for (const name of names) bindings[`${name}Partials`] = read(partials.views[name]!, type);
  } else {
    bindings["gradient"] = read(gradient, type);
    if (names.includes("weight")) {
      bindings["input"] = read(input, type);
      if (isCentred) bindings["mean"] = read(mean);
      bindings["rstd"] = read(rstd);
    }
  }
  for (const name of names) bindings[`${name}Gradient`] = write(parameters[name]!, type);
  const needsInput = !hasPartials && names.includes("weight");
  const load = hasPartials
    ? ""
    : `      let g = gradient[uniforms.gradientOffset + place];
${needsInput ? "      let normalized = normalizedAt(place, row);\n" : ""}`;
  const add = names.map((name) => {
    const value = hasPartials ? `${name}Partials[uniforms.${name}PartialsOffset + place]` : summands[name];
    return `      ${name}Sum += ${value};\n`;
  });
  const rowLanes = workgroupSize / columnTile;
  const fold = names.map(
    (name) => `  workgroupBarrier();
  laneSums[lane] = ${name}Sum;
  workgroupBarrier();
  if (lane < 64u) {
    laneSums[lane] = (laneSums[lane] + laneSums[lane + 64u]) + (laneSums[lane + 128u] + laneSums[lane + 192u]);
  }
  workgroupBarrier();
  if (lane < ${columnTile}u && column < uniforms.rowVectors) {
    var sum = laneSums[lane];
    for (var i = lane + ${columnTile}u; i < 64u; i += ${columnTile}u) {
      sum += laneSums[i];
    }
    ${name}Gradient[uniforms.${name}GradientOffset + column] = sum;
  }
`,
  );
  runtime.launch({
    name: "normalizationParameterGradients",
    variant: `${width} ${hasPartials ? "partials" : ""}`,
    bindings,
    uniforms: { rows: u32(partials?.workgroups ?? rows), rowVectors: u32(vectors) },
    workgroups: workgroupGrid(Math.ceil(vectors / columnTile)),
    code: () =>
      `${rowDeclarations(layout)}
${needsInput ? normalizedFunction(isCentred) : ""}
var<workgroup> laneSums: array<Value, ${workgroupSize}>;
${entryPoint(
  workgroupSize,
  `  let column = workgroup * ${columnTile}u + lane % ${columnTile}u;
${names.map((name) => `  var ${name}Sum = Value(0.0);\n`).join("")}  if (column < uniforms.rowVectors) {
    for (var row = lane / ${columnTile}u; row < uniforms.rows; row += ${rowLanes}u) {
      let place = row * uniforms.rowVectors + column;
${load}${add.join("")}    }
  }
${fold.join("")}`,
)}`,
  });
}
