import { itemSize } from "../../../tensor/dtype.ts";
import { sizeOf } from "../../../tensor/shape.ts";
import type { KernelArguments, Kernels, TensorView } from "../../backend.ts";
import { loadBitsFunction, storeBitsFunction, storeType } from "../elements.ts";
import type { WebGpuBuffer } from "../buffers.ts";
import { entryPoint, read, u32, workgroupGrid, write, type KernelBinding } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { sortKernels } from "./sort.ts";

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

/** One invocation a word of the output, where words hold whole elements of one row; else one an element. */
function gather(runtime: WebGpuRuntime, { input, indices, output, outer, size, inner }: KernelArguments["gather"]): void {
  const count = sizeOf(indices.shape);
  const bytes = itemSize(output.dtype);
  const perWord = 4 / bytes;
  const words = inner % perWord === 0 && input.offset % perWord === 0 && output.offset % perWord === 0;
  const width = words ? inner / perWord : inner;
  const elements = outer * count * width;
  const array = (view: TensorView, access: "read" | "write", type: "u32" | "atomic<u32>"): KernelBinding => ({
    buffer: view.buffer as WebGpuBuffer,
    access,
    type,
    offset: words ? view.offset / perWord : view.offset,
  });
  // Neighbouring bytes of one word would be written by several invocations: atomics keep them apart.
  const unit = words ? 4 : bytes;
  runtime.launch({
    name: "gather",
    variant: `${unit}`,
    bindings: { input: array(input, "read", "u32"), indices: read(indices), output: array(output, "write", storeType(unit)) },
    uniforms: { elements: u32(elements), count: u32(count), size: u32(size), inner: u32(width) },
    workgroups: workgroupGrid(Math.ceil(elements / workgroupSize)),
    code: () => `${loadBitsFunction("input", unit)}
${storeBitsFunction("output", unit)}
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

/** Steps of all invocations together up to which each may walk all indices: a fraction of a second on a small GPU. */
const maximumSteps = 2 ** 26;
/** Invocations that keep a large GPU busy. */
const busyInvocations = 65_536;

type Scatter = KernelArguments["scatterAdd"] & { readonly count: number };

/**
 * Adds updates in order of their indices, so that sums have the same bits in every run. Where that is little work, each invocation owns one
 * column of one block and a range of rows, and passes over all indices; else the indices are sorted first.
 */
function scatter(runtime: WebGpuRuntime, name: "scatterAdd" | "scatterElementsAdd", parameters: Scatter): void {
  const { outer, size, inner, count } = parameters;
  const columns = outer * inner;
  if (columns * count * size === 0) return;
  // Few columns leave most of a GPU idle: several invocations a column then, each of which adds to rows of its own.
  const ranges = Math.max(1, Math.min(size, Math.ceil(busyInvocations / columns)));
  const isSorted = (name === "scatterAdd" || inner === 1) && count > workgroupSize && columns * ranges * count > maximumSteps;
  if (isSorted) scatterSorted(runtime, name, parameters);
  else scatterByRanges(runtime, name, parameters, Math.max(1, Math.min(ranges, Math.floor(maximumSteps / (columns * count)))));
}

function scatterByRanges(
  runtime: WebGpuRuntime,
  name: "scatterAdd" | "scatterElementsAdd",
  { output, indices, updates, outer, size, inner, count }: Scatter,
  ranges: number,
): void {
  const columns = outer * inner;
  const rowsPerRange = Math.ceil(size / ranges);
  const invocations = columns * Math.ceil(size / rowsPerRange);
  const place = name === "scatterAdd" ? "i" : "(block * uniforms.count + i) * uniforms.inner + column";
  runtime.launch({
    name,
    variant: output.dtype,
    bindings: { output: write(output), indices: read(indices), updates: read(updates) },
    uniforms: {
      invocations: u32(invocations),
      columns: u32(columns),
      count: u32(count),
      size: u32(size),
      inner: u32(inner),
      rowsPerRange: u32(rowsPerRange),
    },
    workgroups: workgroupGrid(Math.ceil(invocations / workgroupSize)),
    code: () =>
      entryPoint(
        workgroupSize,
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

/**
 * A stable sort puts equal indices side by side in their order; one invocation a column adds each run of them. `scatterAdd` has one row of
 * indices for all blocks, `scatterElementsAdd` (columns of one element) one a block.
 */
function scatterSorted(
  runtime: WebGpuRuntime,
  name: "scatterAdd" | "scatterElementsAdd",
  { output, indices, updates, outer, size, inner, count }: Scatter,
): void {
  const rows = name === "scatterAdd" ? 1 : outer;
  const sorted = runtime.temporary("int32", [rows, count]);
  const order = runtime.temporary("int32", [rows, count]);
  sortKernels(runtime).sort({ input: indices, values: sorted, indices: order, rows, columns: count, descending: false });
  const invocations = outer * count * inner;
  runtime.launch({
    name,
    variant: `sorted ${output.dtype}`,
    bindings: { output: write(output), sorted: read(sorted), order: read(order), updates: read(updates) },
    uniforms: {
      invocations: u32(invocations),
      count: u32(count),
      size: u32(size),
      inner: u32(inner),
      rowStride: u32(rows === 1 ? 0 : count),
    },
    workgroups: workgroupGrid(Math.ceil(invocations / workgroupSize)),
    code: () =>
      entryPoint(
        workgroupSize,
        `  if (index >= uniforms.invocations) { return; }
  let column = index % uniforms.inner;
  let position = index / uniforms.inner % uniforms.count;
  let block = index / uniforms.inner / uniforms.count;
  let row = block * uniforms.rowStride;
  let chosen = sorted[row + position];
  let isFirst = position == 0u || sorted[row + max(position, 1u) - 1u] != chosen;
  if (!isFirst || chosen < 0 || u32(chosen) >= uniforms.size) { return; }
  let destination = uniforms.outputOffset + (block * uniforms.size + u32(chosen)) * uniforms.inner + column;
  var sum = output[destination];
  for (var i = position; i < uniforms.count && sorted[row + i] == chosen; i++) {
    sum += updates[uniforms.updatesOffset + (block * uniforms.count + u32(order[row + i])) * uniforms.inner + column];
  }
  output[destination] = sum;`,
      ),
  });
  runtime.release(sorted, order);
}
