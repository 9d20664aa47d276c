import type { TensorView } from "../backend.ts";

/**
 * Scratch memory of kernels that run on this thread, inside the heap's reserved first page, past the thread pool's control block. Kernels that run on many
 * threads get blocks of their own from the pool.
 */
export const mainThreadScratch = 4096;

/** Elements in a shape. */
export function countElements(shape: readonly number[]): number {
  let count = 1;
  for (let axis = 0; axis < shape.length; axis++) count *= shape[axis]!;
  return count;
}

/** Row-major strides of a shape. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/** Whether a view is row-major without gaps. */
export function isContiguous(view: TensorView): boolean {
  const { shape, strides } = view;
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis]!;
    if (size === 1) continue;
    if (strides[axis] !== expected) return false;
    expected *= size;
  }
  return true;
}

/** Axes of one or more operands of the same shape, merged where all of them allow it; innermost first, axes of size 1 left out. */
export interface Layout {
  readonly sizes: readonly number[];
  /** [operand][axis] */
  readonly strides: readonly (readonly number[])[];
}

/** Merges neighbouring axes that every operand steps through as one. */
export function mergeAxes(shape: readonly number[], operands: readonly (readonly number[])[]): Layout {
  const sizes: number[] = [];
  const strides: number[][] = operands.map(() => []);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis]!;
    if (size === 1) continue;
    const last = sizes.length - 1;
    if (last >= 0 && operands.every((operand, i) => operand[axis] === strides[i]![last]! * sizes[last]!)) {
      sizes[last]! *= size;
      continue;
    }
    sizes.push(size);
    for (let i = 0; i < operands.length; i++) strides[i]!.push(operands[i]![axis]!);
  }
  return { sizes, strides };
}

/** The layout's axis `place`, counted from the innermost; 1 and 0 where there is none. */
export function sizeAt(layout: Layout, place: number): number {
  return layout.sizes[place] ?? 1;
}

/** See `sizeAt`. */
export function strideAt(layout: Layout, operand: number, place: number): number {
  return layout.strides[operand]![place] ?? 0;
}

/** Calls `visit` with the operands' offsets (elements) for every index of the axes from `place` outwards. The array is reused. */
export function forEachOuter(layout: Layout, place: number, visit: (offsets: readonly number[]) => void): void {
  const { sizes, strides } = layout;
  const offsets = strides.map(() => 0);
  const index = sizes.map(() => 0);
  for (;;) {
    visit(offsets);
    let axis = place;
    for (; axis < sizes.length; axis++) {
      index[axis]!++;
      for (let i = 0; i < strides.length; i++) offsets[i]! += strides[i]![axis]!;
      if (index[axis]! < sizes[axis]!) break;
      for (let i = 0; i < strides.length; i++) offsets[i]! -= sizes[axis]! * strides[i]![axis]!;
      index[axis] = 0;
    }
    if (axis >= sizes.length) return;
  }
}
