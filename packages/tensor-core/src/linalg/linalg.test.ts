import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { diagonal, eye, memory, multiply, scope, tensor, transpose, ShapeError, type NestedArray, type Tensor } from "../index.ts";
import { cholesky, determinant, eigh, inverse, leastSquares, LinalgError, matrixRank, pseudoInverse, qr, solve, svd } from "./index.ts";

type Cpu = Tensor<"cpu">;

const before = memory().allocations;

/** Largest |a - b| over all entries. */
function distance(a: Cpu, b: Cpu): number {
  expect(a.shape).toEqual(b.shape);
  const expected = b.dataSync();
  return Math.max(0, ...Array.from(a.dataSync(), (value, i) => Math.abs(value - expected[i]!)));
}

function random(shape: readonly number[], seed: number): Cpu {
  let state = seed;
  const size = shape.reduce((product, length) => product * length, 1);
  return tensor(
    Float32Array.from({ length: size }, () => (state = (Math.imul(state, 1664525) + 1013904223) | 0) / 2 ** 31),
    shape,
  );
}

/** Runs `check` on tensors and frees everything it made. Scopes and awaits mix here because nothing else runs meanwhile. */
async function clean(check: () => Promise<void>): Promise<void> {
  using _ = scope();
  await check();
}

const sizes = fc.record({
  batch: fc.constantFrom([], [1], [3], [2, 2]),
  m: fc.integer({ min: 1, max: 9 }),
  n: fc.integer({ min: 1, max: 9 }),
  seed: fc.nat(1e6),
});

describe("svd", () => {
  it("multiplies back to the matrix with orthonormal factors and descending values", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, ({ batch, m, n, seed }) =>
        clean(async () => {
          const a = random([...batch, m, n], seed);
          const { u, singularValues, vh } = await svd(a);
          const r = Math.min(m, n);
          expect(distance(multiply(u, singularValues.expandDims(-2)).matmul(vh), a)).toBeLessThan(2e-6);
          const identity = eye(r).broadcastTo([...batch, r, r]);
          expect(distance(transpose(u, -1, -2).matmul(u), identity)).toBeLessThan(2e-6);
          expect(distance(vh.matmul(transpose(vh, -1, -2)), identity)).toBeLessThan(2e-6);
          const values = singularValues.dataSync();
          values.forEach((value, i) => {
            expect(value).toBeGreaterThanOrEqual(0);
            if (i % r > 0) expect(value).toBeLessThanOrEqual(values[i - 1]!);
          });
        }),
      ),
      { numRuns: 40 },
    );
  });

  it("knows a matrix from the textbook, with fixed signs", () =>
    clean(async () => {
      // [[3, 0], [4, 5]]: singular values 3√5 and √5, first left vector (1, 3) / √10, first right vector (1, 1) / √2.
      const { u, singularValues, vh } = await svd(
        tensor([
          [3, 0],
          [4, 5],
        ]),
      );
      expect([...singularValues.dataSync()].map((value) => value / Math.sqrt(5))).toEqual([expect.closeTo(3, 6), expect.closeTo(1, 6)]);
      const [left, right] = [Math.sqrt(0.1), Math.sqrt(0.5)];
      expect(
        distance(
          u,
          tensor([
            [left, 3 * left],
            [3 * left, -left],
          ]),
        ),
      ).toBeLessThan(1e-6);
      expect(
        distance(
          vh,
          tensor([
            [right, right],
            [right, -right],
          ]),
        ),
      ).toBeLessThan(1e-6);
    }));

  it("keeps orthonormal factors when the rank is deficient", () =>
    clean(async () => {
      const a = tensor([
        [1, 2, 3],
        [2, 4, 6],
        [3, 6, 9],
        [0, 0, 0],
      ]);
      const { u, singularValues, vh } = await svd(a);
      expect(distance(transpose(u, 0, 1).matmul(u), eye(3))).toBeLessThan(1e-6);
      expect(distance(multiply(u, singularValues).matmul(vh), a)).toBeLessThan(1e-5);
      expect(singularValues.dataSync()[0]).toBeCloseTo(14, 5);
    }));
});

describe("qr", () => {
  it("gives orthonormal q and upper triangular r with a diagonal that is not negative", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, ({ batch, m, n, seed }) =>
        clean(async () => {
          const a = random([...batch, m, n], seed);
          const { q, r } = await qr(a);
          const k = Math.min(m, n);
          expect(distance(q.matmul(r), a)).toBeLessThan(2e-6);
          expect(distance(transpose(q, -1, -2).matmul(q), eye(k).broadcastTo([...batch, k, k]))).toBeLessThan(2e-6);
          const values = r.dataSync();
          values.forEach((value, i) => {
            const [row, column] = [Math.floor(i / n) % k, i % n];
            if (column < row) expect(value).toBe(0);
            if (column === row) expect(value).toBeGreaterThanOrEqual(0);
          });
        }),
      ),
      { numRuns: 40 },
    );
  });
});

describe("eigh", () => {
  it("multiplies back, with ascending values and orthonormal vectors", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, ({ batch, n, seed }) =>
        clean(async () => {
          const half = random([...batch, n, n], seed);
          const a = half.add(transpose(half, -1, -2));
          const { eigenvalues, eigenvectors } = await eigh(a);
          expect(distance(multiply(eigenvectors, eigenvalues.expandDims(-2)).matmul(transpose(eigenvectors, -1, -2)), a)).toBeLessThan(
            5e-6,
          );
          expect(distance(transpose(eigenvectors, -1, -2).matmul(eigenvectors), eye(n).broadcastTo([...batch, n, n]))).toBeLessThan(2e-6);
          const values = eigenvalues.dataSync();
          values.forEach((value, i) => i % n > 0 && expect(value).toBeGreaterThanOrEqual(values[i - 1]!));
        }),
      ),
      { numRuns: 40 },
    );
  });

  it("knows a matrix from the textbook", () =>
    clean(async () => {
      const { eigenvalues, eigenvectors } = await eigh(
        tensor([
          [2, 1],
          [1, 2],
        ]),
      );
      expect([...eigenvalues.dataSync()]).toEqual([expect.closeTo(1, 6), expect.closeTo(3, 6)]);
      const s = Math.sqrt(0.5);
      expect(
        distance(
          eigenvectors,
          tensor([
            [s, s],
            [-s, s],
          ]),
        ),
      ).toBeLessThan(1e-6);
    }));
});

describe("cholesky", () => {
  it("gives the lower factor of a positive definite matrix", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, ({ batch, n, seed }) =>
        clean(async () => {
          const half = random([...batch, n, n], seed);
          const a = half.matmul(transpose(half, -1, -2)).add(eye(n).multiply(0.5));
          const l = await cholesky(a);
          expect(distance(l.matmul(transpose(l, -1, -2)), a)).toBeLessThan(3e-6);
          expect(Math.min(...diagonal(l).dataSync())).toBeGreaterThan(0);
        }),
      ),
      { numRuns: 30 },
    );
  });

  it("equals the example of the literature", () =>
    clean(async () => {
      const l = await cholesky(
        tensor([
          [4, 12, -16],
          [12, 37, -43],
          [-16, -43, 98],
        ]),
      );
      expect(await l.toArray()).toEqual([
        [2, 0, 0],
        [6, 1, 0],
        [-8, 5, 3],
      ] satisfies NestedArray);
    }));
});

describe("solve, inverse and determinant", () => {
  it("solve what was multiplied, for vectors, matrices and batches", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, ({ batch, m: k, n, seed }) =>
        clean(async () => {
          const a = random([...batch, n, n], seed).add(eye(n).multiply(2 * n));
          const x = random([...batch, n, k], seed + 1);
          expect(distance(await solve(a, a.matmul(x)), x)).toBeLessThan(1e-5);
          expect(distance((await inverse(a)).matmul(a), eye(n).broadcastTo([...batch, n, n]))).toBeLessThan(1e-5);
        }),
      ),
      { numRuns: 30 },
    );
    await clean(async () => {
      const x = await solve(
        tensor([
          [3, 1],
          [1, 2],
        ]),
        tensor([9, 8]),
      );
      expect(x.shape).toEqual([2]);
      expect(distance(x, tensor([2, 3]))).toBeLessThan(1e-6);
    });
  });

  it("determinants are known ones", () =>
    clean(async () => {
      const values = await determinant(
        tensor([
          [
            [1, 2],
            [3, 4],
          ],
          [
            [2, 0],
            [0, 5],
          ],
          [
            [1, 2],
            [2, 4],
          ],
        ]),
      );
      expect([...values.dataSync()]).toEqual([expect.closeTo(-2, 6), expect.closeTo(10, 6), expect.closeTo(0, 6)]);
      expect((await determinant(tensor([[7]]))).shape).toEqual([]);
    }));
});

describe("leastSquares, pseudoInverse and matrixRank", () => {
  it("fits a line", () =>
    clean(async () => {
      // NumPy's own example: y = x - 0.95 through (0, -1), (1, 0.2), (2, 0.9), (3, 2.1).
      const a = tensor([
        [0, 1],
        [1, 1],
        [2, 1],
        [3, 1],
      ]);
      expect(distance(await leastSquares(a, tensor([-1, 0.2, 0.9, 2.1])), tensor([1, -0.95]))).toBeLessThan(1e-6);
    }));

  it("takes the solution of least norm where there are many", () =>
    clean(async () => {
      expect(distance(await leastSquares(tensor([[1, 1]]), tensor([[2]])), tensor([[1], [1]]))).toBeLessThan(1e-6);
    }));

  it("meets the four conditions of Moore and Penrose", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, ({ batch, m, n, seed }) =>
        clean(async () => {
          // A product of thin matrices: rank two at most.
          const a = random([...batch, m, 2], seed).matmul(random([...batch, 2, n], seed + 1));
          const p = await pseudoInverse(a, { tolerance: 1e-5 });
          const scale = 1 + Math.max(...p.dataSync().map(Math.abs));
          expect(distance(a.matmul(p).matmul(a), a) / scale).toBeLessThan(1e-4);
          expect(distance(p.matmul(a).matmul(p), p) / scale ** 2).toBeLessThan(1e-4);
          const [ap, pa] = [a.matmul(p), p.matmul(a)];
          expect(distance(transpose(ap, -1, -2), ap) / scale).toBeLessThan(1e-4);
          expect(distance(transpose(pa, -1, -2), pa) / scale).toBeLessThan(1e-4);
        }),
      ),
      { numRuns: 30 },
    );
  });

  it("counts independent rows", () =>
    clean(async () => {
      const ranks = await matrixRank(
        tensor([
          [
            [1, 2],
            [2, 4],
          ],
          [
            [1, 0],
            [0, 1],
          ],
          [
            [0, 0],
            [0, 0],
          ],
        ]),
      );
      expect(ranks.dtype).toBe("int32");
      expect([...ranks.dataSync()]).toEqual([1, 2, 0]);
      expect([
        ...(
          await matrixRank(
            tensor([
              [1, 0],
              [0, 1e-3],
            ]),
            { tolerance: 0.1 },
          )
        ).dataSync(),
      ]).toEqual([1]);
    }));
});

describe("what has no answer is refused with a typed error", () => {
  it.each<[string, () => Promise<unknown>, new () => Error, RegExp]>([
    ["a vector", () => svd(tensor([1, 2])), ShapeError, /svd: takes matrices, got shape \[2\]/],
    ["a rectangle", () => inverse(tensor([[1, 2, 3]])), ShapeError, /inverse: takes square matrices, got shape \[1, 3\]/],
    ["no entries", () => qr(tensor(new Float32Array(0), [0, 3])), ShapeError, /empty/],
    ["NaN", () => svd(tensor([[1, NaN]])), LinalgError, /entry 1 of the input .* is NaN/],
    ["infinity", () => eigh(tensor([[Infinity]])), LinalgError, /finite/],
    [
      "a singular matrix",
      () =>
        solve(
          tensor([
            [1, 2, 3],
            [4, 5, 6],
            [7, 8, 9],
          ]),
          tensor([1, 2, 3]),
        ),
      LinalgError,
      /solve: the matrix of 3 rows is singular/,
    ],
    [
      "a singular inverse",
      () =>
        inverse(
          tensor([
            [1, 2],
            [2, 4],
          ]),
        ),
      LinalgError,
      /pseudoInverse/,
    ],
    [
      "an asymmetric matrix",
      () =>
        eigh(
          tensor([
            [1, 2],
            [3, 4],
          ]),
        ),
      LinalgError,
      /symmetric matrices, but entries \[1, 0\]/,
    ],
    [
      "an indefinite matrix",
      () =>
        cholesky(
          tensor([
            [1, 2],
            [2, 1],
          ]),
        ),
      LinalgError,
      /not positive definite/,
    ],
    [
      "a right-hand side of another length",
      () =>
        solve(
          tensor([
            [1, 0],
            [0, 1],
          ]),
          tensor([1, 2, 3]),
        ),
      ShapeError,
      /does not fit matrices \[2, 2\]; give \[..., 2, k\]/,
    ],
  ])("%s", (_, run, type, message) =>
    clean(async () => {
      const error = await run().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(type);
      expect((error as Error).message).toMatch(message);
    }),
  );
});

it("leaves nothing in memory", () => {
  expect(memory().allocations).toBe(before);
});
