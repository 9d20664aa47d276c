import fc from "fast-check";
import { EigenvalueDecomposition, Matrix } from "ml-matrix";
import { describe, expect, it } from "vitest";
import "../reference.ts";
import { eye, getThreads, matmul, memory, multiply, scope, setThreads, tensor, transpose, type Tensor } from "../index.ts";
import { createPauses } from "./event-loop.ts";
import { eigh, LinalgError } from "./index.ts";
import { symmetricEigen, type SymmetricEigen } from "./symmetric-eigen.ts";
import { packSymmetricPart } from "./symmetric.ts";
import { tridiagonalEigen } from "./tridiagonal-eigen.ts";

const before = memory().allocations;
const pauses = createPauses(undefined);

function randomSource(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) | 0) / 2 ** 31;
}

/** Row-major symmetric entries. */
function symmetric(size: number, entry: (i: number, j: number) => number): Float32Array {
  const entries = new Float32Array(size * size);
  for (let i = 0; i < size; i++) for (let j = 0; j <= i; j++) entries[i * size + j] = entries[j * size + i] = entry(i, j);
  return entries;
}

function randomSymmetric(size: number, seed = 1): Float32Array {
  const random = randomSource(seed);
  return symmetric(size, random);
}

/** `xᵀ · x / rows` of random rows, coordinates of scale `scaleOf(j)` mixed by a random matrix. */
function covariance(size: number, rows: number, scaleOf: (j: number) => number): Float32Array {
  using _ = scope();
  const random = randomSource(7);
  const x = tensor(
    Float32Array.from({ length: rows * size }, (_, i) => random() * scaleOf(i % size)),
    [rows, size],
  );
  const mixing = tensor(
    Float32Array.from({ length: size * size }, () => random() / Math.sqrt(size)),
    [size, size],
  );
  const mixed = matmul(x, mixing);
  const product = matmul(transpose(mixed), mixed).dataSync();
  return symmetric(size, (i, j) => product[i * size + j]! / rows);
}

/** Checks order, orthonormality and the product, the last relative to the largest entry's row sum. */
function expectDecomposed(entries: Float32Array, size: number, { values, vectors }: SymmetricEigen): void {
  using _ = scope();
  expect(values.every((value, i) => Number.isFinite(value) && (i === 0 || value >= values[i - 1]!))).toBe(true);
  const q = tensor(vectors, [size, size]);
  const gram = transpose(q).matmul(q).subtract(eye(size)).dataSync() as Float32Array;
  expect(gram.reduce((most, value) => Math.max(most, Math.abs(value)), 0)).toBeLessThan(5e-6);
  // Scaled, so that float32 products neither overflow nor vanish.
  const scale = entries.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  const lambda = tensor(Float32Array.from(values, (value) => value / scale));
  const product = multiply(q, lambda).matmul(transpose(q)).dataSync();
  let [difference, total] = [0, 0];
  entries.forEach((value, i) => {
    difference += (product[i]! - value / scale) ** 2;
    total += (value / scale) ** 2;
  });
  expect(Math.sqrt(difference)).toBeLessThanOrEqual(5e-6 * Math.sqrt(total));
}

function decompose(entries: Float32Array, size: number): Promise<SymmetricEigen> {
  return symmetricEigen(packSymmetricPart("test", entries, 0, size), size, "cpu", pauses);
}

function trusted(entries: ArrayLike<number>, size: number): number[] {
  const matrix = new Matrix(size, size);
  for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) matrix.set(i, j, entries[i * size + j]!);
  return new EigenvalueDecomposition(matrix, { assumeSymmetric: true }).realEigenvalues.sort((a, b) => a - b);
}

function expectValues(actual: ArrayLike<number>, expected: readonly number[], tolerance = 1e-13): void {
  const scale = Math.max(...expected.map(Math.abs));
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, i) => expect(Math.abs(actual[i]! - value)).toBeLessThanOrEqual(tolerance * scale * expected.length));
}

describe("large symmetric matrices", () => {
  it.each(Array.from({ length: 40 }, (_, i) => i + 1))("agree with ml-matrix at size %i", async (size) => {
    const entries = randomSymmetric(size, size);
    const result = await decompose(entries, size);
    expectDecomposed(entries, size, result);
    expectValues(result.values, trusted(entries, size));
  });

  it("agree with ml-matrix at size 301, through eigh", async () => {
    const size = 301;
    const entries = randomSymmetric(size);
    const a = tensor(entries, [size, size]);
    const { eigenvalues, eigenvectors } = await eigh(a);
    const values = eigenvalues.dataSync();
    const result = { values: Float64Array.from(values), vectors: Float32Array.from(eigenvectors.dataSync()) };
    expectDecomposed(entries, size, result);
    expectValues(values, trusted(entries, size), 1e-9);
    for (let column = 0; column < size; column++) {
      const entriesOfColumn = Array.from({ length: size }, (_, i) => result.vectors[i * size + column]!);
      const largest = Math.max(...entriesOfColumn.map(Math.abs));
      expect(entriesOfColumn.some((value) => value > largest * 0.999)).toBe(true);
    }
    for (const made of [a, eigenvalues, eigenvectors]) made.dispose();
  });

  it("may be random ones of 512 rows", async () => {
    const entries = randomSymmetric(512, 3);
    expectDecomposed(entries, 512, await decompose(entries, 512));
  });

  it("may be covariances whose spectrum falls by ten orders of magnitude", async () => {
    const size = 200;
    const entries = covariance(size, 600, (j) => Math.exp((-12 * j) / size));
    const result = await decompose(entries, size);
    expectDecomposed(entries, size, result);
    // To float64 relative to the largest, far below what float32 products would leave of the small ones.
    expectValues(result.values, trusted(entries, size));
  });

  it("keep small eigenvalues beside one huge coordinate", async () => {
    const size = 150;
    const random = randomSource(5);
    const [mass, coupling] = [1e6, Array.from({ length: size }, random)];
    const entries = symmetric(size, (i, j) => {
      if (i === j) return i === 70 ? mass : 1 + i / size;
      return i === 70 ? coupling[j]! : j === 70 ? coupling[i]! : 0;
    });
    const result = await decompose(entries, size);
    expectDecomposed(entries, size, result);
    expectValues(result.values, trusted(entries, size));
    expect(result.values[0]!).toBeGreaterThan(0.9);
    expect(result.values[size - 2]!).toBeLessThan(2.1);
  });

  it("may have a deficient rank", async () => {
    const size = 160;
    const entries = covariance(size, 20, () => 1);
    const result = await decompose(entries, size);
    expectDecomposed(entries, size, result);
    expect(result.values.filter((value) => Math.abs(value) > 1e-5 * result.values[size - 1]!)).toHaveLength(20);
  });

  it.each<[string, number, (i: number, j: number) => number, (k: number, size: number) => number]>([
    ["zero", 100, () => 0, () => 0],
    ["the identity", 100, (i, j) => (i === j ? 1 : 0), () => 1],
    ["diagonal and unordered", 90, (i, j) => (i === j ? ((i * 37) % 90) - 45 : 0), (k) => k - 45],
    ["of equal entries", 70, () => 2, (k, size) => (k === size - 1 ? 2 * size : 0)],
    ["made of equal blocks", 120, (i, j) => (i >> 1 === j >> 1 ? (i === j ? 2 : 1) : 0), (k, size) => (k < size / 2 ? 1 : 3)],
    ["a reflection", 80, (i, j) => (i === j ? 1 : 0) - 2 / 80, (k) => (k === 0 ? -1 : 1)],
    [
      "the second difference",
      200,
      (i, j) => (i === j ? 2 : i === j + 1 ? -1 : 0),
      (k, size) => 2 - 2 * Math.cos(((k + 1) * Math.PI) / (size + 1)),
    ],
  ])("may be %s", async (_, size, entry, eigenvalue) => {
    const entries = symmetric(size, entry);
    const result = await decompose(entries, size);
    expectDecomposed(entries, size, result);
    const expected = Array.from({ length: size }, (_, k) => eigenvalue(k, size));
    const scale = Math.max(1, ...expected.map(Math.abs));
    expected.forEach((value, k) => expect(Math.abs(result.values[k]! - value)).toBeLessThan(1e-6 * scale));
  });

  it("may differ from a multiple of the identity by next to nothing", async () => {
    const size = 130;
    const random = randomSource(11);
    for (const offset of [1e-6, 1e-12, 1e-30]) {
      const entries = symmetric(size, (i, j) => (i === j ? 1 : offset * random()));
      expectDecomposed(entries, size, await decompose(entries, size));
    }
  });

  it("may be of any scale", async () => {
    const size = 100;
    for (const scale of [1e-36, 1e-20, 1e20, 1e36]) {
      const entries = randomSymmetric(size).map((value) => value * scale);
      const result = await decompose(entries, size);
      expectDecomposed(entries, size, result);
      expectValues(result.values, trusted(entries, size));
    }
  });

  it("come in batches, on the device of the input", async () => {
    const size = 131;
    const entries = Float32Array.of(...randomSymmetric(size, 1), ...randomSymmetric(size, 2));
    const a: Tensor<"reference"> = tensor(entries, [2, 1, size, size], { device: "reference" });
    const { eigenvalues, eigenvectors } = await eigh(a);
    expect([eigenvalues.device, eigenvectors.device]).toEqual(["reference", "reference"]);
    expect([eigenvalues.shape, eigenvectors.shape]).toEqual([
      [2, 1, size],
      [2, 1, size, size],
    ]);
    for (const index of [0, 1]) {
      const part = {
        values: Float64Array.from(eigenvalues.dataSync().subarray(index * size, (index + 1) * size)),
        vectors: Float32Array.from(eigenvectors.dataSync().subarray(index * size * size, (index + 1) * size * size)),
      };
      expectDecomposed(entries.subarray(index * size * size, (index + 1) * size * size), size, part);
    }
    for (const made of [a, eigenvalues, eigenvectors]) made.dispose();
  });

  it("give the same bits again, with any number of threads", async () => {
    const size = 260;
    const entries = randomSymmetric(size, 9);
    const threads = getThreads();
    const first = await decompose(entries, size);
    try {
      setThreads(1);
      const second = await decompose(entries, size);
      expect(second.values).toEqual(first.values);
      expect(Buffer.compare(Buffer.from(second.vectors.buffer), Buffer.from(first.vectors.buffer))).toBe(0);
    } finally {
      setThreads(threads);
    }
  });

  it("are refused when they are not symmetric", async () => {
    const entries = randomSymmetric(140);
    entries[3 * 140 + 139]! += 1;
    const a = tensor(entries, [140, 140]);
    await expect(eigh(a)).rejects.toThrow(LinalgError);
    await expect(eigh(a)).rejects.toThrow(/eigh: takes symmetric matrices, but entries \[139, 3\] and \[3, 139\]/);
    a.dispose();
  });

  it("are given up when the signal is aborted", async () => {
    const a = tensor(randomSymmetric(400), [400, 400]);
    const controller = new AbortController();
    const running = eigh(a, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(running).rejects.toThrow("enough");
    a.dispose();
  });
});

describe("divide and conquer", () => {
  const diagonals = fc.oneof(
    fc.constantFrom(0, 1, -1, 2, 1 + 2 ** -52, 1e-8, 1e8, 1e-20),
    fc.double({ min: -1, max: 1, noNaN: true }),
  );

  it("takes couplings that are zero, tiny or huge and diagonals with equal entries", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(diagonals, diagonals), { minLength: 33, maxLength: 150, size: "max" }),
        fc.integer({ min: 1, max: 8 }),
        async (pairs, period) => {
          const size = pairs.length;
          // A short period repeats blocks, and with them eigenvalues that only roundings tell apart.
          const diagonal = Float64Array.from(pairs, (_, i) => pairs[i % period]![0]);
          const offDiagonal = Float64Array.from({ length: size - 1 }, (_, i) => pairs[i]![1]);
          const { values, vectors, first, last } = await tridiagonalEigen(diagonal, offDiagonal, "cpu", pauses);
          const norm = Math.max(...diagonal.map(Math.abs), ...offDiagonal.map(Math.abs)) || 1;
          let [worst, worstOverlap] = [0, 0];
          for (let k = 0; k < size; k++) {
            const row = vectors.subarray(k * size, (k + 1) * size);
            for (let i = 0; i < size; i++) {
              const beside = (offDiagonal[i - 1] ?? 0) * (row[i - 1] ?? 0) + (offDiagonal[i] ?? 0) * (row[i + 1] ?? 0);
              worst = Math.max(worst, Math.abs(diagonal[i]! * row[i]! + beside - values[k]! * row[i]!));
            }
            for (let other = 0; other <= k; other++) {
              let sum = other === k ? -1 : 0;
              for (let i = 0; i < size; i++) sum += row[i]! * vectors[other * size + i]!;
              worstOverlap = Math.max(worstOverlap, Math.abs(sum));
            }
            expect(Math.abs(row[0]! - first[k]!)).toBeLessThan(2e-6);
            expect(Math.abs(row[size - 1]! - last[k]!)).toBeLessThan(2e-6);
          }
          expect(worst / norm).toBeLessThan(3e-6);
          expect(worstOverlap).toBeLessThan(3e-6);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("tells the close pairs of Wilkinson's matrix apart", async () => {
    const size = 81;
    const diagonal = Float64Array.from({ length: size }, (_, i) => Math.abs(i - 40));
    const { values } = await tridiagonalEigen(diagonal, new Float64Array(size - 1).fill(1), "cpu", pauses);
    const dense = new Float64Array(size * size);
    for (let i = 0; i < size; i++) {
      dense[i * size + i] = diagonal[i]!;
      if (i > 0) dense[i * size + i - 1] = dense[(i - 1) * size + i] = 1;
    }
    expectValues(values, trusted(dense, size), 1e-15);
  });
});

it("pauses let waiting callbacks run", async () => {
  let turns = 0;
  const own = createPauses(undefined);
  setTimeout(() => turns++, 0);
  await own.pause();
  const until = performance.now() + 60;
  while (performance.now() < until);
  await own.pause();
  expect(turns).toBe(1);
});

it("leaves nothing in memory", () => {
  expect(memory().allocations).toBe(before);
});
