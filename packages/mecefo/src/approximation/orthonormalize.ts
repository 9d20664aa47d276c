/**
 * A vector that lost this share of its length to those before it is orthogonalised again, until it does not (Kahan and Parlett: "twice is
 * enough").
 */
const LENGTH_TO_KEEP = Math.SQRT1_2;
/** A vector this short beside its original length is a combination of those before it. */
const NEGLIGIBLE = 1e-6;

/**
 * Gram-Schmidt in float64 on the rows of a matrix [count, length], count ≤ length, row-major. A row that is a combination of those before
 * it, as in a matrix of lesser rank, is replaced by what unit vectors have outside of their span, so that the result is orthonormal
 * always.
 */
export function orthonormalizeRows(values: ArrayLike<number>, count: number, length: number): Float32Array {
  const rows: Float64Array[] = [];
  let unit = 0;
  for (let row = 0; row < count; row++) {
    let vector = new Float64Array(length);
    for (let i = 0; i < length; i++) vector[i] = values[row * length + i]!;
    const original = norm(vector);
    let left = orthogonalize(vector, rows);
    while (!(left > NEGLIGIBLE * original)) {
      vector = new Float64Array(length);
      vector[unit++ % length] = 1;
      left = orthogonalize(vector, rows);
      if (left > 0.1 / Math.sqrt(length)) break;
    }
    for (let i = 0; i < length; i++) vector[i]! /= left;
    rows.push(vector);
  }
  const output = new Float32Array(count * length);
  rows.forEach((vector, row) => output.set(vector, row * length));
  return output;
}

/** Takes the parts along `rows` out of `vector`. Gives the length that is left. */
function orthogonalize(vector: Float64Array, rows: readonly Float64Array[]): number {
  let before = norm(vector);
  for (let pass = 0; pass < 4; pass++) {
    removeParts(vector, rows);
    const after = norm(vector);
    if (after > LENGTH_TO_KEEP * before || after === 0) return after;
    before = after;
  }
  return before;
}

/** One pass of Gram-Schmidt; four rows at a time, so that the vector is read and written a quarter as often. */
function removeParts(vector: Float64Array, rows: readonly Float64Array[]): void {
  const { length } = vector;
  let row = 0;
  for (; row + 4 <= rows.length; row += 4) {
    const [a, b, c, d] = [rows[row]!, rows[row + 1]!, rows[row + 2]!, rows[row + 3]!];
    let [inA, inB, inC, inD] = [0, 0, 0, 0];
    for (let i = 0; i < length; i++) {
      const value = vector[i]!;
      inA += a[i]! * value;
      inB += b[i]! * value;
      inC += c[i]! * value;
      inD += d[i]! * value;
    }
    for (let i = 0; i < length; i++) vector[i]! -= inA * a[i]! + inB * b[i]! + inC * c[i]! + inD * d[i]!;
  }
  for (; row < rows.length; row++) {
    const other = rows[row]!;
    let part = 0;
    for (let i = 0; i < length; i++) part += other[i]! * vector[i]!;
    for (let i = 0; i < length; i++) vector[i]! -= part * other[i]!;
  }
}

function norm(vector: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < vector.length; i++) sum += vector[i]! * vector[i]!;
  return Math.sqrt(sum);
}
