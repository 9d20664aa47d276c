import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { randomValues } from "./row-coder.testing.ts";
import { selectedPositions, selectEnergy, selectLargest } from "./top-k-selection.ts";

/** By sorting: places of the largest magnitudes, the first of equal ones. */
function bySorting(values: Float32Array, count: number): number[] {
  const order = Array.from(values, (_, i) => i).sort((a, b) => Math.abs(values[b]!) - Math.abs(values[a]!) || a - b);
  return order.slice(0, count).sort((a, b) => a - b);
}

const finite = fc.float32Array({ minLength: 1, maxLength: 60, noNaN: true, noDefaultInfinity: true });
const withTies = fc
  .array(fc.constantFrom(0, -0, 1, -1, 0.5, 1e-45, -3e38), { minLength: 1, maxLength: 60 })
  .map((each) => Float32Array.from(each));

describe("selectLargest", () => {
  it("takes what sorting takes", () => {
    fc.assert(
      fc.property(fc.oneof(finite, withTies), fc.nat(), (values, draw) => {
        const count = 1 + (draw % values.length);
        expect([...selectedPositions(values, selectLargest(values, count))]).toEqual(bySorting(values, count));
      }),
    );
  });

  it("takes what sorting takes from many values, read at an offset", () => {
    const values = randomValues(50_003, 4).subarray(3);
    for (const count of [1, 7, 4_999, 49_999, 50_000]) {
      expect([...selectedPositions(values, selectLargest(values, count))]).toEqual(bySorting(values, count));
    }
  });
});

describe("selectEnergy", () => {
  it("takes the fewest values that hold the energy", () => {
    fc.assert(
      fc.property(fc.oneof(finite, withTies), fc.double({ min: 0.01, max: 0.99, noNaN: true }), (values, share) => {
        const squares = Array.from(values, (value) => value ** 2).sort((a, b) => b - a);
        const wanted = share * squares.reduce((sum, value) => sum + value, 0);
        let count = 0;
        for (let sum = 0; sum < wanted; count++) sum += squares[count]!;
        const selection = selectEnergy(values, wanted);
        // Sums in another order may differ in their last digit.
        expect(Math.abs(selection.count - count)).toBeLessThanOrEqual(1);
        expect([...selectedPositions(values, selection)]).toEqual(bySorting(values, selection.count));
      }),
    );
  });

  it("takes nothing for no energy and all values for all of it", () => {
    const values = randomValues(1000);
    expect(selectEnergy(values, 0).count).toBe(0);
    expect(selectEnergy(new Float32Array(9), 0).count).toBe(0);
    const total = values.reduce((sum, value) => sum + value ** 2, 0);
    expect(selectEnergy(values, total * (1 - 1e-12)).count).toBeGreaterThanOrEqual(999);
  });
});
