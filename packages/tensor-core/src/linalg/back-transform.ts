/** Turns eigenvectors of a tridiagonal matrix into those of the matrix that it was reduced from. */
import type { Pauses } from "./event-loop.ts";
import { multiplyHost, normalOrZero, type ProductDevice } from "./products.ts";
import { rowStart, type Tridiagonalization } from "./tridiagonal.ts";

/** Reflections applied together. */
const blockSize = 64;

/**
 * Multiplies `columns` [n, n] by q of the reduction from the left, in place: blocks of reflections as `I - v · s · vᵀ` (compact WY), their
 * products through `matmul`.
 */
export async function applyReflections(
  { reflections }: Pick<Tridiagonalization, "reflections">,
  columns: Float32Array<ArrayBuffer>,
  size: number,
  device: ProductDevice,
  pauses: Pauses,
): Promise<void> {
  // H[1] would reflect a vector of one entry and does not exist.
  for (let from = 2; from < size; from += blockSize) {
    const to = Math.min(size, from + blockSize);
    const [count, length] = [to - from, to - 1];
    const vectors = new Float32Array(count * length);
    for (let row = 0; row < count; row++) {
      const start = rowStart(from + row);
      for (let j = 0; j < from + row; j++) vectors[row * length + j] = normalOrZero(reflections[start + j]!);
    }
    const leading = columns.subarray(0, length * size);
    const overlaps = multiplyHost(vectors, [count, length], leading, [length, size], device);
    const mixed = multiplyHost(combinedScales(reflections, from, to), [count, count], overlaps, [count, size], device);
    const change = multiplyHost(vectors, [count, length], mixed, [count, size], device, true);
    for (let i = 0; i < change.length; i++) leading[i] = normalOrZero(leading[i]! - change[i]!);
    await pauses.pause();
  }
}

/** s [count, count], lower triangular, with `H[to - 1] · … · H[from] = I - vᵀ · s · v` for rows v. */
function combinedScales(reflections: Float64Array, from: number, to: number): Float32Array {
  const count = to - from;
  const scales = new Float64Array(count * count);
  const overlaps = new Float64Array(count);
  for (let row = 0; row < count; row++) {
    const own = rowStart(from + row);
    for (let other = 0; other < row; other++) {
      const start = rowStart(from + other);
      let sum = 0;
      for (let j = 0; j < from + other; j++) sum += reflections[own + j]! * reflections[start + j]!;
      overlaps[other] = sum;
    }
    // H · (I - vᵀ s v) = I - vᵀ s v - h (h - hᵀ vᵀ s v): one more row.
    for (let other = 0; other < row; other++)
      for (let column = 0; column <= other; column++)
        scales[row * count + column]! -= overlaps[other]! * scales[other * count + column]!;
    scales[row * count + row] = 1;
  }
  return Float32Array.from(scales);
}
