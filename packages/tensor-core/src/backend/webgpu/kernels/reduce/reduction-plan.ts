/** How a reduction is laid over invocations: from shape and strides alone, so that equal calls add in equal order. */
import type { TensorView } from "../../../backend.ts";

/** Invocations of a workgroup. */
export const reductionWorkgroup = 256;

/** Workgroups that keep a large GPU busy; a reduction with fewer is split along what it reduces. */
const busyWorkgroups = 1024;

/** Fewest loads of an invocation that make a second launch worth its cost. */
const loadsWorthSplitting = 16;

/** Neighbours read together make up a cache line or more: so many invocations lie along a contiguous kept axis. */
const lineLanes = 32;

/** Likewise along a reduced axis, at the least. */
const sectorLanes = 8;

/** A run of positions at equal distances. */
export interface Run {
  readonly size: number;
  readonly stride: number;
}

/** The positions of a view as kept runs (in the order of the output) and reduced runs (in any order, ascending). */
export interface ReductionRuns {
  readonly kept: readonly Run[];
  readonly reduced: readonly Run[];
  /** Element with all indices 0. */
  readonly offset: number;
}

/** Merges neighbouring axes into runs. There is at least one run of each kind. */
export function reductionRuns(input: TensorView, axes: readonly number[]): ReductionRuns {
  const kept: Run[] = [];
  const reduced: Run[] = [];
  let { offset } = input;
  for (let axis = 0; axis < input.shape.length; axis++) {
    const size = input.shape[axis]!;
    const stride = input.strides[axis]!;
    if (size === 1) continue;
    if (!axes.includes(axis)) kept.push({ size, stride });
    else if (stride >= 0 || size === 0) reduced.push({ size, stride: Math.abs(stride) });
    else {
      // The order within a reduction is free, so a flipped axis is walked forwards.
      offset += (size - 1) * stride;
      reduced.push({ size, stride: -stride });
    }
  }
  reduced.sort((a, b) => (b.stride || Infinity) - (a.stride || Infinity) || 0);
  return { kept: merged(kept), reduced: merged(reduced), offset };
}

function merged(runs: readonly Run[]): readonly Run[] {
  const result: Run[] = [];
  for (const run of runs) {
    const last = result.at(-1);
    if (last?.stride === run.size * run.stride) result[result.length - 1] = { size: last.size * run.size, stride: run.stride };
    else result.push(run);
  }
  return result.length === 0 ? [{ size: 1, stride: 0 }] : result;
}

/** Along which of its runs a shader reads four elements at once. */
export type Packing = "none" | "kept" | "reduced";

/** Counts, sizes and strides are in units: of one element, or of four with packing. */
export interface ReductionPlan {
  readonly packing: Packing;
  readonly kept: readonly Run[];
  readonly reduced: readonly Run[];
  readonly offset: number;
  readonly keptUnits: number;
  readonly reducedUnits: number;
  /** Powers of two with the product `reductionWorkgroup`: outputs of a workgroup, and invocations that share an output. */
  readonly keptLanes: number;
  readonly reducedLanes: number;
  /** Distance between neighbouring lanes of each kind: 1 for those that read neighbouring memory. */
  readonly keptStep: number;
  readonly reducedStep: number;
  /** Parts of the reduced units, each of `chunk`, with a partial result each. */
  readonly splits: number;
  readonly chunk: number;
}

/** @param packable whether the source can be read by fours @param splittable whether partial results may be made */
export function planReduction(runs: ReductionRuns, packable: boolean, splittable: boolean): ReductionPlan {
  const alongReduced = readsAlongReduced(runs);
  const { packing, kept, reduced, offset } = packable ? packed(runs, alongReduced) : { packing: "none" as const, ...runs };
  const keptUnits = countOf(kept);
  const reducedUnits = countOf(reduced);
  let reducedLanes: number;
  if (alongReduced) {
    // With outputs in plenty, an invocation has more loads to itself and the tree of lanes is lower.
    const few = Math.max(powerOfTwo(reducedUnits / 8), Math.min(powerOfTwo(reducedUnits), sectorLanes));
    const fills = keptUnits * few >= busyWorkgroups * reductionWorkgroup;
    reducedLanes = Math.min(fills ? few : powerOfTwo(reducedUnits / 2), reductionWorkgroup);
  } else {
    const mostLanes = reductionWorkgroup / Math.min(powerOfTwo(keptUnits), lineLanes);
    reducedLanes = Math.min(powerOfTwo(reducedUnits / 4), mostLanes);
  }
  const keptLanes = reductionWorkgroup / reducedLanes;
  const keptGroups = Math.max(Math.ceil(keptUnits / keptLanes), 1);
  let splits = Math.min(Math.ceil(reducedUnits / (reducedLanes * loadsWorthSplitting)), Math.ceil(busyWorkgroups / keptGroups));
  if (!splittable || splits < 4) splits = 1;
  const chunk = Math.ceil(reducedUnits / splits / reducedLanes) * reducedLanes;
  return {
    packing,
    kept,
    reduced,
    offset,
    keptUnits,
    reducedUnits,
    keptLanes,
    reducedLanes,
    keptStep: alongReduced ? reducedLanes : 1,
    reducedStep: alongReduced ? 1 : keptLanes,
    splits: splits === 1 ? 1 : Math.ceil(reducedUnits / chunk),
    chunk,
  };
}

/** Whether neighbouring invocations should read along the reduced runs. */
function readsAlongReduced({ kept, reduced }: ReductionRuns): boolean {
  const keptRun = kept.at(-1)!;
  const reducedRun = reduced.at(-1)!;
  if (keptRun.stride === 0) return reducedRun.stride !== 0 || countOf(kept) < lineLanes;
  // A few interleaved columns: lanes along them would read only a few neighbours each.
  if (keptRun.size < 8 && reducedRun.size >= 64 && reducedRun.stride > 0) return true;
  return reducedRun.stride > 0 && reducedRun.stride < Math.abs(keptRun.stride);
}

function packed(runs: ReductionRuns, alongReduced: boolean): ReductionRuns & { readonly packing: Packing } {
  const fast = alongReduced ? runs.reduced : runs.kept;
  const slow = alongReduced ? runs.kept : runs.reduced;
  const last = fast.at(-1)!;
  const others = [...fast.slice(0, -1), ...slow];
  const fits = last.stride === 1 && last.size % 4 === 0 && runs.offset % 4 === 0 && others.every(({ stride }) => stride % 4 === 0);
  if (!fits) return { packing: "none", ...runs };
  const inFours = (run: Run): Run => (run === last ? { size: run.size / 4, stride: 1 } : { size: run.size, stride: run.stride / 4 });
  return {
    packing: alongReduced ? "reduced" : "kept",
    kept: runs.kept.map(inFours),
    reduced: runs.reduced.map(inFours),
    offset: runs.offset / 4,
  };
}

export function countOf(runs: readonly Run[]): number {
  return runs.reduce((count, { size }) => count * size, 1);
}

/** The next power of two, at least 1. */
export function powerOfTwo(count: number): number {
  return count <= 1 ? 1 : 2 ** (32 - Math.clz32(Math.ceil(count) - 1));
}
