import { DtypeError } from "../../errors.ts";
import { float32ToFloat16Bits, itemSize, type Dtype } from "../../tensor/dtype.ts";
import type { Kernels, TensorView } from "../backend.ts";
import { contiguousStrides, countElements, forEachOuter, isContiguous, mergeAxes, sizeAt, strideAt, type Layout } from "./layout.ts";
import type { WasmRuntime } from "./runtime.ts";

const dtypeCodes: Record<Dtype, number> = { float32: 0, float16: 1, int32: 2, uint8: 3, int8: 4, bool: 5 };
/** log2 of the item size. */
const itemShifts: Record<Dtype, number> = { float32: 2, float16: 1, int32: 2, uint8: 0, int8: 0, bool: 0 };

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

/** Axes by falling stride of the output, so that runs are contiguous where it is written. */
function orderByOutput(input: TensorView, output: TensorView): { shape: number[]; from: number[]; to: number[] } {
  const order = output.shape.map((_, axis) => axis).sort((a, b) => Math.abs(output.strides[b]!) - Math.abs(output.strides[a]!) || a - b);
  return {
    shape: order.map((axis) => output.shape[axis]!),
    from: order.map((axis) => input.strides[axis]!),
    to: order.map((axis) => output.strides[axis]!),
  };
}

/** Copies as a batch of transposes where the input is contiguous along another axis than the output. False if it is not. */
function copyTransposed(runtime: WasmRuntime, layout: Layout, source: number, target: number): boolean {
  const { sizes, strides } = layout;
  const from = strides[0]!;
  const to = strides[1]!;
  const rowAxis = from.indexOf(1);
  if (rowAxis < 1 || to[0] !== 1 || sizes[0]! < 4 || sizes[rowAxis]! < 4) return false;
  const rest = sizes.map((_, axis) => axis).filter((axis) => axis !== 0 && axis !== rowAxis);
  const [inner = -1, outer = -1] = rest;
  const at = (values: readonly number[], axis: number): number => (axis < 0 ? 0 : values[axis]!);
  const rows = sizes[rowAxis]!;
  const n1 = inner < 0 ? 1 : sizes[inner]!;
  const batch = n1 * (outer < 0 ? 1 : sizes[outer]!);
  const beyond: Layout = {
    sizes: rest.slice(2).map((axis) => sizes[axis]!),
    strides: [from, to].map((list) => rest.slice(2).map((axis) => list[axis]!)),
  };
  forEachOuter(beyond, 0, ([i = 0, o = 0]) => {
    runtime.parallel(
      "transposeWords",
      [
        source + 4 * i, target + 4 * o, n1, rows, sizes[0]!, at(from, outer), at(from, inner), from[0]!, at(to, outer), at(to, inner), to[rowAxis]!,
      ],
      batch * Math.ceil(rows / 16),
      { work: batch * rows * sizes[0]! },
    );
  });
  return true;
}

/** The `copy` kernel, also for the other wrappers of this folder. */
export function copyView(runtime: WasmRuntime, input: TensorView, output: TensorView): void {
  const count = countElements(output.shape);
  if (count === 0) return;
  const source = runtime.pointer(input);
  const target = runtime.pointer(output);
  const sameDtype = input.dtype === output.dtype;
  if (sameDtype && count < 65_536 && isContiguous(input) && isContiguous(output)) {
    runtime.heap.uint8.copyWithin(target, source, source + count * itemSize(output.dtype));
    return;
  }
  const { shape, from, to } = orderByOutput(input, output);
  const layout = mergeAxes(shape, [from, to]);
  if (sameDtype && itemSize(output.dtype) === 4 && copyTransposed(runtime, layout, source, target)) return;
  const n1 = sizeAt(layout, 2);
  const n2 = sizeAt(layout, 1);
  const n3 = sizeAt(layout, 0);
  const block = n1 * n2 * n3 * sizeAt(layout, 3);
  const cost = sameDtype ? 1 : 4;
  forEachOuter(layout, 4, ([i = 0, o = 0]) => {
    runtime.parallel(
      "copyStrided",
      [
        dtypeCodes[input.dtype], dtypeCodes[output.dtype], source + i * itemSize(input.dtype), target + o * itemSize(output.dtype), n1, n2, n3,
        strideAt(layout, 0, 3), strideAt(layout, 0, 2), strideAt(layout, 0, 1), strideAt(layout, 0, 0),
        strideAt(layout, 1, 3), strideAt(layout, 1, 2), strideAt(layout, 1, 1), strideAt(layout, 1, 0),
      ],
      block,
      { granularity: 64, work: block * cost, scratchBytes: 32 },
    );
  });
}

/** Runs `use` with the address of a contiguous copy of a view. */
export function withContiguousCopy(runtime: WasmRuntime, input: TensorView, use: (pointer: number) => void): void {
  const { shape, dtype } = input;
  const buffer = runtime.heap.allocate(countElements(shape) * itemSize(dtype));
  try {
    const copy: TensorView = { buffer, dtype, shape, strides: contiguousStrides(shape), offset: 0 };
    copyView(runtime, input, copy);
    use(runtime.pointer(copy));
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
