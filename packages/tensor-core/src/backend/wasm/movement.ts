import { DtypeError } from "../../errors.ts";
import { float32ToFloat16Bits, itemSize, type Dtype } from "../../tensor/dtype.ts";
import type { Kernels, TensorView } from "../backend.ts";
import {
  countElements, forEachOuter, isContiguous, kernelRank, mainThreadScratch, mergeAxes, type Layout,
} from "./layout.ts";
import type { WasmRuntime } from "./runtime.ts";
import { contiguousStrides } from "../../tensor/shape.ts";

const dtypeCodes: Record<Dtype, number> = { float32: 0, float16: 1, int32: 2, uint8: 3, int8: 4, bool: 5 };
/** log2 of the item size. */
const itemShifts: Record<Dtype, number> = { float32: 2, float16: 1, int32: 2, uint8: 0, int8: 0, bool: 0 };

/** Elements from which a copy is worth offering to other threads. */
const parallelCount = 65_536;

const conversion = { float32: new Float32Array(1), int32: new Int32Array(0) };
conversion.int32 = new Int32Array(conversion.float32.buffer);

function saturate(value: number, low: number, high: number): number {
  return Number.isNaN(value) ? 0 : Math.min(Math.max(Math.trunc(value), low), high);
}

/** The four bytes that a run of elements of `value` is made of. */
function fillPattern(dtype: Dtype, value: number): number {
  switch (dtype) {
    case "float32":
      conversion.float32[0] = value;
      return conversion.int32[0]!;
    case "float16":
      return Math.imul(float32ToFloat16Bits(Math.fround(value)), 0x00010001);
    case "int32":
      return saturate(value, -(2 ** 31), 2 ** 31 - 1);
    case "int8":
      return Math.imul(saturate(value, -128, 127) & 255, 0x01010101);
    case "uint8":
      return Math.imul(saturate(value, 0, 255), 0x01010101);
    case "bool":
      return value === 0 ? 0 : 0x01010101;
  }
}

/** The views with axes by falling stride of the output, so that runs are contiguous where it is written. */
function orderByOutput(input: TensorView, output: TensorView): readonly [TensorView, TensorView] {
  const order = output.shape.map((_, axis) => axis).sort((a, b) => Math.abs(output.strides[b]!) - Math.abs(output.strides[a]!) || a - b);
  const reorder = (view: TensorView): TensorView => ({
    // No spread: the buffer of a tensor is a getter of its class.
    buffer: view.buffer, dtype: view.dtype, offset: view.offset, shape: order.map((axis) => view.shape[axis]!),
    strides: order.map((axis) => view.strides[axis]!),
  });
  return [reorder(input), reorder(output)];
}

/** Copies as a batch of transposes where the input is contiguous along another axis than the output. False if it is not. */
function copyTransposed(runtime: WasmRuntime, { rank, sizes, a: from, b: to }: Layout, source: number, target: number): boolean {
  if (rank < 2 || rank > 4 || to[0] !== 1 || from[0] === 1 || sizes[0]! < 8) return false;
  let rowAxis = 1;
  while (rowAxis < rank && from[rowAxis] !== 1) rowAxis++;
  if (rowAxis === rank || sizes[rowAxis]! < 8) return false;
  // The other two axes, of size 1 and stride 0 where the rank is less than 4.
  const inner = rowAxis === 1 ? 2 : 1;
  const outer = rowAxis === 3 ? 2 : 3;
  const rows = sizes[rowAxis]!;
  const batch = sizes[inner]! * sizes[outer]!;
  runtime.parallel(
    "transposeWords",
    [
      source, target, sizes[inner]!, rows, sizes[0]!, from[outer]!, from[inner]!, from[0]!, to[outer]!, to[inner]!, to[rowAxis]!,
    ],
    batch * Math.ceil(rows / 16),
    { work: batch * rows * sizes[0]!, scratchBytes: 1024 },
  );
  return true;
}

/** The `copy` kernel, also for the other wrappers of this folder. */
export function copyView(runtime: WasmRuntime, input: TensorView, output: TensorView): void {
  const count = countElements(output.shape);
  if (count === 0) return;
  const sameDtype = input.dtype === output.dtype;
  const outputContiguous = isContiguous(output);
  if (sameDtype && count < parallelCount && outputContiguous && isContiguous(input)) {
    const source = runtime.pointer(input);
    runtime.heap.uint8.copyWithin(runtime.pointer(output), source, source + count * itemSize(output.dtype));
    return;
  }
  if (!outputContiguous) [input, output] = orderByOutput(input, output);
  const source = runtime.pointer(input);
  const target = runtime.pointer(output);
  const layout = mergeAxes(output.shape, input.strides, output.strides, output.strides);
  const from = dtypeCodes[input.dtype];
  const to = dtypeCodes[output.dtype];
  if (sameDtype && count >= 1024 && itemSize(output.dtype) === 4 && copyTransposed(runtime, layout, source, target)) return;
  const { sizes, a, b } = layout;
  if (layout.rank <= kernelRank && count < parallelCount) {
    runtime.exports.copyStrided(
      from, to, source, target, sizes[2]!, sizes[1]!, sizes[0]!, a[3]!, a[2]!, a[1]!, a[0]!, b[3]!, b[2]!, b[1]!, b[0]!, mainThreadScratch,
      0, count,
    );
    return;
  }
  const strides = [sizes[2]!, sizes[1]!, sizes[0]!, a[3]!, a[2]!, a[1]!, a[0]!, b[3]!, b[2]!, b[1]!, b[0]!];
  const block = sizes[0]! * sizes[1]! * sizes[2]! * sizes[3]!;
  forEachOuter(layout, (offsetA, offsetB) => {
    runtime.parallel(
      "copyStrided",
      [from, to, source + offsetA * itemSize(input.dtype), target + offsetB * itemSize(output.dtype), ...strides],
      block,
      { granularity: 64, work: block * (sameDtype ? 1 : 4), scratchBytes: 32 },
    );
  });
}

/** Runs `use` with a contiguous copy of a view, and its address. */
export function withContiguousCopy(runtime: WasmRuntime, input: TensorView, use: (pointer: number, copy: TensorView) => void): void {
  const { shape, dtype } = input;
  const buffer = runtime.heap.allocate(countElements(shape) * itemSize(dtype));
  try {
    const copy: TensorView = { buffer, dtype, shape, strides: contiguousStrides(shape), offset: 0 };
    copyView(runtime, input, copy);
    use(runtime.pointer(copy), copy);
  } finally {
    runtime.heap.free(buffer);
  }
}

/** Filling, copying and indexing. */
export function createMovement(
  runtime: WasmRuntime,
): Pick<Kernels, "fill" | "arange" | "copy" | "gather" | "scatterAdd" | "gatherElements" | "scatterElementsAdd"> {
  return {
    fill({ output, value }) {
      const bytes = countElements(output.shape) * itemSize(output.dtype);
      const pattern = fillPattern(output.dtype, value);
      const target = runtime.pointer(output);
      const words = Math.floor(bytes / 4);
      if (words < 65_536) runtime.exports.fill(target, pattern, 0, words);
      else runtime.parallel("fill", [target, pattern], words, { work: words });
      for (let byte = words * 4; byte < bytes; byte++) runtime.heap.uint8[target + byte] = pattern >>> (8 * (byte & 3));
    },

    arange({ output, start, step }) {
      const count = countElements(output.shape);
      runtime.exports.arange(output.dtype === "int32" ? 1 : 0, runtime.pointer(output), start, step, 0, count);
    },

    copy({ input, output }) {
      copyView(runtime, input, output);
    },

    gather({ input, indices, output, outer, size, inner }) {
      const count = countElements(indices.shape);
      runtime.parallel(
        "gatherRows",
        [itemShifts[input.dtype], runtime.pointer(input), runtime.pointer(indices), runtime.pointer(output), size, count, inner],
        outer * count,
        { work: outer * count * (inner + 4) },
      );
    },

    scatterAdd({ output, indices, updates, outer, size, inner }) {
      const count = countElements(indices.shape);
      runtime.parallel(
        "scatterAdd",
        [output.dtype === "int32" ? 1 : 0, runtime.pointer(output), runtime.pointer(indices), runtime.pointer(updates), size, count, inner],
        outer * inner,
        { granularity: 16, work: outer * inner * count },
      );
    },

    gatherElements({ input, indices, output, outer, size, inner }) {
      requireWords("gatherElements", input.dtype);
      const count = countElements(indices.shape);
      if (count === 0) return;
      const perOuter = count / (outer * inner);
      runtime.parallel(
        "gatherElements",
        [runtime.pointer(input), runtime.pointer(indices), runtime.pointer(output), size, perOuter, inner],
        outer * perOuter,
        { work: count },
      );
    },

    scatterElementsAdd({ output, indices, updates, outer, size, inner }) {
      const count = countElements(indices.shape);
      if (count === 0) return;
      runtime.parallel(
        "scatterElementsAdd",
        [runtime.pointer(output), runtime.pointer(indices), runtime.pointer(updates), size, count / (outer * inner), inner],
        outer * inner,
        { granularity: 16, work: count * 2 },
      );
    },
  };
}

function requireWords(name: string, dtype: Dtype): void {
  if (itemSize(dtype) !== 4) throw new DtypeError(`${name} takes float32 or int32, not ${dtype}; convert it first`);
}
