/** The tiles of the general matrix product, by name: names are what autotuning stores. */

/** How a workgroup and its invocations share one tile of the output. */
export interface Tile {
  /** Rows and columns of the output that a workgroup computes. */
  readonly m: number;
  readonly n: number;
  /** Steps of k in workgroup memory at once: 8, 16 or 32. */
  readonly k: number;
  /** Rows and columns of one invocation, multiples of 4. */
  readonly rows: number;
  readonly columns: number;
  /** Halves of workgroup memory: with 2, the next step is stored while the current one is used, for one barrier a step. */
  readonly buffers: 1 | 2;
}

/** Names of tiles. */
export type TileName = "32x32x32" | "64x64x16" | "64x64x32" | "128x64x16" | "128x128x16" | "128x128x16-double";

/** All tiles. Only those that need no more than the limits of the adapter are candidates. */
export const tiles: Readonly<Record<TileName, Tile>> = {
  "32x32x32": { m: 32, n: 32, k: 32, rows: 4, columns: 4, buffers: 1 },
  "64x64x16": { m: 64, n: 64, k: 16, rows: 8, columns: 8, buffers: 1 },
  "64x64x32": { m: 64, n: 64, k: 32, rows: 4, columns: 4, buffers: 1 },
  "128x64x16": { m: 128, n: 64, k: 16, rows: 8, columns: 8, buffers: 1 },
  "128x128x16": { m: 128, n: 128, k: 16, rows: 8, columns: 8, buffers: 1 },
  "128x128x16-double": { m: 128, n: 128, k: 16, rows: 8, columns: 8, buffers: 2 },
};

/** Names of all tiles. */
export const tileNames: readonly TileName[] = Object.keys(tiles) as TileName[];

/** Invocations of a workgroup. */
export function tileInvocations({ m, n, rows, columns }: Tile): number {
  return (m / rows) * (n / columns);
}

/** Bytes of workgroup memory. */
export function tileMemory({ m, n, k, buffers }: Tile): number {
  return (m + n) * k * 4 * buffers;
}

/** Whether an adapter with these limits can run the tile. */
export function fitsLimits(tile: Tile, limits: { readonly workgroupInvocations: number; readonly workgroupMemory: number }): boolean {
  return tileInvocations(tile) <= limits.workgroupInvocations && tileMemory(tile) <= limits.workgroupMemory;
}
