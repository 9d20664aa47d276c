import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DeviceName } from "../backend/backend.ts";
import { memory } from "../backend/inspection.ts";
import { creationOperations, creationSuite } from "./op-suite-creation.ts";
import { elementwiseOperations, elementwiseSuite } from "./op-suite-elementwise.ts";
import { fourierOperations, fourierSuite } from "./op-suite-fourier.ts";
import { fusedOperations, fusedSuite } from "./op-suite-fused.ts";
import { matmulOperations, matmulSuite } from "./op-suite-matmul.ts";
import { movementOperations, movementSuite } from "./op-suite-movement.ts";
import { reduceOperations, reduceSuite } from "./op-suite-reduce.ts";

/** Every operation that the suite checks. */
export const testedOperations: ReadonlySet<string> = new Set([
  ...creationOperations,
  ...elementwiseOperations,
  ...movementOperations,
  ...reduceOperations,
  ...matmulOperations,
  ...fusedOperations,
  ...fourierOperations,
]);

/**
 * Registers tests of every operation on a device: values against formulas over plain numbers, for odd, empty and broadcast shapes,
 * strided views and all dtypes; and that nothing but the outputs stays in memory. Runs wherever vitest does; the device has to be
 * registered.
 */
export function opSuite(device: DeviceName): void {
  describe(`operations on "${device}"`, () => {
    let before = 0;
    beforeAll(() => {
      before = memory(device).allocations;
    });
    afterAll(() => {
      expect(memory(device).allocations - before, "tensors left in memory").toBe(0);
    });
    creationSuite(device);
    elementwiseSuite(device);
    movementSuite(device);
    reduceSuite(device);
    matmulSuite(device);
    fusedSuite(device);
    fourierSuite(device);
    it("frees everything", () => {
      expect(memory(device).allocations).toBe(before);
    });
  });
}
