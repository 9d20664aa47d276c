/**
 * Matrix products c = activation(a · b + bias) or c += a · b, in the scheme of Goto and van de Geijn (2008): b is packed into panels of 8
 * columns and a into panels of `tileRows` rows, in blocks that stay in the second-level cache, and a register tile does the work. Strides
 * are free because packing reads each element once. `tileRows` is 4 or `gemmWideRows()` and changes no bits. Strides and leading
 * dimensions count elements; `bias` 0 and `activation` 0 mean none.
 */
import { epilogue, storeEdge } from "./epilogue";
import { directTile } from "./gemm-direct";
import { packColumns, packRows, panelRows, TILE_COLUMNS } from "./gemm-pack";
import { gemmTileNarrow, gemmTileWide } from "./gemm-tile";
import { FLOAT32 } from "./weights";

/** Steps of k in one block: a panel of b (16 KiB) and one of a stay in the first-level cache. */
const DEPTH: i32 = 512;
/**
 * Rows of a packed at once (192 KiB), columns of b packed at once (1 MiB). Both are known to `matmul.ts`, which sizes the scratch memory.
 */
const ROW_BLOCK: i32 = 96;
const COLUMN_BLOCK: i32 = 512;
/** Bytes before the packed blocks: one tile for the edges. */
const TILE_BYTES: i32 = 256;

/** Steps of k in each block but the last, which evens them out; a function of k alone, because the rounding of a sum depends on it. */
// @ts-ignore: decorator
@inline
function depthStep(k: i32): i32 {
  const blocks = (k + DEPTH - 1) / DEPTH;
  return blocks > 1 ? ((k + blocks - 1) / blocks + 3) & ~3 : k;
}

/** Rows of `gemmTileWide`. */
export function gemmWideRows(): i32 {
  return RELAXED ? 6 : 5;
}

/** One packed block of a times one packed block of b: c[rows, columns] = or += the product over k, then the epilogue when `last`. */
function multiplyBlock(
  rows: i32, columns: i32, k: i32, packedA: usize, packedB: usize, c: usize, cRow: usize, add: bool,
  last: bool, bias: usize, activation: i32, tileRows: i32, scratch: usize,
): void {
  const finish = last && (bias != 0 || activation != 0);
  const panelB = <usize>k * (TILE_COLUMNS * 4);
  for (let column = 0; column < columns; column += TILE_COLUMNS) {
    const width = min(columns - column, TILE_COLUMNS);
    let a = packedA;
    for (let row = 0; row < rows; ) {
      const height = panelRows(rows - row, tileRows);
      const stored = min(rows - row, height);
      const at = c + <usize>row * cRow + (<usize>column << 2);
      const whole = stored == height && width == TILE_COLUMNS;
      const to = whole ? at : scratch;
      const toRow = whole ? cRow : 32;
      if (height == 4) gemmTileNarrow(k, a, packedB, to, toRow, whole && add);
      else gemmTileWide(k, a, packedB, to, toRow, whole && add);
      if (!whole) storeEdge(scratch, at, cRow, stored, width, add);
      if (finish) epilogue(at, cRow, stored, width, bias ? bias + (<usize>column << 2) : 0, activation);
      a += (<usize>k * <usize>height) << 2;
      row += height;
    }
    packedB += panelB;
  }
}

/**
 * Packs b for `gemm` (argument `packed`): all of k, in blocks of depth, each [panels, depth, 8]. Scratch: 8 * 512 floats. Range: panels of
 * 8 columns, any split.
 */
export function gemmPackColumns(
  n: i32, k: i32, b: usize, bRow: i32, bColumn: i32, format: i32, scales: usize, minimums: usize, groupSize: i32,
  packed: usize, firstColumn: i32, scratch: usize, begin: i32, end: i32,
): void {
  const step = depthStep(k);
  const padded = (n + TILE_COLUMNS - 1) & ~(TILE_COLUMNS - 1);
  const column = begin * TILE_COLUMNS;
  const columns = min(end * TILE_COLUMNS, n) - column;
  for (let start = 0; start < k; start += step) {
    const depth = min(step, k - start);
    const to = packed + ((<usize>start * <usize>padded + <usize>column * <usize>depth) << 2);
    packColumns(to, format, b, bRow, bColumn, scales, minimums, groupSize, k, firstColumn + column, columns, start, depth, scratch);
  }
}

/**
 * The product of any two matrices. `format`: 0 float32, 1 float16, 2 int8 groups, 3 uint4 groups (b is then the transpose of weights [n,
 * k]). `firstColumn` is added to columns of b (for formats whose addresses are not linear in it). `packed`: b from `gemmPackColumns`, or 0
 * to pack here. The range counts rows of c, or its columns with `byColumns`; any split gives the same bits. Scratch bytes: 256 + 4 * 512 *
 * (96 + 8 + (packed ? 0 : min(512, columns rounded up to 8))).
 */
export function gemm(
  m: i32, n: i32, k: i32, a: usize, aRow: i32, aColumn: i32, b: usize, bRow: i32, bColumn: i32,
  format: i32, scales: usize, minimums: usize, groupSize: i32, firstColumn: i32, packed: usize,
  c: usize, cRow: i32, bias: usize, activation: i32, accumulate: i32, byColumns: i32, tileRows: i32, scratch: usize, begin: i32, end: i32,
): void {
  const firstRow = byColumns ? 0 : begin;
  const lastRow = byColumns ? m : end;
  const lastColumn = byColumns ? end : n;
  const aRowBytes = <usize>aRow << 2;
  const aColumnBytes = <usize>aColumn << 2;
  const cRowBytes = <usize>cRow << 2;
  const packedA = scratch + TILE_BYTES;
  const temporary = packedA + ROW_BLOCK * DEPTH * 4;
  const ownB = temporary + TILE_COLUMNS * DEPTH * 4;
  const padded = (n + TILE_COLUMNS - 1) & ~(TILE_COLUMNS - 1);
  const step = depthStep(k);
  const rowBlock = ROW_BLOCK - (ROW_BLOCK % tileRows);
  for (let column = byColumns ? begin : 0; column < lastColumn; column += COLUMN_BLOCK) {
    const columns = min(COLUMN_BLOCK, lastColumn - column);
    let start = 0;
    do {
      const depth = min(step, k - start);
      let packedB = ownB;
      if (packed) {
        packedB = packed + ((<usize>start * <usize>padded + <usize>column * <usize>depth) << 2);
      } else {
        packColumns(
          ownB, format, b, bRow, bColumn, scales, minimums, groupSize, k, firstColumn + column, columns, start, depth, temporary,
        );
      }
      const add = accumulate != 0 || start > 0;
      const last = start + depth >= k;
      for (let row = firstRow; row < lastRow; row += rowBlock) {
        const rows = min(rowBlock, lastRow - row);
        packRows(packedA, a + <usize>row * aRowBytes + <usize>start * aColumnBytes, aRowBytes, aColumnBytes, rows, depth, tileRows);
        const at = c + <usize>row * cRowBytes + (<usize>column << 2);
        multiplyBlock(
          rows, columns, depth, packedA, packedB, at, cRowBytes, add, last,
          bias ? bias + (<usize>column << 2) : 0, activation, tileRows, scratch,
        );
      }
      start += depth;
    } while (start < k);
  }
}

/**
 * The product of two small float32 matrices, a read where it is and b too when its columns are contiguous. c contiguous. Scratch bytes:
 * 256 + 32 * k.
 */
export function gemmDirect(
  m: i32, n: i32, k: i32, a: usize, aRow: i32, aColumn: i32, b: usize, bRow: i32, bColumn: i32,
  c: usize, bias: usize, activation: i32, accumulate: i32, scratch: usize,
): void {
  const cRow = <usize>n << 2;
  const aRowBytes = <usize>aRow << 2;
  const add = accumulate != 0;
  for (let column = 0; column < n; column += TILE_COLUMNS) {
    const columns = min(n - column, TILE_COLUMNS);
    let panel = b + (<usize>column << 2);
    let panelStep = <usize>bRow << 2;
    if (bColumn != 1 || columns < TILE_COLUMNS) {
      panel = scratch + TILE_BYTES;
      panelStep = 32;
      packColumns(panel, FLOAT32, b, bRow, bColumn, 0, 0, 1, k, column, columns, 0, k, 0);
    }
    for (let row = 0; row < m; row += 4) {
      const rows = min(m - row, 4);
      const a0 = a + <usize>row * aRowBytes;
      const a1 = rows > 1 ? a0 + aRowBytes : a0;
      const a2 = rows > 2 ? a1 + aRowBytes : a1;
      const a3 = rows > 3 ? a2 + aRowBytes : a2;
      const at = c + <usize>row * cRow + (<usize>column << 2);
      if (rows == 4 && columns == TILE_COLUMNS) {
        directTile(k, a0, a1, a2, a3, <usize>aColumn << 2, panel, panelStep, at, cRow, add);
      } else {
        directTile(k, a0, a1, a2, a3, <usize>aColumn << 2, panel, panelStep, scratch, 32, false);
        storeEdge(scratch, at, cRow, rows, columns, add);
      }
    }
  }
  if (bias != 0 || activation != 0) epilogue(c, cRow, m, n, bias, activation);
}

/**
 * Many products of one shape and one set of strides. `table`: three addresses (a, b, c) a product, c contiguous. `direct`: by
 * `gemmDirect`, else by `gemm`. Range: products. Scratch: that of `gemm` or `gemmDirect`.
 */
export function gemmBatch(
  m: i32, n: i32, k: i32, aRow: i32, aColumn: i32, bRow: i32, bColumn: i32, format: i32, bias: usize, activation: i32, accumulate: i32,
  table: usize, direct: i32, tileRows: i32, scratch: usize, begin: i32, end: i32,
): void {
  for (let index = begin; index < end; index++) {
    const entry = table + <usize>index * 12;
    const a: usize = load<u32>(entry);
    const b: usize = load<u32>(entry, 4);
    const c: usize = load<u32>(entry, 8);
    if (direct) {
      gemmDirect(m, n, k, a, aRow, aColumn, b, bRow, bColumn, c, bias, activation, accumulate, scratch);
    } else {
      gemm(
        m, n, k, a, aRow, aColumn, b, bRow, bColumn, format, 0, 0, 1, 0, 0, c, n, bias, activation, accumulate, 1, tileRows, scratch, 0, n,
      );
    }
  }
}
