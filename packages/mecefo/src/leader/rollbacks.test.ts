import { expect, it } from "vitest";
import { Rollbacks } from "./rollbacks.ts";

it("is stuck after five rollbacks without progress, and only then", () => {
  const rollbacks = new Rollbacks();
  const goBack = (): boolean => {
    for (let step = 10; step < 20; step++) expect(rollbacks.isStuck(step, step + 1)).toBe(false);
    return rollbacks.isStuck(20, 10);
  };
  expect([goBack(), goBack(), goBack()]).toEqual([false, false, false]);
  // Progress: everything is forgiven.
  expect(rollbacks.isStuck(20, 21)).toBe(false);
  expect([goBack(), goBack(), goBack(), goBack()]).toEqual([false, false, false, false]);
  expect(rollbacks.isStuck(20, 10)).toBe(true);
});
