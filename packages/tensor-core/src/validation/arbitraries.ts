import { elementCount } from "../backend/reference/access.ts";
import * as draw from "./arbitrary.ts";
import type { Arbitrary } from "./arbitrary.ts";
import type { Layout } from "./tensor-spec.ts";

/** Seeds of test data; shrinking them would only change the numbers. */
export const seeds: Arbitrary<number> = draw.noShrink(draw.nat(2 ** 30));

/** Sizes of one axis: mostly small and odd, sometimes past a vector, a cache block or a chunk of a thread. */
export const sizes: Arbitrary<number> = draw.oneof(
  { arbitrary: draw.integer({ min: 1, max: 9 }), weight: 6 },
  { arbitrary: draw.integer({ min: 10, max: 70 }), weight: 3 },
  { arbitrary: draw.integer({ min: 71, max: 700 }), weight: 1 },
);

/** As `sizes`, now and then 0. */
export const sizesOrZero: Arbitrary<number> = draw.oneof(
  { arbitrary: sizes, weight: 12 },
  { arbitrary: draw.constant(0), weight: 1 },
);

/** Sizes from 1 to a small maximum. */
export function small(maximum: number, minimum = 1): Arbitrary<number> {
  return draw.integer({ min: minimum, max: maximum });
}

/** Shapes of up to `maxRank` axes: mostly of a few elements, now and then of so many that threads share the work. */
export function shapes({
  maxRank = 4,
  minRank = 0,
  maxElements = 5000,
}: { maxRank?: number; minRank?: number; maxElements?: number } = {}): Arbitrary<readonly number[]> {
  const usual = draw.array(sizesOrZero, { minLength: minRank, maxLength: maxRank }).filter((shape) => elementCount(shape) <= maxElements);
  const shared = draw.constantFrom([70001], [257, 301], [3, 30011], [301, 255]).filter((shape) => shape.length <= maxRank);
  return draw.oneof({ arbitrary: usual, weight: 29 }, { arbitrary: shared, weight: 1 });
}

/** Layouts of contiguous fields: only the offset is free. */
export const denseLayouts: Arbitrary<Layout> = draw.nat(5).map((offset) => ({ offset }));

/** Axes of the largest shapes. Layouts are drawn for so many, smaller views use their part: so shape and layout shrink apart. */
const layoutRank = 4;

/** Any layout: transposed, sliced, flipped, and with `broadcast` stretched by stride 0. */
export function layouts({ broadcast = true }: { broadcast?: boolean } = {}): Arbitrary<Layout> {
  const mask = draw.oneof({ arbitrary: draw.constant(0), weight: 3 }, { arbitrary: draw.nat(2 ** layoutRank - 1), weight: 1 });
  return draw.oneof(
    { arbitrary: denseLayouts, weight: 2 },
    {
      arbitrary: draw.record({
        offset: draw.nat(5),
        order: permutations(layoutRank),
        step: draw.oneof({ arbitrary: draw.constant(1), weight: 3 }, { arbitrary: small(3), weight: 1 }),
        broadcast: broadcast ? mask : draw.constant(0),
        flip: mask,
      }),
      weight: 3,
    },
  );
}

/** Layouts whose last axis is contiguous; the others lie in any order. */
export function rowLayouts(rank: number): Arbitrary<Layout> {
  return draw.record({ offset: draw.nat(5), order: permutations(rank - 1).map((order) => [...order, rank - 1]) });
}

function permutations(count: number): Arbitrary<number[]> {
  const axes = Array.from({ length: count }, (_, axis) => axis);
  return draw.permutation(axes);
}
