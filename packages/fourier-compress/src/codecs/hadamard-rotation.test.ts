import { describe, expect, it } from "vitest";
import { HadamardRotation } from "./hadamard-rotation.ts";

const norm = (values: Float32Array): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

describe.each([1, 2, 3, 8, 32, 288, 896, 2048])("HadamardRotation of %i channels", (width) => {
  it("keeps lengths and angles, and is undone", () => {
    const rotation = new HadamardRotation(width);
    const rows = Float32Array.from({ length: 2 * width }, (_, place) => Math.sin(place * place + 1) * 2 ** (place % 5));
    const rotated = rows.slice();
    rotation.rotate(rotated);
    const [first, second] = [rotated.subarray(0, width), rotated.subarray(width)];
    expect(norm(first) / norm(rows.subarray(0, width))).toBeCloseTo(1, 5);
    const product = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, place) => sum + value * b[place]!, 0);
    expect(product(first, second) / norm(first) / norm(second)).toBeCloseTo(
      product(rows.subarray(0, width), rows.subarray(width)) / norm(rows.subarray(0, width)) / norm(rows.subarray(width)),
      5,
    );
    rotation.rotateBack(rotated);
    for (const [place, value] of rows.entries()) expect(rotated[place]).toBeCloseTo(value, 4);
  });

  it("spreads each channel over at least half of the others", () => {
    const rotation = new HadamardRotation(width);
    for (let channel = 0; channel < width; channel += Math.max(1, Math.floor(width / 7))) {
      const rows = new Float32Array(width);
      rows[channel] = 1;
      rotation.rotate(rows);
      expect(rows.filter((value) => Math.abs(value) > 1e-6).length).toBeGreaterThanOrEqual(width / 2);
    }
  });
});
