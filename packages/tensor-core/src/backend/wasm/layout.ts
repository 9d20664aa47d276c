import type { TensorView } from "../backend.ts";
import { isContiguous as hasContiguousStrides } from "../../tensor/shape.ts";

/**
 * Scratch memory of kernels that run on this thread, inside the heap's reserved first page, past the thread pool's control block. Kernels
 * that run on many threads get blocks of their own from the pool.
 */
export const mainThreadScratch = 4096;

/** Elements in a shape. */
export function countElements(shape: readonly number[]): number {
  let count = 1;
  for (let axis = 0; axis < shape.length; axis++) count *= shape[axis]!;
  return count;
}

/** Whether a view is row-major without gaps. */
export function isContiguous(view: TensorView): boolean {
  return hasContiguousStrides(view.shape, view.strides);
}

/**
 * The axes that two or three operands of one shape share, merged where all of them step through neighbours as one; innermost first, axes of
 * size 1 left out. Beyond `rank`, up to four axes, sizes are 1 and strides 0.
 */
export interface Layout {
  rank: number;
  readonly sizes: number[];
  readonly a: number[];
  readonly b: number[];
  readonly c: number[];
}

/** Axes that kernels walk through by themselves; `forEachOuter` takes care of more. */
export const kernelRank = 4;

// One layout for all calls: kernels of small tensors are quicker to run than arrays are to allocate.
const layout: Layout = { rank: 0, sizes: [], a: [], b: [], c: [] };

/** Merges axes. The result is overwritten by the next call. */
export function mergeAxes(shape: readonly number[], a: readonly number[], b: readonly number[], c: readonly number[]): Layout {
  let rank = 0;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis]!;
    if (size === 1) continue;
    if (rank > 0) {
      const last = rank - 1;
      const span = layout.sizes[last]!;
      if (a[axis] === layout.a[last]! * span && b[axis] === layout.b[last]! * span && c[axis] === layout.c[last]! * span) {
        layout.sizes[last] = span * size;
        continue;
      }
    }
    layout.sizes[rank] = size;
    layout.a[rank] = a[axis]!;
    layout.b[rank] = b[axis]!;
    layout.c[rank] = c[axis]!;
    rank++;
  }
  layout.rank = rank;
  for (let axis = rank; axis < kernelRank; axis++) {
    layout.sizes[axis] = 1;
    layout.a[axis] = 0;
    layout.b[axis] = 0;
    layout.c[axis] = 0;
  }
  return layout;
}

/** Calls `visit` with the operands' offsets (elements) for every index of the axes beyond `kernelRank`. */
export function forEachOuter({ rank, sizes, a, b, c }: Layout, visit: (a: number, b: number, c: number) => void): void {
  const index = new Array<number>(rank).fill(0);
  let offsetA = 0;
  let offsetB = 0;
  let offsetC = 0;
  for (;;) {
    visit(offsetA, offsetB, offsetC);
    let axis = kernelRank;
    for (; axis < rank; axis++) {
      const size = sizes[axis]!;
      offsetA += a[axis]!;
      offsetB += b[axis]!;
      offsetC += c[axis]!;
      if (++index[axis]! < size) break;
      offsetA -= size * a[axis]!;
      offsetB -= size * b[axis]!;
      offsetC -= size * c[axis]!;
      index[axis] = 0;
    }
    if (axis >= rank) return;
  }
}
