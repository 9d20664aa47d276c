import { describe, expect, it } from "vitest";
import { RotaryTable, rotaryFrequencies } from "./rotary-table.ts";
import { tinyConfiguration } from "./random-weights.testing.ts";

/**
 * Hugging Face's `_compute_llama3_parameters`, restated: three bands told apart by how many turns a frequency makes within the old context.
 */
function llama3Frequency(frequency: number, factor: number, low: number, high: number, context: number): number {
  const turns = (frequency * context) / (2 * Math.PI);
  if (turns > high) return frequency;
  if (turns < low) return frequency / factor;
  const share = (turns - low) / (high - low);
  return share * frequency + (1 - share) * (frequency / factor);
}

describe("rotaryFrequencies", () => {
  it("are powers of theta", () => {
    const expected = [1, 0.1, 0.01, 0.001];
    rotaryFrequencies({ headDim: 8, ropeTheta: 10000 }).forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 12));
  });

  it("are divided by a linear factor, or by one factor each", () => {
    const size = { headDim: 64, ropeTheta: 10000 };
    const plain = rotaryFrequencies(size);
    expect(rotaryFrequencies({ ...size, ropeScaling: { type: "linear", factor: 4 } })).toEqual(plain.map((value) => value / 4));
    const factors = plain.map((_, i) => 1 + i);
    const each = rotaryFrequencies({ ...size, ropeScaling: { type: "factors", factors } });
    expect(each).toEqual(plain.map((value, i) => value / (1 + i)));
  });

  it("follow Llama 3.1's bands", () => {
    const [factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings] = [8, 1, 4, 8192];
    const plain = rotaryFrequencies({ headDim: 128, ropeTheta: 500000 });
    const scaled = rotaryFrequencies({
      headDim: 128, ropeTheta: 500000,
      ropeScaling: { type: "llama3", factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings },
    });
    scaled.forEach((value, i) => {
      expect(value / llama3Frequency(plain[i]!, factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings)).toBeCloseTo(1, 12);
    });
    // By hand: 2π · 500000^(i/64) passes 8192/4 between i = 28 and 29, and 8192 between 34 and 35.
    const ratios = scaled.map((value, i) => value / plain[i]!);
    expect(ratios.filter((ratio) => ratio === 1).length).toBe(29);
    expect(ratios.filter((ratio) => ratio === 1 / 8).length).toBe(64 - 35);
  });
});

describe("RotaryTable", () => {
  it("grows with the positions asked for and agrees with cosine and sine", async () => {
    const table = new RotaryTable(tinyConfiguration({ maxPositionEmbeddings: 2048 }), "cpu");
    expect(table.anglesFor(10).cosine.shape).toEqual([256, 4]);
    expect(table.anglesFor(257).cosine.shape).toEqual([512, 4]);
    const { cosine, sine } = table.anglesFor(2048);
    expect(cosine.shape).toEqual([2048, 4]);
    const [c, s] = [await cosine.data("float32"), await sine.data("float32")];
    for (const position of [0, 1, 77, 2047]) {
      for (let i = 0; i < 4; i++) {
        expect(c[position * 4 + i]).toBe(Math.fround(Math.cos(position * 10000 ** (-i / 4))));
        expect(s[position * 4 + i]).toBe(Math.fround(Math.sin(position * 10000 ** (-i / 4))));
      }
    }
    table.dispose();
  });
});
