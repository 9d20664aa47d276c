/** Eigenvectors of symmetric tridiagonal matrices by divide and conquer (Cuppen 1981, Gu and Eisenstat 1995). */
import { EigenvalueDecomposition, Matrix } from "ml-matrix";
import type { Pauses } from "./event-loop.ts";
import { multiplyHost, normalOrZero, type ProductDevice } from "./products.ts";
import { solveSecular } from "./secular.ts";

/** Eigenvalues in ascending order with their vectors. */
export interface TridiagonalEigen {
  readonly values: Float64Array;
  /** Row k is the eigenvector of values[k], [n, n]. */
  readonly vectors: Float32Array<ArrayBuffer>;
  /**
   * The first and the last entry of every eigenvector. Eigenvalues further up depend on nothing else of the vectors, so with these in
   * float64 they are float64 results although the vectors are float32.
   */
  readonly first: Float64Array;
  readonly last: Float64Array;
}

const leafSize = 32;
const epsilon = 2 ** -53;

/** Where a row of vectors has entries: in the upper half of the coordinates, in the lower, or both. */
const inUpper = 1;
const inLower = 2;

/** Entries this far below the largest are taken for zero, so that no product of a few of them leaves float64's range. */
const negligible = 2 ** -300;

/**
 * The eigendecomposition of the tridiagonal matrix with this `diagonal` [n] and `offDiagonal` [n - 1]; all scalars in float64, products of
 * vectors through `matmul`.
 */
export async function tridiagonalEigen(
  diagonal: Float64Array,
  offDiagonal: Float64Array,
  device: ProductDevice,
  pauses: Pauses,
): Promise<TridiagonalEigen> {
  let largest = 0;
  for (const value of diagonal) largest = Math.max(largest, Math.abs(value));
  for (const value of offDiagonal) largest = Math.max(largest, Math.abs(value));
  // A power of two: scaling rounds nothing.
  const scale = largest === 0 ? 1 : 2 ** -Math.max(-1000, Math.ceil(Math.log2(largest)));
  const scaled = (value: number): number => (Math.abs(value * scale) < negligible ? 0 : value * scale);
  const result = await divide(diagonal.map(scaled), offDiagonal.map(scaled), device, pauses);
  return { ...result, values: result.values.map((value) => value / scale) };
}

async function divide(
  diagonal: Float64Array,
  offDiagonal: Float64Array,
  device: ProductDevice,
  pauses: Pauses,
): Promise<TridiagonalEigen> {
  const size = diagonal.length;
  if (size <= leafSize) return leafEigen(diagonal, offDiagonal);
  const half = size >> 1;
  // t = diag(upper', lower') + |coupling| · u · uᵀ with u = (0, …, 1, ±1, …, 0) across the cut.
  const coupling = offDiagonal[half - 1]!;
  const upperDiagonal = diagonal.slice(0, half);
  const lowerDiagonal = diagonal.slice(half);
  upperDiagonal[half - 1]! -= Math.abs(coupling);
  lowerDiagonal[0]! -= Math.abs(coupling);
  const upper = await divide(upperDiagonal, offDiagonal.subarray(0, half - 1), device, pauses);
  const lower = await divide(lowerDiagonal, offDiagonal.subarray(half), device, pauses);
  return merge(upper, lower, coupling, device, pauses);
}

function leafEigen(diagonal: Float64Array, offDiagonal: Float64Array): TridiagonalEigen {
  const size = diagonal.length;
  const matrix = Matrix.diag(Array.from(diagonal));
  offDiagonal.forEach((value, i) => {
    matrix.set(i, i + 1, value);
    matrix.set(i + 1, i, value);
  });
  const result = new EigenvalueDecomposition(matrix, { assumeSymmetric: true });
  const order = ascending(result.realEigenvalues);
  const columns = result.eigenvectorMatrix;
  const vectors = new Float32Array(size * size);
  order.forEach((column, k) => {
    for (let i = 0; i < size; i++) vectors[k * size + i] = normalOrZero(columns.get(i, column));
  });
  return {
    values: Float64Array.from(order, (column) => result.realEigenvalues[column]!),
    vectors,
    first: Float64Array.from(order, (column) => columns.get(0, column)),
    last: Float64Array.from(order, (column) => columns.get(size - 1, column)),
  };
}

function ascending(values: ArrayLike<number>): number[] {
  return Array.from(values, (_, index) => index).sort((i, j) => values[i]! - values[j]! || i - j);
}

/** The eigenpairs of both halves while they are being combined; row k of `rows` is the k-th vector, upper ones first. */
interface Combination {
  readonly size: number;
  readonly half: number;
  readonly d: Float64Array;
  /** The coupling vector u in the basis of the eigenvectors, of norm 1. */
  readonly z: Float64Array;
  readonly rows: readonly Float32Array[];
  readonly support: Uint8Array;
  readonly first: Float64Array;
  readonly last: Float64Array;
}

async function merge(
  upper: TridiagonalEigen,
  lower: TridiagonalEigen,
  coupling: number,
  device: ProductDevice,
  pauses: Pauses,
): Promise<TridiagonalEigen> {
  const combination = combine(upper, lower, coupling < 0 ? -1 : 1);
  const { size, half, rows, first, last } = combination;
  const rho = 2 * Math.abs(coupling);
  const active = deflate(combination, rho);
  const count = active.length;
  await pauses.pause();

  const d = Float64Array.from(active, (k) => combination.d[k]!);
  const z = Float64Array.from(active, (k) => combination.z[k]!);
  const { roots, mixture } = await mixActive(d, z, rho, pauses);

  // The secular roots first, then what was deflated: where each goes in the result.
  const isActive = new Uint8Array(size);
  for (const k of active) isActive[k] = 1;
  const deflated: number[] = [];
  for (let k = 0; k < size; k++) if (isActive[k] === 0) deflated.push(k);
  const values = new Float64Array(size);
  values.set(roots);
  deflated.forEach((k, index) => (values[count + index] = combination.d[k]!));
  const order = ascending(values);
  const result = {
    values: Float64Array.from(order, (k) => values[k]!),
    vectors: new Float32Array(size * size),
    first: new Float64Array(size),
    last: new Float64Array(size),
  };
  const target = new Uint32Array(size);
  order.forEach((k, position) => (target[k] = position));

  deflated.forEach((k, index) => {
    const position = target[count + index]!;
    result.vectors.set(rows[k]!, position * size);
    result.first[position] = first[k]!;
    result.last[position] = last[k]!;
  });
  for (let root = 0; root < count; root++) {
    let firstEntry = 0;
    let lastEntry = 0;
    for (let i = 0; i < count; i++) {
      const weight = mixture[root * count + i]!;
      firstEntry += weight * first[active[i]!]!;
      lastEntry += weight * last[active[i]!]!;
    }
    result.first[target[root]!] = firstEntry;
    result.last[target[root]!] = lastEntry;
  }
  // Most vectors live in one half of the coordinates: two products of half the width skip the zeros.
  for (const [side, from, to] of [
    [inUpper, 0, half],
    [inLower, half, size],
  ] as const) {
    const members: number[] = [];
    active.forEach((k, i) => (combination.support[k]! & side) !== 0 && members.push(i));
    if (members.length === 0) continue;
    const width = to - from;
    const weights = new Float32Array(count * members.length);
    for (let root = 0, at = 0; root < count; root++)
      for (const i of members) weights[at++] = normalOrZero(mixture[root * count + i]!);
    const basis = new Float32Array(members.length * width);
    members.forEach((i, row) => basis.set(rows[active[i]!]!.subarray(from, to), row * width));
    const product = multiplyHost(weights, [count, members.length], basis, [members.length, width], device);
    for (let root = 0; root < count; root++) {
      const position = target[root]! * size + from;
      for (let j = 0; j < width; j++) result.vectors[position + j] = normalOrZero(product[root * width + j]!);
    }
    await pauses.pause();
  }
  return result;
}

function combine(upper: TridiagonalEigen, lower: TridiagonalEigen, sign: number): Combination {
  const half = upper.values.length;
  const size = half + lower.values.length;
  const d = new Float64Array(size);
  const z = new Float64Array(size);
  const first = new Float64Array(size);
  const last = new Float64Array(size);
  const support = new Uint8Array(size);
  const rows: Float32Array[] = [];
  for (let k = 0; k < size; k++) {
    const row = new Float32Array(size);
    if (k < half) {
      d[k] = upper.values[k]!;
      z[k] = Math.SQRT1_2 * upper.last[k]!;
      first[k] = upper.first[k]!;
      row.set(upper.vectors.subarray(k * half, (k + 1) * half));
      support[k] = inUpper;
    } else {
      const width = size - half;
      const index = k - half;
      d[k] = lower.values[index]!;
      z[k] = sign * Math.SQRT1_2 * lower.first[index]!;
      last[k] = lower.last[index]!;
      row.set(lower.vectors.subarray(index * width, (index + 1) * width), half);
      support[k] = inLower;
    }
    rows.push(row);
  }
  return { size, half, d, z, rows, support, first, last };
}

/**
 * Finds the eigenpairs that the coupling leaves as they are: those that it does not touch, and one of every two with equal eigenvalues,
 * after a rotation that takes the coupling out of it (LAPACK's dlaed2). Returns the others, their eigenvalues ascending.
 */
function deflate({ size, d, z, rows, support, first, last }: Combination, rho: number): number[] {
  let largest = 0;
  for (let k = 0; k < size; k++) largest = Math.max(largest, Math.abs(d[k]!), rho * Math.abs(z[k]!));
  const tolerance = 8 * epsilon * largest;
  const active: number[] = [];
  let previous = -1;
  for (const k of ascending(d)) {
    if (rho * Math.abs(z[k]!) <= tolerance) continue;
    if (previous >= 0) {
      const norm = Math.hypot(z[previous]!, z[k]!);
      const cosine = z[k]! / norm;
      const sine = -z[previous]! / norm;
      if (Math.abs((d[k]! - d[previous]!) * cosine * sine) <= tolerance) {
        z[k] = norm;
        z[previous] = 0;
        rotate(rows[previous]!, rows[k]!, cosine, sine);
        rotatePair(first, previous, k, cosine, sine);
        rotatePair(last, previous, k, cosine, sine);
        support[k]! |= support[previous]!;
        const [a, b] = [d[previous]!, d[k]!];
        d[previous] = a * cosine * cosine + b * sine * sine;
        d[k] = a * sine * sine + b * cosine * cosine;
      } else active.push(previous);
    }
    previous = k;
  }
  if (previous >= 0) active.push(previous);
  return active;
}

function rotate(a: Float32Array, b: Float32Array, cosine: number, sine: number): void {
  for (let i = 0; i < a.length; i++) {
    const x = a[i]!;
    const y = b[i]!;
    a[i] = normalOrZero(cosine * x + sine * y);
    b[i] = normalOrZero(cosine * y - sine * x);
  }
}

function rotatePair(values: Float64Array, i: number, j: number, cosine: number, sine: number): void {
  const x = values[i]!;
  const y = values[j]!;
  values[i] = cosine * x + sine * y;
  values[j] = cosine * y - sine * x;
}

/**
 * Eigenvalues of `diag(d) + rho · z · zᵀ` and, as rows of `mixture`, its eigenvectors. They belong to the vector z for which the computed
 * eigenvalues are exact ones (Gu and Eisenstat), which keeps them orthogonal however close eigenvalues are.
 */
async function mixActive(
  d: Float64Array,
  z: Float64Array,
  rho: number,
  pauses: Pauses,
): Promise<{ roots: Float64Array; mixture: Float64Array }> {
  const count = d.length;
  const roots = new Float64Array(count);
  const mixture = new Float64Array(count * count);
  const squares = z.map((value) => value * value);
  const exact = new Float64Array(count).fill(-1);
  for (let root = 0; root < count; root++) {
    const start = root * count;
    roots[root] = solveSecular(root, d, squares, rho, count, mixture, start);
    const own = d[root]!;
    for (let i = 0; i < root; i++) exact[i]! *= mixture[start + i]! / (d[i]! - own);
    exact[root]! *= mixture[start + root]!;
    for (let i = root + 1; i < count; i++) exact[i]! *= mixture[start + i]! / (d[i]! - own);
    if (root % 32 === 31) await pauses.pause();
  }
  for (let i = 0; i < count; i++) exact[i] = Math.sign(z[i]!) * Math.sqrt(exact[i]!);
  for (let root = 0; root < count; root++) {
    const start = root * count;
    let norm = 0;
    for (let i = 0; i < count; i++) {
      const entry = exact[i]! / mixture[start + i]!;
      mixture[start + i] = entry;
      norm += entry * entry;
    }
    const scale = 1 / Math.sqrt(norm);
    for (let i = 0; i < count; i++) mixture[start + i]! *= scale;
  }
  return { roots, mixture };
}
