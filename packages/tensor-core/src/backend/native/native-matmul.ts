import type { KernelArguments, QuantizedView, TensorView } from "../backend.ts";
import type { WasmBackend } from "../wasm/backend.ts";
import type { BlasLibrary } from "./blas-library.ts";

type MatmulArguments = KernelArguments["matmul"];

/** Vectors and thin matrices are bound by memory, where the kernels of this package are as fast. */
const minimumSide = 8;

/** How cblas reads a matrix: row by row `stride` apart, or transposed. */
interface Layout {
  readonly transposed: boolean;
  readonly stride: number;
}

/** Undefined for strides that cblas has no words for: broadcast, backwards, or gaps along both axes. */
function layoutOf(view: TensorView, rows: number, columns: number): Layout | undefined {
  const rank = view.shape.length;
  const rowStride = view.strides[rank - 2]!;
  const columnStride = view.strides[rank - 1]!;
  if (columnStride === 1 && rowStride >= columns) return { transposed: false, stride: rowStride };
  if (rowStride === 1 && columnStride >= rows) return { transposed: true, stride: columnStride };
  return undefined;
}

function isPlain(b: TensorView | QuantizedView): b is TensorView {
  return !("format" in b) && b.dtype === "float32";
}

/** Offsets of the matrices of a batch from the first, in row-major order. */
function batchOffsets(shape: readonly number[], strides: readonly number[]): number[] {
  let offsets = [0];
  for (let axis = 0; axis < shape.length - 2; axis++) {
    offsets = offsets.flatMap((offset) => Array.from({ length: shape[axis]! }, (_, i) => offset + i * strides[axis]!));
  }
  return offsets;
}

/**
 * Matrix products by `blas` where both matrices are float32, cblas can read their strides, and one product is at least `minimumWork`
 * multiply-adds; all others by `original`.
 * Bias and activation are applied by the other kernels of `backend`.
 */
export function createNativeMatmul(
  blas: BlasLibrary,
  minimumWork: number,
  backend: WasmBackend,
  original: (parameters: MatmulArguments) => void,
): (parameters: MatmulArguments) => void {
  const { heap, pool } = backend.runtime;
  let threads = 0;

  /** Every product of the batch, into memory at `target`. */
  function multiply(
    a: TensorView,
    b: TensorView,
    m: number,
    n: number,
    k: number,
    layouts: readonly [Layout, Layout],
    target: number,
    beta: number,
  ): void {
    if (threads !== pool.threadCount) {
      threads = pool.threadCount;
      blas.setThreads?.(threads);
    }
    const window = (pointer: number, elements: number): Float32Array => heap.float32.subarray(pointer >>> 2, (pointer >>> 2) + elements);
    const [aLayout, bLayout] = layouts;
    const aPointer = backend.runtime.pointer(a);
    const bPointer = backend.runtime.pointer(b);
    const bOffsets = batchOffsets(b.shape, b.strides);
    batchOffsets(a.shape, a.strides).forEach((aOffset, index) => {
      blas.sgemm(
        aLayout.transposed,
        bLayout.transposed,
        m,
        n,
        k,
        window(aPointer + 4 * aOffset, extent(aLayout, m, k)),
        aLayout.stride,
        window(bPointer + 4 * bOffsets[index]!, extent(bLayout, k, n)),
        bLayout.stride,
        beta,
        window(target + 4 * m * n * index, m * n),
        n,
      );
    });
  }

  return (parameters) => {
    const { a, b, output, bias, activation } = parameters;
    const rank = output.shape.length;
    const m = output.shape[rank - 2]!;
    const n = output.shape[rank - 1]!;
    const k = a.shape[rank - 1]!;
    if (!isPlain(b) || Math.min(m, n, k) < minimumSide || m * n * k < minimumWork) return original(parameters);
    const aLayout = layoutOf(a, m, k);
    const bLayout = layoutOf(b, k, n);
    if (aLayout === undefined || bLayout === undefined || output.buffer.byteLength === 0) return original(parameters);
    const layouts = [aLayout, bLayout] as const;

    const start = (into: TensorView): number => {
      if (bias === undefined) return 0;
      const rows = {
        buffer: bias.buffer,
        dtype: bias.dtype,
        shape: output.shape,
        strides: output.shape.map((_, axis) => (axis === rank - 1 ? 1 : 0)),
        offset: bias.offset,
      };
      backend.kernels.copy({ input: rows, output: into });
      return 1;
    };
    if (activation === undefined) {
      const beta = parameters.accumulate ? 1 : start(output);
      multiply(a, b, m, n, k, layouts, backend.runtime.pointer(output), beta);
      return;
    }
    // Kernels do not work in place, so the product waits in scratch memory for its activation.
    const buffer = heap.allocateInternal(4 * output.shape.reduce((size, length) => size * length, 1));
    try {
      const product: TensorView = { buffer, dtype: "float32", shape: output.shape, strides: output.strides, offset: 0 };
      multiply(a, b, m, n, k, layouts, buffer.pointer, start(product));
      backend.kernels.unary({ operation: activation, input: product, output });
    } finally {
      heap.free(buffer);
    }
  };
}

/** Elements from the first to the last of a matrix. */
function extent({ transposed, stride }: Layout, rows: number, columns: number): number {
  return transposed ? (columns - 1) * stride + rows : (rows - 1) * stride + columns;
}
