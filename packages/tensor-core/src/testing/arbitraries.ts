import fc from "fast-check";
import { elementCount } from "../backend/reference/access.ts";
import type { Layout } from "./tensor-spec.ts";

/** Seeds of test data; shrinking them would only change the numbers. */
export const seeds: fc.Arbitrary<number> = fc.noShrink(fc.nat(2 ** 30));

/** Sizes of one axis: mostly small and odd, sometimes past a vector, a cache block or a chunk of a thread. */
export const sizes: fc.Arbitrary<number> = fc.oneof(
  { withCrossShrink: true },
  { arbitrary: fc.integer({ min: 1, max: 9 }), weight: 6 },
  { arbitrary: fc.integer({ min: 10, max: 70 }), weight: 3 },
  { arbitrary: fc.integer({ min: 71, max: 700 }), weight: 1 },
);

/** As `sizes`, now and then 0. */
export const sizesOrZero: fc.Arbitrary<number> = fc.oneof(
  { withCrossShrink: true },
  { arbitrary: sizes, weight: 12 },
  { arbitrary: fc.constant(0), weight: 1 },
);

/** Sizes from 1 to a small maximum. */
export function small(maximum: number, minimum = 1): fc.Arbitrary<number> {
  return fc.integer({ min: minimum, max: maximum });
}

/** Shapes of up to `maxRank` axes: mostly of a few elements, now and then of so many that threads share the work. */
export function shapes({
  maxRank = 4,
  minRank = 0,
  maxElements = 5000,
}: { maxRank?: number; minRank?: number; maxElements?: number } = {}): fc.Arbitrary<readonly number[]> {
  const usual = fc.array(sizesOrZero, { minLength: minRank, maxLength: maxRank }).filter((shape) => elementCount(shape) <= maxElements);
  const shared = fc.constantFrom([70001], [257, 301], [3, 30011], [301, 255]).filter((shape) => shape.length <= maxRank);
  return fc.oneof({ withCrossShrink: true }, { arbitrary: usual, weight: 29 }, { arbitrary: shared, weight: 1 });
}

/** Layouts of contiguous fields: only the offset is free. */
export const denseLayouts: fc.Arbitrary<Layout> = fc.nat(5).map((offset) => ({ offset }));

/** Axes of the largest shapes. Layouts are drawn for so many, smaller views use their part: so shape and layout shrink apart. */
const layoutRank = 4;

/** Any layout: transposed, sliced, flipped, and with `broadcast` stretched by stride 0. */
export function layouts({ broadcast = true }: { broadcast?: boolean } = {}): fc.Arbitrary<Layout> {
  const mask = fc.oneof({ arbitrary: fc.constant(0), weight: 3 }, { arbitrary: fc.nat(2 ** layoutRank - 1), weight: 1 });
  return fc.oneof(
    { withCrossShrink: true },
    { arbitrary: denseLayouts, weight: 2 },
    {
      arbitrary: fc.record({
        offset: fc.nat(5),
        order: permutations(layoutRank),
        step: fc.oneof({ arbitrary: fc.constant(1), weight: 3 }, { arbitrary: small(3), weight: 1 }),
        broadcast: broadcast ? mask : fc.constant(0),
        flip: mask,
      }),
      weight: 3,
    },
  );
}

/** Layouts whose last axis is contiguous; the others lie in any order. */
export function rowLayouts(rank: number): fc.Arbitrary<Layout> {
  return fc.record({ offset: fc.nat(5), order: permutations(rank - 1).map((order) => [...order, rank - 1]) });
}

function permutations(count: number): fc.Arbitrary<number[]> {
  const axes = Array.from({ length: count }, (_, axis) => axis);
  return fc.shuffledSubarray(axes, { minLength: count, maxLength: count });
}
