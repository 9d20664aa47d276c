/**
 * Kernel arguments as plain data: the same case can be laid out in the memory of any backend, printed, and shrunk. A spec holds the whole
 * buffer, with guard elements around and between the view's own, so that writes outside the view show.
 */
import { elementCount, elementOffset, forEachIndex } from "../backend/reference/access.ts";
import type { KernelArguments, KernelName, QuantizedView, TensorView } from "../backend/backend.ts";
import type { Dtype } from "../tensor/dtype.ts";
import type { Filler } from "./values.ts";
import { contiguousStrides } from "../tensor/shape.ts";

/** A tensor view with the contents of its buffer. */
export interface TensorSpec {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
  /** Every element of the buffer, as numbers. */
  readonly storage: readonly number[];
}

/** A quantized matrix with the contents of its buffers. */
export type QuantizedSpec = Omit<QuantizedView, "values" | "scales" | "minimums"> & {
  readonly values: TensorSpec;
  readonly scales: TensorSpec;
  readonly minimums?: TensorSpec | undefined;
};

type SpecOf<Field> = Field extends TensorView ? TensorSpec : Field extends QuantizedView ? QuantizedSpec : Field;

/** Arguments of a kernel with specs in place of views. */
export type KernelSpec<Name extends KernelName> = {
  readonly [Field in keyof KernelArguments[Name]]: SpecOf<KernelArguments[Name][Field]>;
};

/** How a view lies in memory. Bit `i` of the masks speaks of axis `i`; what is said of axes that the view does not have is ignored. */
export interface Layout {
  /** Elements before the view. */
  readonly offset: number;
  /** Axes from the slowest to the fastest in memory; absent = row-major. */
  readonly order?: readonly number[];
  /** Distance between neighbours of the fastest axis. */
  readonly step?: number;
  /** Axes with stride 0. */
  readonly broadcast?: number;
  /** Axes that run backwards. */
  readonly flip?: number;
}

const guardElements = 5;
const guards: Record<Dtype, number> = { float32: 77.25, float16: 77.25, int32: -77, uint8: 77, int8: -77, bool: 1 };

/** A view filled with `fill(position)`, position counting its elements in row-major order; with stride 0 the last one written stays. */
export function tensorSpec(dtype: Dtype, shape: readonly number[], fill: Filler, layout: Layout = { offset: 0 }): TensorSpec {
  const { offset, step = 1, broadcast = 0, flip = 0 } = layout;
  const order = layout.order?.filter((axis) => axis < shape.length) ?? shape.map((_, axis) => axis);
  const strides = shape.map(() => 0);
  let extent = step;
  for (const axis of order.toReversed()) {
    if ((broadcast >> axis) & 1) continue;
    strides[axis] = extent;
    extent *= shape[axis]!;
  }
  let first = offset;
  shape.forEach((size, axis) => {
    if (!((flip >> axis) & 1) || size === 0) return;
    first += (size - 1) * strides[axis]!;
    strides[axis] = -strides[axis]!;
  });
  const length = offset + extent + guardElements;
  let storage: number[] | undefined;
  return {
    dtype,
    shape,
    strides,
    offset: first,
    // Made when it is used: most generated cases are looked at and left.
    get storage() {
      if (storage !== undefined) return storage;
      const made = new Array<number>(length).fill(guards[dtype]);
      forEachIndex(shape, (index, position) => (made[elementOffset(index, strides, first)] = fill(position)));
      return (storage = made);
    },
  };
}

/** The same view in a buffer of `length` elements or more, filled up with guards. */
export function paddedSpec(spec: TensorSpec, length: number): TensorSpec {
  const missing = length - spec.storage.length;
  return missing <= 0 ? spec : { ...spec, storage: [...spec.storage, ...new Array<number>(missing).fill(guards[spec.dtype])] };
}

/** A view for results, filled with what no kernel should leave: NaN, or the guard value. */
export function outputSpec(dtype: Dtype, shape: readonly number[], layout?: Layout): TensorSpec {
  return tensorSpec(dtype, shape, () => (dtype === "float32" || dtype === "float16" ? NaN : guards[dtype]), layout);
}

/** True for each element of the buffer that belongs to the view. */
export function coverage(spec: TensorSpec): boolean[] {
  const covered = spec.storage.map(() => false);
  forEachIndex(spec.shape, (index) => (covered[elementOffset(index, spec.strides, spec.offset)] = true));
  return covered;
}

/** Says what a case is made of, without the numbers of large tensors. */
export function describeSpec(spec: unknown): string {
  if (isTensorSpec(spec)) {
    const values: number[] = [];
    forEachIndex(spec.shape, (index) => values.push(spec.storage[elementOffset(index, spec.strides, spec.offset)]!));
    const rowMajor = contiguousStrides(spec.shape).join() === spec.strides.join();
    const numbers = elementCount(spec.shape) > 24 ? `${values.slice(0, 24).join(", ")}, …` : values.join(", ");
    const strides = rowMajor ? "" : ` strides [${spec.strides.join(", ")}]`;
    const offset = spec.offset === 0 ? "" : ` offset ${spec.offset}`;
    return `${spec.dtype}[${spec.shape.join(", ")}]${strides}${offset} = (${numbers})`;
  }
  if (Array.isArray(spec) || typeof spec !== "object" || spec === null) return JSON.stringify(spec) ?? "undefined";
  const lines = Object.entries(spec)
    .filter(([, value]) => value !== undefined)
    .map(([field, value]) => `  ${field}: ${describeSpec(value)}`);
  return `{\n${lines.join("\n")}\n}`;
}

/** Tells tensor specs from other arguments. */
export function isTensorSpec(value: unknown): value is TensorSpec {
  return typeof value === "object" && value !== null && "storage" in value;
}

/** Tells quantized specs from other arguments. */
export function isQuantizedSpec(value: unknown): value is QuantizedSpec {
  return typeof value === "object" && value !== null && "format" in value;
}
