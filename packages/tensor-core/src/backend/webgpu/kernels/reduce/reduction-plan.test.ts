import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sizeOf } from "../../../../tensor/shape.ts";
import type { TensorView } from "../../../backend.ts";
import { layouts, shapes } from "../../../../validation/arbitraries.ts";
import { tensorSpec } from "../../../../validation/tensor-spec.ts";
import { toFastCheck } from "../../../../testing/to-fast-check.ts";
import { planReduction, powerOfTwo, reductionRuns, type Run } from "./reduction-plan.ts";

const view = (shape: readonly number[], strides: readonly number[], offset = 0): TensorView => ({
  buffer: { byteLength: 0 },
  dtype: "float32",
  shape,
  strides,
  offset,
});

/** Elements that a plan's index reaches, as its shader counts them. */
function places(runs: readonly Run[]): number[] {
  let result = [0];
  for (const { size, stride } of runs) result = result.flatMap((place) => Array.from({ length: size }, (_, i) => place + i * stride));
  return result;
}

describe("the plan of a reduction", () => {
  it("merges axes that lie in one run", () => {
    const input = view([2, 3, 1, 5, 7], [105, 35, 9, 7, 1]);
    expect(reductionRuns(input, [0, 1])).toEqual({ kept: [{ size: 35, stride: 1 }], reduced: [{ size: 6, stride: 35 }], offset: 0 });
    expect(reductionRuns(input, [0, 2, 4])).toEqual({
      kept: [{ size: 15, stride: 7 }],
      reduced: [{ size: 2, stride: 105 }, { size: 7, stride: 1 }],
      offset: 0,
    });
    // A transposed and flipped block is walked in the order of memory.
    expect(reductionRuns(view([4, 6], [1, -4], 20), [0, 1])).toEqual({
      kept: [{ size: 1, stride: 0 }],
      reduced: [{ size: 24, stride: 1 }],
      offset: 0,
    });
  });

  it("reads by fours only where all fours are aligned", () => {
    const packingOf = (input: TensorView, axes: readonly number[]) => planReduction(reductionRuns(input, axes), true, true).packing;
    expect(packingOf(view([10, 64], [64, 1]), [1])).toBe("reduced");
    expect(packingOf(view([10, 64], [64, 1]), [0])).toBe("kept");
    expect(packingOf(view([10, 64], [64, 1], 2), [0])).toBe("none");
    expect(packingOf(view([10, 63], [63, 1]), [1])).toBe("none");
    expect(packingOf(view([10, 64], [65, 1]), [1])).toBe("none");
  });

  it("splits few long reductions, and no others", () => {
    const splitsOf = (shape: readonly [number, number], axis: number) =>
      planReduction(reductionRuns(view(shape, [shape[1], 1]), [axis]), true, true).splits;
    expect(splitsOf([1, 2 ** 24], 1)).toBe(1024);
    expect(splitsOf([4096, 4096], 1)).toBe(1);
    expect(splitsOf([4096, 4096], 0)).toBe(32);
    expect(splitsOf([1, 4096], 1)).toBe(1);
  });

  it("reaches each element once", () => {
    const cases = fc.record({
      shape: toFastCheck(shapes({ minRank: 1, maxElements: 3000 })).filter((shape) => sizeOf(shape) <= 3000),
      layout: toFastCheck(layouts({ broadcast: false })),
      reduced: fc.nat(15),
    });
    fc.assert(
      fc.property(cases, ({ shape, layout, reduced }) => {
        const spec = tensorSpec("float32", shape, () => 0, layout);
        const axes = shape.map((_, axis) => axis).filter((axis) => (reduced >> axis) & 1);
        const plan = planReduction(reductionRuns(view(spec.shape, spec.strides, spec.offset), axes), true, true);
        expect(plan.keptLanes * plan.reducedLanes).toBe(256);
        expect(powerOfTwo(plan.reducedLanes)).toBe(plan.reducedLanes);
        expect(plan.splits * plan.chunk).toBeGreaterThanOrEqual(plan.reducedUnits);
        const width = plan.packing === "none" ? 1 : 4;
        const reached = places([...plan.kept, ...plan.reduced]).flatMap((place) =>
          Array.from({ length: width }, (_, i) => (plan.offset + place) * width + i),
        );
        const all = places(spec.shape.map((size, axis) => ({ size, stride: spec.strides[axis]! }))).map((place) => spec.offset + place);
        const ascending = (a: number, b: number): number => a - b;
        expect(reached.toSorted(ascending)).toEqual(all.toSorted(ascending));
      }),
      { numRuns: 200 },
    );
  });
});
