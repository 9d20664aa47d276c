/** Which kernel computes a product, from its shape and how its operands lie in memory. Pure: the same for the same arguments. */
import type { RuntimeFeatures, RuntimeLimits } from "../../runtime.ts";
import type { DirectPlan } from "./direct.ts";
import { chunkLength, hasWideRows, matrixVectorInvocations, maximumVectors, type MatrixVectorPlan } from "./matrix-vector.ts";
import { operandLayout, type OperandLayout } from "./operand.ts";
import type { MatmulProblem, Operand, OperandFormat } from "./problem.ts";
import { leastMatrixSize, unitFor, type SubgroupMatrixPlan, type SubgroupMatrixUnits } from "./subgroup-matrix.ts";
import type { TiledPlan } from "./tiled.ts";
import { fitsLimits, tileInvocations, tileNames, tiles, type TileName } from "./tiles.ts";

/** Sizes of a product; `batches` counts products that do not share b. */
export interface MatmulShape {
  readonly batches: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
}

/** How an operand lies in memory, as far as the choice depends on it. */
export interface MatrixLayout extends OperandLayout {
  /** For "scattered": the axis with the smaller stride. */
  readonly nearest: "k" | "tile";
  /** Quantised rows that can be read 16 bytes at a time. */
  readonly wide: boolean;
}

/** Layouts of both operands. */
export interface MatmulLayout {
  readonly a: MatrixLayout;
  readonly b: MatrixLayout;
}

/** How to compute a product. */
export type MatmulPlan = TiledPlan | MatrixVectorPlan | DirectPlan | SubgroupMatrixPlan;

/** What the choice depends on besides shape and layout. */
export interface MatmulMachine {
  readonly limits: RuntimeLimits;
  /** The adapter runs shaders on the CPU (lavapipe, SwiftShader, WARP). */
  readonly isSoftware: boolean;
  /** Shaders can exchange values within subgroups, which follow each other in a workgroup in order. */
  readonly subgroups: boolean;
  /** Units that the user asked for and that gave right results; see `subgroup-matrix.ts`. Undefined unless asked for. */
  readonly subgroupMatrix?: SubgroupMatrixUnits | undefined;
}

/** Classes of products that tiles are tuned for: by the number of output elements. */
export type ShapeClass = "small" | "medium" | "large" | "huge";

/** All classes, in order. */
export const shapeClasses: readonly ShapeClass[] = ["small", "medium", "large", "huge"];

/** The fastest tile for each kind of b and class of shapes, where one was measured. */
export type TunedTiles = Readonly<Partial<Record<OperandFormat, Readonly<Partial<Record<ShapeClass, TileName>>>>>>;

/** Class of a product: up to 256², up to 768², up to 1536² elements of output, or more. */
export function shapeClassOf({ batches, m, n }: MatmulShape): ShapeClass {
  const outputs = batches * m * n;
  if (outputs <= 256 ** 2) return "small";
  if (outputs <= 768 ** 2) return "medium";
  return outputs <= 1536 ** 2 ? "large" : "huge";
}

/** Sizes of a product. */
export function shapeOf({ batchSizes, m, k, n }: MatmulProblem): MatmulShape {
  return { batches: batchSizes[0] * batchSizes[1] * batchSizes[2], m, k, n };
}

/** Layouts of a product. */
export function layoutOf({ a, b, k }: MatmulProblem, features: Pick<RuntimeFeatures, "f16">): MatmulLayout {
  const describe = (operand: Operand): MatrixLayout => ({
    ...operandLayout(operand, features),
    nearest: Math.abs(operand.tileStride) < Math.abs(operand.kStride) && operand.tileSize > 1 ? "tile" : "k",
    wide: hasWideRows(operand, k),
  });
  return { a: describe(a), b: describe(b) };
}

/** Workgroups under which a GPU of the larger kind (130 multiprocessors) has idle parts. */
const wantedWorkgroups = 128;

/** Invocations with loads under way that it takes to keep the memory of such a GPU busy. */
const wantedInvocations = 65_536;

/** Longest sums of parts: their reading costs as much as that of so many outputs. */
const maximumSplits = 64;

/** Rows of a up to which b is better read once for each 8 of them: tiles would be half empty. */
const mostRows = 2 * maximumVectors;

/**
 * Chooses a kernel.
 *
 * - Software adapters: no workgroup memory (`direct`).
 * - Up to 16 rows of a, or 8 columns of b: the matrix is read once, or once and again from the cache (`matrixVector`).
 * - Subgroup matrices, where they were asked for and have shown that they work (`subgroupMatrix`).
 * - Otherwise tiles: those of `tuned` for the shape's class if there are any and the adapter can run them; else the largest that leave no
 *   part of a big GPU idle. Few tiles and long k: several workgroups share the k of a tile (`splits`), their parts are added in order.
 */
export function chooseMatmul(shape: MatmulShape, layout: MatmulLayout, machine: MatmulMachine, tuned?: TunedTiles): MatmulPlan {
  const { m, n } = shape;
  if (machine.isSoftware) return { kind: "direct", rows: m === 1 ? 1 : 4, splits: 1 };
  if (m <= maximumVectors && (m <= n || n > maximumVectors)) return chooseMatrixVector(shape, layout, machine, "b");
  if (n <= maximumVectors) return chooseMatrixVector(shape, layout, machine, "a");
  if (m <= mostRows && layout.b.access !== "scattered") return chooseMatrixVector(shape, layout, machine, "b");
  const unit = unitFor(layout.b.format, machine.subgroupMatrix);
  if (unit !== undefined && m >= leastMatrixSize && n >= leastMatrixSize) return { kind: "subgroupMatrix", unit, splits: 1 };
  return planTiles(chooseTile(shape, layout, machine.limits, tuned), shape);
}

function chooseMatrixVector(shape: MatmulShape, layout: MatmulLayout, machine: MatmulMachine, matrix: "a" | "b"): MatrixVectorPlan {
  const { access, nearest, format, wide } = layout[matrix];
  const [vectorCount, length] = matrix === "b" ? [shape.m, shape.n] : [shape.n, shape.m];
  const isRows = access === "alongK" || (access === "scattered" && nearest === "k");
  const quads = Math.ceil(length / 4);
  const vectorBlocks = Math.ceil(vectorCount / maximumVectors);
  const vectors = powerOfTwo(Math.ceil(vectorCount / vectorBlocks)) as 1 | 2 | 4 | 8;
  const common = { kind: "matrixVector", matrix, vectors, vectorBlocks } as const;
  if (isRows) {
    const chunk = chunkLength(format, "rows", wide);
    let lanes = 32;
    while (lanes < matrixVectorInvocations && quads * shape.batches * lanes < wantedInvocations && lanes * chunk * 2 <= shape.k) lanes *= 2;
    while (lanes > 4 && (lanes / 2) * chunk >= shape.k) lanes /= 2;
    const invocations = quads * shape.batches * lanes;
    const splits = splitsFor(wantedInvocations / 4 / invocations, shape.k / (lanes * chunk * 4));
    return { ...common, orientation: "rows", lanes, wide, subgroups: machine.subgroups, splits };
  }
  const lanes = Math.min(32, powerOfTwo(quads));
  const workgroups = Math.ceil(quads / lanes) * shape.batches;
  const turn = (matrixVectorInvocations / lanes) * 4;
  const splits = splitsFor((2 * wantedInvocations) / matrixVectorInvocations / workgroups, shape.k / (turn * 4));
  return { ...common, orientation: "columns", lanes, wide: false, subgroups: false, splits };
}

/** Splits that reach what is wanted, as far as k is long enough for them. */
function splitsFor(wanted: number, possible: number): number {
  return Math.max(1, Math.min(Math.ceil(wanted), Math.floor(possible), maximumSplits));
}

const powerOfTwo = (count: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, count)));

/** Least share of a tile's work that is worth it, where a smaller one wastes less. */
const leastUse = 0.7;

function chooseTile(shape: MatmulShape, layout: MatmulLayout, limits: RuntimeLimits, tuned: TunedTiles | undefined): TileName {
  const measured = tuned?.[layout.b.format]?.[shapeClassOf(shape)];
  const possible = (name: TileName): boolean => fitsLimits(tiles[name], limits);
  if (measured !== undefined && possible(measured)) return measured;
  const suits = (name: TileName, mostSplits: number): boolean => {
    const count = tileCount(name, shape);
    const used = (shape.batches * shape.m * shape.n) / (count * tiles[name].m * tiles[name].n);
    return possible(name) && used >= leastUse && count * Math.min(planTiles(name, shape).splits, mostSplits) >= wantedWorkgroups;
  };
  if (suits("128x128x16", 1)) return "128x128x16";
  // With k split if need be: smaller tiles read workgroup memory twice as often for every product.
  return suits("64x64x16", maximumSplits) ? "64x64x16" : "32x32x32";
}

function tileCount(name: TileName, { batches, m, n }: MatmulShape): number {
  return batches * Math.ceil(m / tiles[name].m) * Math.ceil(n / tiles[name].n);
}

/** The plan for a tile: k is split where there are fewer tiles than workgroups wanted, into parts long enough to hide the second pass. */
export function planTiles(tile: TileName, shape: MatmulShape): TiledPlan {
  const { k, rows, columns } = tiles[tile];
  const count = tileCount(tile, shape);
  // An element of output per invocation costs two transfers for each part; a part earns that back over about so many steps of k.
  const leastLength = Math.max(8 * k, 4 * rows * columns, 256);
  const splits = count >= wantedWorkgroups ? 1 : splitsFor(wantedWorkgroups / count, Math.min(16, shape.k / leastLength));
  return { kind: "tiled", tile, splits };
}

/** Tiles that the adapter can run: the candidates of autotuning. */
export function possibleTiles(limits: RuntimeLimits): readonly TileName[] {
  return tileNames.filter((name) => fitsLimits(tiles[name], limits) && tileInvocations(tiles[name]) >= 1);
}
