import { memory } from "../backend/inspection.ts";
import "../index.ts";
import "../reference.ts";
import { describe, expect, it } from "vitest";
import { gradientSuite } from "../testing/op-suite-gradients.ts";
import { gradientCases } from "../testing/op-suite-gradient-cases.ts";

gradientSuite("cpu");

describe("gradient cases", () => {
  it("have names of their own", () => {
    const names = gradientCases.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(memory("cpu").allocations).toBe(0);
  });
});
