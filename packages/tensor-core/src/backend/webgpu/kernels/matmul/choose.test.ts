import { describe, expect, it } from "vitest";
import { chooseMatmul, planTiles, possibleTiles, shapeClassOf, type MatmulLayout, type MatmulMachine, type MatrixLayout } from "./choose.ts";
import { matrixVectorInvocations } from "./matrix-vector.ts";
import { splitLength } from "./tiled.ts";
import { tileInvocations, tileMemory, tileNames, tiles } from "./tiles.ts";

const baseline = { workgroupInvocations: 256, workgroupMemory: 16_384 };
const gpu: MatmulMachine = { limits: baseline, isSoftware: false, subgroups: false };

const rows: MatrixLayout = { format: "float32", access: "alongK", native: false, minimums: false, nearest: "k", wide: false };
const columns: MatrixLayout = { ...rows, access: "alongTile", nearest: "tile" };
const weights: MatmulLayout = { a: rows, b: rows };
const square = (n: number): { batches: number; m: number; k: number; n: number } => ({ batches: 1, m: n, k: n, n });

describe("chooseMatmul", () => {
  it("takes large tiles for large products, smaller ones for smaller", () => {
    expect(chooseMatmul(square(4096), weights, gpu)).toEqual({ kind: "tiled", tile: "128x128x16", splits: 1 });
    expect(chooseMatmul(square(768), weights, gpu)).toEqual({ kind: "tiled", tile: "64x64x16", splits: 1 });
    expect(chooseMatmul(square(100), weights, gpu)).toMatchObject({ kind: "tiled", tile: "32x32x32" });
  });

  it("does not waste most of a tile", () => {
    expect(chooseMatmul({ batches: 1, m: 20, k: 4096, n: 32_000 }, weights, gpu)).toMatchObject({ tile: "32x32x32" });
  });

  it("splits k where there are few tiles, into parts that cover it once", () => {
    const shape = { batches: 1, m: 64, k: 8192, n: 64 };
    const plan = chooseMatmul(shape, weights, gpu);
    expect(plan.splits).toBeGreaterThan(8);
    for (const k of [1, 31, 33, 1000, 8192]) {
      for (const splits of [1, 2, 5]) {
        const length = splitLength(k, splits, 32);
        expect(length % 32).toBe(0);
        expect(length * splits).toBeGreaterThanOrEqual(k);
      }
    }
  });

  it("reads the matrix once for few rows", () => {
    const plan = chooseMatmul({ batches: 1, m: 1, k: 4096, n: 4096 }, weights, gpu);
    const expected = { kind: "matrixVector", matrix: "b", orientation: "rows", vectors: 1, vectorBlocks: 1, lanes: 64, wide: false, splits: 1 };
    expect(plan).toEqual({ ...expected, subgroups: false });
    expect(chooseMatmul({ batches: 1, m: 1, k: 4096, n: 4096 }, weights, { ...gpu, subgroups: true })).toEqual({ ...expected, subgroups: true });
    expect(chooseMatmul({ batches: 1, m: 5, k: 4096, n: 4096 }, { a: rows, b: columns }, gpu)).toMatchObject({
      orientation: "columns",
      vectors: 8,
      lanes: 32,
      splits: 32,
      subgroups: false,
    });
  });

  it("reads the matrix again from the cache for up to 16 rows, where its loads are wide", () => {
    const shape = { batches: 1, m: 9, k: 4096, n: 4096 };
    expect(chooseMatmul(shape, weights, gpu)).toMatchObject({ kind: "matrixVector", matrix: "b", vectors: 8, vectorBlocks: 2 });
    expect(chooseMatmul({ ...shape, m: 16 }, { a: rows, b: columns }, gpu)).toMatchObject({ orientation: "columns", vectors: 8, vectorBlocks: 2 });
    expect(chooseMatmul(shape, { a: rows, b: { ...rows, format: "uint4", wide: true } }, gpu)).toMatchObject({ vectorBlocks: 2, wide: true });
    expect(chooseMatmul(shape, { a: rows, b: { ...rows, access: "scattered" } }, gpu).kind).toBe("tiled");
    expect(chooseMatmul({ ...shape, m: 17 }, weights, gpu).kind).toBe("tiled");
  });

  it("takes a as the matrix where b has few columns, however they are stored", () => {
    const shape = { batches: 1, m: 4096, k: 4096, n: 3 };
    for (const format of ["float32", "float16", "int8", "uint4"] as const) {
      const plan = chooseMatmul(shape, { a: rows, b: { ...rows, format, wide: format === "int8" } }, gpu);
      expect(plan).toMatchObject({ kind: "matrixVector", matrix: "a", vectors: 4, vectorBlocks: 1, wide: false });
    }
  });

  it("splits long inner products", () => {
    const plan = chooseMatmul({ batches: 1, m: 1, k: 2 ** 20, n: 1 }, weights, gpu);
    expect(plan).toMatchObject({ kind: "matrixVector", splits: 64, lanes: matrixVectorInvocations });
  });

  it("uses no workgroup memory on software adapters", () => {
    const software = { ...gpu, isSoftware: true };
    expect(chooseMatmul(square(512), weights, software)).toEqual({ kind: "direct", rows: 4, splits: 1 });
    expect(chooseMatmul({ batches: 1, m: 1, k: 288, n: 288 }, weights, software)).toEqual({ kind: "direct", rows: 1, splits: 1 });
  });

  it("prefers measured tiles, where the adapter can run them", () => {
    const tuned = { float32: { huge: "128x128x16-double", large: "64x64x32" } } as const;
    const roomy: MatmulMachine = { ...gpu, limits: { ...baseline, workgroupMemory: 32_768 } };
    expect(chooseMatmul(square(4096), weights, roomy, tuned)).toMatchObject({ tile: "128x128x16-double" });
    expect(chooseMatmul(square(4096), weights, gpu, tuned)).toMatchObject({ tile: "128x128x16" });
    expect(chooseMatmul(square(1024), weights, gpu, tuned)).toMatchObject({ tile: "64x64x32" });
    expect(chooseMatmul(square(1024), { a: rows, b: { ...rows, format: "float16" } }, gpu, tuned)).toMatchObject({ tile: "64x64x16" });
  });

  it("uses matrix units only where they were found good, and where they keep the precision of what is not float16", () => {
    const unit = { m: 16, n: 16, k: 16, subgroupSize: 32 };
    const f16 = { ...unit, component: "f16" } as const;
    const f32 = { ...unit, component: "f32" } as const;
    const halves: MatmulLayout = { a: rows, b: { ...rows, format: "float16" } };
    const kindOf = (layout: MatmulLayout, machine: MatmulMachine, size = 1024): string => chooseMatmul(square(size), layout, machine).kind;
    expect(kindOf(halves, gpu)).toBe("tiled");
    expect(kindOf(halves, { ...gpu, subgroupMatrix: {} })).toBe("tiled");
    expect(chooseMatmul(square(1024), halves, { ...gpu, subgroupMatrix: { f16 } })).toEqual({ kind: "subgroupMatrix", unit: f16, splits: 1 });
    expect(kindOf(weights, { ...gpu, subgroupMatrix: { f16 } })).toBe("tiled");
    expect(kindOf({ a: rows, b: { ...rows, format: "int8" } }, { ...gpu, subgroupMatrix: { f16 } })).toBe("tiled");
    expect(chooseMatmul(square(1024), weights, { ...gpu, subgroupMatrix: { f16, f32 } })).toMatchObject({ unit: f32 });
    expect(kindOf(halves, { ...gpu, subgroupMatrix: { f16 } }, 31)).toBe("tiled");
    expect(kindOf(halves, { ...gpu, isSoftware: true, subgroupMatrix: { f16 } })).toBe("direct");
  });

  it("is defined for nothing to sum", () => {
    expect(chooseMatmul({ batches: 1, m: 1, k: 0, n: 5 }, weights, gpu).splits).toBe(1);
    expect(chooseMatmul({ batches: 1, m: 50, k: 0, n: 50 }, weights, gpu).splits).toBe(1);
    expect(planTiles("32x32x32", { batches: 1, m: 50, k: 0, n: 50 }).splits).toBe(1);
  });
});

describe("tiles", () => {
  it("need no more than the baseline, but one", () => {
    expect(tileNames.filter((name) => !possibleTiles(baseline).includes(name))).toEqual(["128x128x16-double"]);
    expect(tileMemory(tiles["128x128x16"])).toBe(16_384);
  });

  it("divide evenly among invocations", () => {
    for (const name of tileNames) {
      const tile = tiles[name];
      expect([tile.rows % 4, tile.columns % 4, tile.m % tile.rows, tile.n % tile.columns]).toEqual([0, 0, 0, 0]);
      expect(tileInvocations(tile) % 32).toBe(0);
      // Vectors are permuted within groups of eight.
      expect([tile.m % 32, tile.n % 32, 32 % tile.k]).toEqual([0, 0, 0]);
    }
  });

  it("are tuned by the size of the output", () => {
    expect([128, 512, 1024, 4096].map((n) => shapeClassOf(square(n)))).toEqual(["small", "medium", "large", "huge"]);
    expect(shapeClassOf({ batches: 64, m: 128, k: 1, n: 128 })).toBe("large");
  });
});
