import type { Activation, KernelArguments, Kernels, QuantizedView, TensorView } from "../backend.ts";
import type { WasmRuntime } from "./runtime.ts";

/** The kernels' numbers for activations; 0 = none (`assembly/gemm-tile.ts`). */
const activationCodes: Readonly<Record<Activation, number>> = { relu: 1, silu: 2, gelu: 3, geluTanh: 4 };

/** The kernels' numbers for formats of b (`assembly/weights.ts`). */
const formatCodes = { float32: 0, float16: 1, int8: 2, uint4: 3 } as const;

/** Multiply-adds up to which packing does not pay, and the longest inner dimension that the fixed scratch block has room for. */
const directWork = 32_768;
const directDepth = 512;
const directScratchBytes = 256 + 32 * directDepth;
/** Rows of a up to which the weights are read in place: whole rows of weights, or rows of b as they lie. */
const dotRows = 16;
const columnRows = 4;
/** Rows of a up to which weights are worth decoding once for each row, in registers, rather than into memory. */
const storedRows = 4;
/** Scratch of the `gemm` kernel: its block sizes are those of `assembly/gemm.ts`. */
const depthBlock = 512;
const rowBlock = 96;
const columnBlock = 512;
const gemmScratchBytes = 256 + 4 * depthBlock * (rowBlock + 8);
/** Bytes of b packed for all threads at once. */
const packedLimit = 1 << 25;
/** Below this many multiply-adds a matrix of a batch is one thread's work. */
const batchWork = 1 << 21;

function isQuantized(b: TensorView | QuantizedView): b is QuantizedView {
  return "format" in b;
}

/** Element offsets of the matrices of a batch, in row-major order of the batch dimensions. */
function batchOffsets(shape: readonly number[], strides: readonly number[], batchRank: number): Int32Array {
  let count = 1;
  for (let axis = 0; axis < batchRank; axis++) count *= shape[axis]!;
  const offsets = new Int32Array(count);
  let filled = 1;
  for (let axis = 0; axis < batchRank && count > 0; axis++) {
    // Each offset so far becomes a run, one for each index of this axis; from the back, so that nothing is overwritten before it is read.
    const size = shape[axis]!;
    const stride = strides[axis]!;
    for (let i = filled - 1; i >= 0; i--) {
      const base = offsets[i]!;
      for (let j = size - 1; j >= 0; j--) offsets[i * size + j] = base + j * stride;
    }
    filled *= size;
  }
  return offsets;
}

/** Whether the batch dimensions of a run on from its rows, so that [...batch, m, k] is [batch * m, k]. */
function rowsContinue(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = strides[strides.length - 2]! * shape[shape.length - 2]!;
  for (let axis = shape.length - 3; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
}

function isShared(shape: readonly number[], strides: readonly number[]): boolean {
  for (let axis = shape.length - 3; axis >= 0; axis--) if (shape[axis] !== 1 && strides[axis] !== 0) return false;
  return true;
}

/**
 * Matrix products on the WebAssembly heap. The path depends on shapes, strides and formats only, never on the number of threads, and each
 * path gives the same bits however its work is split: products with few rows read the weights in place (`gemv.ts`, `quant.ts` in
 * `assembly/`), small ones read both matrices in place (`gemmDirect`), all others are packed (`gemm`).
 */
export function createMatmul(runtime: WasmRuntime): Pick<Kernels, "matmul"> {
  const { exports, heap } = runtime;
  // Both tile sizes give the same bits. V8 keeps the wide one in registers since about the version that brought Float16Array; before, it
  // is half as fast.
  const tileRows = "Float16Array" in globalThis ? exports.gemmWideRows() : 4;
  // Small products must not pay for an allocation, so their scratch block (17 KiB) is taken once.
  const directScratch = heap.allocateInternal(directScratchBytes).pointer;

  /** One product of addresses and element strides. Scales, minimums and groupSize matter to quantised formats alone. */
  function multiply(
    m: number, n: number, k: number, a: number, aRow: number, aColumn: number, b: number, bRow: number, bColumn: number,
    format: number, scales: number, minimums: number, groupSize: number, c: number, bias: number, activation: number, accumulate: number,
  ): void {
    const work = m * n * k;
    if (format === formatCodes.float32) {
      if (n === 1 && m > 1 && k > 0) {
        return timesColumn(m, k, a, aRow, aColumn, b, bRow, c, bias, activation, accumulate);
      }
      if (m <= dotRows && (bRow === 1 || k === 1) && (m <= columnRows || work > directWork)) {
        return m < 4
          ? rowsTimesFloats(m, n, k, a, aRow, aColumn, b, bColumn, c, bias, activation, accumulate)
          : rowsTimesWeights(m, n, k, a, aRow, aColumn, b, bColumn, format, 0, 0, 1, c, bias, activation, accumulate);
      }
      if (m <= columnRows && bColumn === 1 && n >= 8) {
        return rowsTimesColumns(m, n, k, a, aRow, aColumn, b, bRow, c, bias, activation, accumulate);
      }
      if (work <= directWork && k <= directDepth) {
        exports.gemmDirect(m, n, k, a, aRow, aColumn, b, bRow, bColumn, c, bias, activation, accumulate, directScratch);
        return;
      }
    } else if (m <= dotRows && bRow === 1 && k > 0) {
      if (m <= storedRows && format === formatCodes.float16) {
        runtime.parallel(
          "gemvHalf",
          [m, n, k, a, aRow, aColumn, b, bColumn, c, bias, activation, accumulate],
          n,
          { granularity: 4, work, scratchBytes: 64 + m * (16 + 4 * ((k + 7) & ~7)) },
        );
        return;
      }
      if (m <= storedRows && format !== formatCodes.float16 && groupSize % (format === formatCodes.int8 ? 8 : 32) === 0) {
        const fourBits = format === formatCodes.uint4 ? 1 : 0;
        runtime.parallel(
          "gemvIntegers",
          [m, n, k, a, aRow, aColumn, b, fourBits, scales, minimums, groupSize, c, bias, activation, accumulate],
          n,
          { granularity: 2, work, scratchBytes: 4 * k + m * (4 * k + 32 * (k / groupSize)) },
        );
        return;
      }
      return rowsTimesWeights(m, n, k, a, aRow, aColumn, b, bColumn, format, scales, minimums, groupSize, c, bias, activation, accumulate);
    }
    packedProduct(m, n, k, a, aRow, aColumn, b, bRow, bColumn, format, scales, minimums, groupSize, c, bias, activation, accumulate);
  }

  /** A column is a row of the transposed product, which has kernels of its own; its one bias becomes m of them. */
  function timesColumn(
    m: number, k: number, a: number, aRow: number, aColumn: number, b: number, bRow: number,
    c: number, bias: number, activation: number, accumulate: number,
  ): void {
    const format = formatCodes.float32;
    if (bias === 0) return multiply(1, m, k, b, 1, bRow, a, aColumn, aRow, format, 0, 0, 1, c, 0, activation, accumulate);
    runtime.withScratch(4 * m, (biases) => {
      heap.float32.fill(heap.float32[bias >>> 2]!, biases >>> 2, (biases >>> 2) + m);
      multiply(1, m, k, b, 1, bRow, a, aColumn, aRow, format, 0, 0, 1, c, biases, activation, accumulate);
    });
  }

  function rowsTimesFloats(
    m: number, n: number, k: number, a: number, aRow: number, aColumn: number, b: number, bColumn: number,
    c: number, bias: number, activation: number, accumulate: number,
  ): void {
    const work = m * n * k;
    if (aColumn === 1 && work <= directWork) {
      exports.gemvFloat(m, n, k, a, aRow, 1, b, bColumn, c, bias, activation, accumulate, 0, 0, n);
      return;
    }
    runtime.parallel(
      "gemvFloat",
      [m, n, k, a, aRow, aColumn, b, bColumn, c, bias, activation, accumulate],
      n,
      { granularity: 4, work, scratchBytes: aColumn === 1 ? 64 : 4 * m * k },
    );
  }

  function rowsTimesWeights(
    m: number, n: number, k: number, a: number, aRow: number, aColumn: number, b: number, bColumn: number,
    format: number, scales: number, minimums: number, groupSize: number, c: number, bias: number, activation: number, accumulate: number,
  ): void {
    const work = m * n * k;
    if (aColumn === 1 && work <= directWork) {
      exports.gemvDot(
        m, n, k, a, aRow, 1, b, bColumn, format, scales, minimums, groupSize, c, bias, activation, accumulate, directScratch, 0, n,
      );
      return;
    }
    runtime.parallel(
      "gemvDot",
      [m, n, k, a, aRow, aColumn, b, bColumn, format, scales, minimums, groupSize, c, bias, activation, accumulate],
      n,
      { granularity: 2, work, scratchBytes: 256 + 4096 + (aColumn === 1 ? 0 : 4 * m * k) },
    );
  }

  function rowsTimesColumns(
    m: number, n: number, k: number, a: number, aRow: number, aColumn: number, b: number, bRow: number,
    c: number, bias: number, activation: number, accumulate: number,
  ): void {
    const work = m * n * k;
    if (work <= directWork) {
      exports.gemvColumns(m, n, k, a, aRow, aColumn, b, bRow, c, bias, activation, accumulate, 0, n);
      return;
    }
    // 32 columns are two cache lines: threads never write to the same one.
    runtime.parallel("gemvColumns", [m, n, k, a, aRow, aColumn, b, bRow, c, bias, activation, accumulate], n, { granularity: 32, work });
  }

  function packedProduct(
    m: number, n: number, k: number, a: number, aRow: number, aColumn: number, b: number, bRow: number, bColumn: number,
    format: number, scales: number, minimums: number, groupSize: number, c: number, bias: number, activation: number, accumulate: number,
  ): void {
    const work = m * n * k;
    const threads = runtime.threadCount;
    if (threads === 1 || m < 64 || n >= 8 * m) {
      const columns = Math.min(columnBlock, (n + 7) & ~7);
      runtime.parallel(
        "gemm",
        [
          m, n, k, a, aRow, aColumn, b, bRow, bColumn, format, scales, minimums, groupSize, 0, 0,
          c, n, bias, activation, accumulate, 1, tileRows,
        ],
        n,
        { granularity: 8, work, scratchBytes: gemmScratchBytes + 4 * depthBlock * columns },
      );
      return;
    }
    // Threads share one packed b, instead of each packing its own, and split the rows.
    const block = Math.max(8, Math.min((n + 7) & ~7, Math.floor(packedLimit / 4 / Math.max(1, k) / 8) * 8));
    runtime.withScratch(4 * k * block, (packed) => {
      for (let column = 0; column < n; column += block) {
        const columns = Math.min(block, n - column);
        runtime.parallel(
          "gemmPackColumns",
          [columns, k, b, bRow, bColumn, format, scales, minimums, groupSize, packed, column],
          (columns + 7) >> 3,
          { work: columns * k, scratchBytes: 4 * 8 * depthBlock },
        );
        const at = 4 * column;
        runtime.parallel(
          "gemm",
          [
            m, columns, k, a, aRow, aColumn, b, bRow, bColumn, format, scales, minimums, groupSize, column, packed,
            c + at, n, bias === 0 ? 0 : bias + at, activation, accumulate, 0, tileRows,
          ],
          m,
          { granularity: tileRows, work: m * columns * k, scratchBytes: gemmScratchBytes },
        );
      }
    });
  }

  /** Many small products, each by one thread. */
  function batchedProduct(
    m: number, n: number, k: number, a: number, aOffsets: Int32Array, aRow: number, aColumn: number,
    b: number, bOffsets: Int32Array, itemBytes: number, bRow: number, bColumn: number, format: number,
    c: number, bias: number, activation: number, accumulate: number,
  ): void {
    const count = aOffsets.length;
    const direct = format === formatCodes.float32 && m * n * k <= directWork && k <= directDepth;
    const scratchBytes = direct ? directScratchBytes : gemmScratchBytes + 4 * depthBlock * Math.min(columnBlock, (n + 7) & ~7);
    runtime.withScratch(12 * count, (table) => {
      const entries = heap.int32;
      let at = table >>> 2;
      for (let index = 0; index < count; index++) {
        entries[at] = a + 4 * aOffsets[index]!;
        entries[at + 1] = b + itemBytes * bOffsets[index]!;
        entries[at + 2] = c + 4 * m * n * index;
        at += 3;
      }
      runtime.parallel(
        "gemmBatch",
        [m, n, k, aRow, aColumn, bRow, bColumn, format, bias, activation, accumulate, table, direct ? 1 : 0, tileRows],
        count,
        { work: count * m * n * k, scratchBytes },
      );
    });
  }

  function batchedMatmul(parameters: KernelArguments["matmul"], m: number, n: number, k: number): void {
    const { a, b, output } = parameters;
    const rank = output.shape.length;
    const aPointer = runtime.pointer(a);
    const aRow = a.strides[rank - 2]!;
    const aColumn = a.strides[rank - 1]!;
    const c = runtime.pointer(output);
    const bias = parameters.bias ? runtime.pointer(parameters.bias) : 0;
    const activation = parameters.activation ? activationCodes[parameters.activation] : 0;
    const accumulate = parameters.accumulate ? 1 : 0;
    const aOffsets = batchOffsets(output.shape, a.strides, rank - 2);
    if (aOffsets.length === 0) return;
    if (isQuantized(b)) {
      const values = runtime.pointer(b.values);
      const scales = runtime.pointer(b.scales);
      const minimums = b.minimums ? runtime.pointer(b.minimums) : 0;
      const format = formatCodes[b.format];
      if (rowsContinue(a.shape, a.strides)) {
        multiply(
          aOffsets.length * m, n, k, aPointer, aRow, aColumn, values, 1, 0, format, scales, minimums, b.groupSize,
          c, bias, activation, accumulate,
        );
        return;
      }
      for (let index = 0; index < aOffsets.length; index++) {
        multiply(
          m, n, k, aPointer + 4 * aOffsets[index]!, aRow, aColumn, values, 1, 0, format, scales, minimums, b.groupSize,
          c + 4 * m * n * index, bias, activation, accumulate,
        );
      }
      return;
    }
    const format = b.dtype === "float16" ? formatCodes.float16 : formatCodes.float32;
    const itemBytes = b.dtype === "float16" ? 2 : 4;
    const bPointer = runtime.pointer(b);
    const bRow = b.strides[rank - 2]!;
    const bColumn = b.strides[rank - 1]!;
    if (isShared(output.shape, b.strides) && rowsContinue(a.shape, a.strides)) {
      multiply(
        aOffsets.length * m, n, k, aPointer, aRow, aColumn, bPointer, bRow, bColumn, format, 0, 0, 1, c, bias, activation, accumulate,
      );
      return;
    }
    const bOffsets = batchOffsets(output.shape, b.strides, rank - 2);
    if (m > columnRows && n > 1 && m * n * k < batchWork) {
      batchedProduct(
        m, n, k, aPointer, aOffsets, aRow, aColumn, bPointer, bOffsets, itemBytes, bRow, bColumn, format, c, bias, activation, accumulate,
      );
      return;
    }
    for (let index = 0; index < aOffsets.length; index++) {
      multiply(
        m, n, k, aPointer + 4 * aOffsets[index]!, aRow, aColumn, bPointer + itemBytes * bOffsets[index]!, bRow, bColumn, format, 0, 0, 1,
        c + 4 * m * n * index, bias, activation, accumulate,
      );
    }
  }

  return {
    matmul(parameters) {
      const { a, b, output, bias, activation } = parameters;
      const rank = output.shape.length;
      const m = output.shape[rank - 2]!;
      const n = output.shape[rank - 1]!;
      const k = a.shape[rank - 1]!;
      if (m === 0 || n === 0 || (k === 0 && parameters.accumulate)) return;
      if (rank > 2) return batchedMatmul(parameters, m, n, k);
      const biasPointer = bias ? runtime.pointer(bias) : 0;
      const activationCode = activation ? activationCodes[activation] : 0;
      const accumulate = parameters.accumulate ? 1 : 0;
      if (isQuantized(b)) {
        multiply(
          m, n, k, runtime.pointer(a), a.strides[0]!, a.strides[1]!, runtime.pointer(b.values), 1, 0, formatCodes[b.format],
          runtime.pointer(b.scales), b.minimums ? runtime.pointer(b.minimums) : 0, b.groupSize,
          runtime.pointer(output), biasPointer, activationCode, accumulate,
        );
        return;
      }
      multiply(
        m, n, k, runtime.pointer(a), a.strides[0]!, a.strides[1]!, runtime.pointer(b), b.strides[0]!, b.strides[1]!,
        b.dtype === "float16" ? formatCodes.float16 : formatCodes.float32, 0, 0, 1,
        runtime.pointer(output), biasPointer, activationCode, accumulate,
      );
    },
  };
}
