import { describe, expect, it } from "vitest";
import type { CodecTable } from "./codec-table.ts";
import { stepAtRatio } from "./step-at-ratio.ts";

const table = {
  hiddenSize: 50,
  rates: {
    klt: [
      { step: 1, bytesPerToken: 40, relativeError: 0.1 },
      { step: 2, bytesPerToken: 20, relativeError: 0.2 },
      { step: 8, bytesPerToken: 5, relativeError: 0.5 },
    ],
  },
} as unknown as CodecTable;

describe("stepAtRatio", () => {
  it("interpolates between measured steps", () => {
    expect(stepAtRatio(table, "klt", 2.5)).toEqual({ kind: "step", step: 1 });
    expect(stepAtRatio(table, "klt", 5)).toEqual({ kind: "step", step: 2 });
    // Halfway in the logarithm: 10 bytes a token, step 4.
    expect(stepAtRatio(table, "klt", 10)).toEqual({ kind: "step", step: 4 });
    expect(stepAtRatio(table, "klt", 20)).toEqual({ kind: "step", step: 8 });
  });

  it("refuses what was not measured", () => {
    expect(() => stepAtRatio(table, "top-k", 5)).toThrow("no rates for top-k, but for klt");
    expect(() => stepAtRatio(table, "klt", 2)).toThrow("ratio 2; the codec table knows klt from 2.5 to 20.0");
    expect(() => stepAtRatio(table, "klt", 21)).toThrow("ratio 21");
    expect(() => stepAtRatio(table, "klt", Number.NaN)).toThrow("ratio NaN");
  });
});
