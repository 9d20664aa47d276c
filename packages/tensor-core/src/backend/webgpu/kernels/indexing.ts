import { itemSize } from "../../../tensor/dtype.ts";
import { sizeOf } from "../../../tensor/shape.ts";
import type { KernelArguments, Kernels, TensorView } from "../../backend.ts";
import { loadBitsFunction, storeBitsFunction, storeType } from "../elements.ts";
import { entryPoint, read, u32, workgroupGrid, write } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";

const workgroupSize = 256;

/** Gathering and scattering along one axis. */
export function indexingKernels(
  runtime: WebGpuRuntime,
): Pick<Kernels, "gather" | "scatterAdd" | "gatherElements" | "scatterElementsAdd"> {
  return {
    gather: (parameters) => gather(runtime, parameters),
    gatherElements: (parameters) => gatherElements(runtime, parameters),
    scatterAdd: ({ output, indices, updates, outer, size, inner }) =>
      scatter(runtime, "scatterAdd", { output, indices, updates, outer, size, inner, count: sizeOf(indices.shape) }),
    scatterElementsAdd: ({ output, indices, updates, outer, size, inner }) =>
      scatter(runtime, "scatterElementsAdd", { output, indices, updates, outer, size, inner, count: countOf(indices, outer, inner) }),
  };
}

/** One invocation an element; rows of 4-byte elements are read side by side. */
function gather(runtime: WebGpuRuntime, { input, indices, output, outer, size, inner }: KernelArguments["gather"]): void {
  const count = sizeOf(indices.shape);
  const elements = outer * count * inner;
  const bytes = itemSize(output.dtype);
  // Neighbouring bytes of one word would be written by several invocations: atomics keep them apart.
  runtime.launch({
    name: "gather",
    variant: `${bytes}`,
    bindings: { input: read(input, "u32"), indices: read(indices), output: write(output, storeType(bytes)) },
    uniforms: { elements: u32(elements), count: u32(count), size: u32(size), inner: u32(inner) },
    workgroups: workgroupGrid(Math.ceil(elements / workgroupSize)),
    code: () => `${loadBitsFunction("input", bytes)}
${storeBitsFunction("output", bytes)}
${entryPoint(
  workgroupSize,
  `  if (index >= uniforms.elements) { return; }
  let row = index / uniforms.inner;
  let chosen = indices[uniforms.indicesOffset + row % uniforms.count];
  var bits = 0u;
  if (chosen >= 0 && u32(chosen) < uniforms.size) {
    let source = (row / uniforms.count * uniforms.size + u32(chosen)) * uniforms.inner + index % uniforms.inner;
    bits = loadBits_input(uniforms.inputOffset + source);
  }
  storeBits_output(uniforms.outputOffset + index, bits);`,
)}`,
  });
}

/** The middle axis of indices [outer, count, inner], however many axes they come with. */
function countOf(indices: TensorView, outer: number, inner: number): number {
  return outer * inner === 0 ? 0 : sizeOf(indices.shape) / (outer * inner);
}

function gatherElements(
  runtime: WebGpuRuntime,
  { input, indices, output, outer, size, inner }: KernelArguments["gatherElements"],
): void {
  const elements = sizeOf(indices.shape);
  runtime.launch({
    name: "gatherElements",
    bindings: { input: read(input, "u32"), indices: read(indices), output: write(output, "u32") },
    uniforms: { elements: u32(elements), count: u32(countOf(indices, outer, inner)), size: u32(size), inner: u32(inner) },
    workgroups: workgroupGrid(Math.ceil(elements / workgroupSize)),
    code: () =>
      entryPoint(
        workgroupSize,
        `  if (index >= uniforms.elements) { return; }
  let chosen = indices[uniforms.indicesOffset + index];
  var bits = 0u;
  if (chosen >= 0 && u32(chosen) < uniforms.size) {
    let block = index / (uniforms.count * uniforms.inner);
    bits = input[uniforms.inputOffset + (block * uniforms.size + u32(chosen)) * uniforms.inner + index % uniforms.inner];
  }
  output[uniforms.outputOffset + index] = bits;`,
      ),
  });
}

/** How many indices a workgroup looks at together. */
const batch = 256;

/**
 * Adds updates in order of their indices, so that sums have the same bits in every run: each invocation owns one column of one block and
 * a range of rows, and passes over the indices once.
 */
function scatter(
  runtime: WebGpuRuntime,
  name: "scatterAdd" | "scatterElementsAdd",
  { output, indices, updates, outer, size, inner, count }: KernelArguments["scatterAdd"] & { readonly count: number },
): void {
  const columns = outer * inner;
  if (columns * count * size === 0) return;
  const shared = name === "scatterAdd";
  // Few columns leave most of a GPU idle: more ranges of rows then, each of which looks at every index but adds only its own.
  const ranges = Math.max(1, Math.min(size, Math.ceil(65_536 / columns)));
  const rowsPerRange = Math.ceil(size / ranges);
  const place = shared ? "i" : "(block * uniforms.count + i) * uniforms.inner + column";
  runtime.launch({
    name,
    variant: output.dtype,
    bindings: { output: write(output), indices: read(indices), updates: read(updates) },
    uniforms: {
      invocations: u32(columns * Math.ceil(size / rowsPerRange)),
      columns: u32(columns),
      count: u32(count),
      size: u32(size),
      inner: u32(inner),
      rowsPerRange: u32(rowsPerRange),
    },
    workgroups: workgroupGrid(Math.ceil((columns * Math.ceil(size / rowsPerRange)) / batch)),
    code: () =>
      entryPoint(
        batch,
        `  if (index >= uniforms.invocations) { return; }
  let block = index % uniforms.columns / uniforms.inner;
  let column = index % uniforms.inner;
  let low = index / uniforms.columns * uniforms.rowsPerRange;
  let high = min(low + uniforms.rowsPerRange, uniforms.size);
  for (var i = 0u; i < uniforms.count; i++) {
    let chosen = indices[uniforms.indicesOffset + ${place}];
    if (chosen >= 0 && u32(chosen) >= low && u32(chosen) < high) {
      let destination = uniforms.outputOffset + (block * uniforms.size + u32(chosen)) * uniforms.inner + column;
      output[destination] = output[destination] + updates[uniforms.updatesOffset + (block * uniforms.count + i) * uniforms.inner + column];
    }
  }`,
      ),
  });
}
