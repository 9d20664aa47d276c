import { describe, expect, it } from "vitest";
import { referenceFft } from "./reference-fft.ts";
import { unitRoot } from "./roots.ts";

function naive(real: readonly number[], imaginary: readonly number[], sign: number): [number[], number[]] {
  const n = real.length;
  const re = new Array<number>(n).fill(0);
  const im = new Array<number>(n).fill(0);
  for (let k = 0; k < n; k++) {
    for (let j = 0; j < n; j++) {
      const [c, s] = unitRoot(j * k, n);
      re[k]! += real[j]! * c - imaginary[j]! * s * sign;
      im[k]! += real[j]! * s * sign + imaginary[j]! * c;
    }
  }
  return [re, im];
}

describe("unitRoot", () => {
  it("agrees with Math.cos and Math.sin and is exact on the axes", () => {
    for (const n of [1, 2, 3, 4, 5, 7, 8, 12, 360]) {
      for (let k = -2 * n; k <= 2 * n; k++) {
        const [re, im] = unitRoot(k, n);
        expect(re).toBeCloseTo(Math.cos((2 * Math.PI * k) / n), 13);
        expect(im).toBeCloseTo(-Math.sin((2 * Math.PI * k) / n), 13);
      }
    }
    expect(unitRoot(1, 4).map((v) => v + 0)).toEqual([0, -1]);
    expect(unitRoot(3, 4).map((v) => v + 0)).toEqual([0, 1]);
    expect(unitRoot(1, 2).map((v) => v + 0)).toEqual([-1, 0]);
  });
});

describe("referenceFft", () => {
  const lengths = [...Array.from({ length: 64 }, (_, i) => i + 1), 100, 127, 128, 210, 211, 343];
  it.each([false, true])("is the DFT for every length (inverse: %s)", (inverse) => {
    for (const n of lengths) {
      const real = Array.from({ length: n }, (_, i) => Math.sin(i * i + 1));
      const imaginary = Array.from({ length: n }, (_, i) => Math.cos(3 * i * i));
      const result = referenceFft(real, imaginary, inverse);
      const [re, im] = naive(real, imaginary, inverse ? -1 : 1);
      for (let k = 0; k < n; k++) {
        expect(Math.abs(result.real[k]! - re[k]!), `length ${n}, frequency ${k}`).toBeLessThan(1e-11);
        expect(Math.abs(result.imaginary[k]! - im[k]!), `length ${n}, frequency ${k}`).toBeLessThan(1e-11);
      }
    }
  });
  it("leaves an empty signal empty", () => {
    expect(referenceFft([], [], false).real.length).toBe(0);
  });
});
