import * as draw from "../arbitrary.ts";
import { denseLayouts, shapes } from "../arbitraries.ts";
import type { KernelTests } from "../kernel-test.ts";
import { outputSpec } from "../tensor-spec.ts";

const words = draw.nat(0xffffffff);

/** Tests of random numbers. */
export const randomTests: KernelTests<"random"> = {
  random: {
    outputs: ["output"],
    tolerance: ({ parameters: [first, second] }) => ({ absolute: 3e-6 * (Math.abs(first) + Math.abs(second)), relative: 0 }),
    cases: draw
      .record({
        distribution: draw.constantFrom("uniform" as const, "normal" as const, "bits" as const),
        key: draw.pair(words, words),
        // Counters past 2³² carry into the second word.
        counter: draw.oneof(draw.nat(1000), draw.constantFrom(2 ** 32 - 3, 2 ** 32, 5 * 2 ** 32 - 1)),
        parameters: draw.constantFrom<readonly [number, number]>([0, 1], [-3, 5], [2, 0.5]),
        shape: shapes({ maxRank: 2 }),
        layout: denseLayouts,
      })
      .map(({ distribution, key, counter, parameters, shape, layout }) => ({
        distribution,
        key,
        counter,
        parameters,
        output: outputSpec(distribution === "bits" ? "int32" : "float32", shape, layout),
      })),
  },
};
