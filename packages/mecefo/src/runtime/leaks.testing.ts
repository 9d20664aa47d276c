import { memory } from "@frugal/tensor-core";
import { afterEach, beforeEach } from "vitest";

/** Every test of the file has to free the tensors that it made. */
export function forbidLeaks(): void {
  let before = 0;
  beforeEach(() => {
    before = memory().allocations;
  });
  afterEach(() => {
    const left = memory().allocations - before;
    if (left !== 0) throw new Error(`${left} tensors were not freed`);
  });
}
