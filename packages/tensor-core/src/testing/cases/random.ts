import fc from "fast-check";
import { denseLayouts, shapes } from "../arbitraries.ts";
import type { KernelTests } from "../kernel-test.ts";
import { outputSpec } from "../tensor-spec.ts";

const words = fc.nat(0xffffffff);

/** Tests of random numbers. */
export const randomTests: KernelTests<"random"> = {
  random: {
    outputs: ["output"],
    tolerance: ({ parameters: [first, second] }) => ({ absolute: 3e-6 * (Math.abs(first) + Math.abs(second)), relative: 0 }),
    cases: fc
      .record({
        distribution: fc.constantFrom("uniform" as const, "normal" as const, "bits" as const),
        key: fc.tuple(words, words),
        // Counters past 2³² carry into the second word.
        counter: fc.oneof(fc.nat(1000), fc.constantFrom(2 ** 32 - 3, 2 ** 32, 5 * 2 ** 32 - 1)),
        parameters: fc.constantFrom([0, 1] as const, [-3, 5] as const, [2, 0.5] as const),
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
