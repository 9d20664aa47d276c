import { describe, expect, it } from "vitest";
import { breathe } from "./event-loop.ts";

const busy = (milliseconds: number): void => {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
};

describe("breathe", () => {
  it("lets timers fire in a loop that would starve them", async () => {
    let fired = false;
    setTimeout(() => (fired = true), 1);
    for (let i = 0; i < 10 && !fired; i++) {
      busy(10);
      await Promise.resolve();
    }
    expect(fired).toBe(false);
    for (let i = 0; i < 10 && !fired; i++) {
      busy(10);
      await breathe();
    }
    expect(fired).toBe(true);
  });

  it("costs next to nothing when called often", async () => {
    const started = performance.now();
    for (let i = 0; i < 10_000; i++) await breathe();
    expect((performance.now() - started) / 10_000).toBeLessThan(0.05);
  });
});
