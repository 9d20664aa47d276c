import { describe, expect, it } from "vitest";
import { CodecTargetError, SettingsError } from "../errors.ts";
import { findStep } from "./find-step.ts";

describe("findStep", () => {
  /** Bytes of a quantiser of values of size 1: a few bits a value, and a header. */
  const bytesAt = (step: number): number => Math.ceil(40 + 5000 * Math.log2(1 + 1 / step));

  it.each([1e-6, 0.3, 1, 1e4])("comes near a budget and never over it, from %d", async (start) => {
    for (const budget of [60, 500, 9000, 60_000]) {
      let trials = 0;
      const step = await findStep(async (candidate) => (trials++, bytesAt(candidate)), budget, start);
      expect(bytesAt(step)).toBeLessThanOrEqual(budget);
      expect(bytesAt(step)).toBeGreaterThan(0.97 * budget);
      expect(trials).toBeLessThanOrEqual(41);
    }
  });

  it("does with few trials from a fair guess", async () => {
    let trials = 0;
    await findStep(async (candidate) => (trials++, bytesAt(candidate)), 5000, 1.3);
    expect(trials).toBeLessThan(8);
  });

  it("works where bytes come in stairs, and says when a budget is out of reach", async () => {
    const stairs = async (step: number): Promise<number> => (step < 2 ? 1000 : 100);
    const step = await findStep(stairs, 500, 0.1);
    expect(await stairs(step)).toBe(100);
    expect(step).toBeLessThan(2.001);
    await expect(findStep(stairs, 50, 1)).rejects.toBeInstanceOf(CodecTargetError);
    await expect(findStep(stairs, 50, 0)).rejects.toBeInstanceOf(SettingsError);
  });
});
