/** How a transform of one length is laid over a workgroup. */
import type { RuntimeLimits } from "../../runtime.ts";
import { registerRadices } from "./butterfly.ts";

/** Most points of one workgroup: 16 in registers of each of 256 invocations. */
const maximumTilePoints = 4096;
/** Points of one workgroup that are enough to be worth its while. */
const usualTilePoints = 1024;
/** Neighbouring lines of one workgroup when they, and not the points, lie side by side: 64 bytes of each array at a time. */
const linesAcross = 16;
const largestWorkgroup = 256;

/** A transform of `length` points in workgroup memory. */
export interface TileShape {
  readonly length: number;
  readonly radices: readonly number[];
  /** Lines of one workgroup. */
  readonly tileLines: number;
  readonly lanes: number;
  /** One empty place after each 16, so that strides of powers of two do not fall on one bank. */
  readonly padded: boolean;
  /** Places of one line in workgroup memory. */
  readonly stride: number;
}

/** Longest transform that one workgroup holds. */
export function longestTile({ workgroupMemory }: RuntimeLimits): number {
  return Math.min(maximumTilePoints, Math.floor(workgroupMemory / 8));
}

/** Longest transform of which one workgroup holds enough neighbouring lines to read columns well. */
export function longestStep(limits: RuntimeLimits): number {
  return Math.min(longestTile(limits) / 4, 1024);
}

/**
 * Radices of fewest passes, then of the smallest sum. Odd ones come first: their strided stores meet no bank of memory twice. The length
 * has no prime factor above 13.
 */
export function tileRadices(length: number): readonly number[] {
  let best: readonly number[] | undefined;
  const cost = (radices: readonly number[]): number => radices.reduce((sum, radix) => sum + radix, radices.length * 1000);
  const search = (rest: number, largest: number, chosen: readonly number[]): void => {
    if (rest === 1) {
      if (best === undefined || cost(chosen) < cost(best)) best = chosen;
      return;
    }
    if (best !== undefined && chosen.length >= best.length) return;
    for (const radix of registerRadices) if (radix <= largest && rest % radix === 0) search(rest / radix, radix, [...chosen, radix]);
  };
  search(length, Infinity, []);
  if (best === undefined) throw new Error(`internal: ${length} is no product of ${registerRadices.join(", ")}`);
  return best.toSorted((a, b) => (b % 2) - (a % 2) || b - a);
}

function strideOf(length: number, tileLines: number, padded: boolean): number {
  const places = padded ? length + Math.floor((length - 1) / 16) : length;
  // Odd, for lanes that work on neighbouring lines.
  return tileLines === 1 ? places : places + 1 - (places % 2);
}

/** Bytes of workgroup memory: the points, and the descriptions of the lines. */
function bytesOf(length: number, tileLines: number, padded: boolean): number {
  return tileLines * strideOf(length, tileLines, padded) * 8 + (tileLines === 1 ? 0 : tileLines * 16);
}

/** Few shapes a length: each is a shader of its own. `across`: neighbouring lines lie side by side, on reading or on writing. */
export function tileShape(length: number, lineCount: number, across: boolean, limits: RuntimeLimits): TileShape {
  const radices = tileRadices(length);
  const points = across ? maximumTilePoints : usualTilePoints;
  const tileLines =
    (across ? [linesAcross, 4, 2] : [16, 4, 2]).find(
      (lines) => lines * length <= points && lines < 4 * lineCount && bytesOf(length, lines, false) <= limits.workgroupMemory,
    ) ?? 1;
  const padded = bytesOf(length, tileLines, true) <= limits.workgroupMemory;
  const wanted = Math.ceil((length * tileLines) / Math.max(...radices) / 32) * 32;
  const lanes = Math.min(wanted, largestWorkgroup, limits.workgroupInvocations);
  return { length, radices, tileLines, lanes, padded, stride: strideOf(length, tileLines, padded) };
}
