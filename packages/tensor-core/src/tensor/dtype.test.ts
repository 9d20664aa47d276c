import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { float16BitsToFloat32, float32ToFloat16Bits, isInt32, itemSize, makeTypedArray, promoteDtypes, type Dtype } from "./dtype.ts";

/** The float16 nearest to a float32, ties to even, by searching all 63488 finite ones' ordered neighbours. */
function nearestHalf(value: number): number {
  if (Number.isNaN(value)) return NaN;
  const magnitude = Math.abs(value);
  if (magnitude >= 65520) return value < 0 ? -Infinity : Infinity;
  // The spacing of float16 at this magnitude is a power of two: rounding to it is exact in float64.
  const exponent = Math.max(-14, Math.floor(Math.log2(magnitude || 1e-300)));
  const spacing = 2 ** (exponent - 10);
  const scaled = magnitude / spacing;
  const below = Math.floor(scaled);
  const rest = scaled - below;
  const rounded = rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
  return Math.sign(value) * rounded * spacing;
}

describe("float16", () => {
  it("round-trips every value", () => {
    const wrong = Array.from({ length: 65536 }, (_, bits) => bits).filter((bits) => {
      const value = float16BitsToFloat32(bits);
      const back = float32ToFloat16Bits(value);
      return Number.isNaN(value) ? !Number.isNaN(float16BitsToFloat32(back)) : back !== bits;
    });
    expect(wrong).toEqual([]);
  });

  it("rounds to the nearest, ties to even", () => {
    fc.assert(
      fc.property(fc.float({ noDefaultInfinity: true }), fc.integer({ min: -30, max: 18 }), (fraction, exponent) => {
        for (const value of [fraction, Math.fround((fraction % 2) * 2 ** exponent)]) {
          expect(float16BitsToFloat32(float32ToFloat16Bits(value)) + 0).toBe(nearestHalf(value) + 0);
        }
      }),
      { numRuns: 3000, seed: 3 },
    );
    // Exactly between two neighbours, normal and subnormal, and the edge of infinity.
    for (const [value, expected] of [
      [2049, 2048],
      [2051, 2052],
      [2 ** -25, 0],
      [3 * 2 ** -25, 2 ** -23],
      [65519, 65504],
      [65520, Infinity],
      [-65520, -Infinity],
    ] as const) {
      expect(float16BitsToFloat32(float32ToFloat16Bits(value))).toBe(expected);
    }
    expect(Object.is(float16BitsToFloat32(float32ToFloat16Bits(-0)), -0)).toBe(true);
  });
});

describe("promoteDtypes", () => {
  it("meets in the wider kind, symmetrically", () => {
    const order: Dtype[] = ["bool", "uint8", "int32", "float16", "float32"];
    order.forEach((a, i) => order.forEach((b, j) => expect(promoteDtypes(a, b)).toBe(order[Math.max(i, j)])));
    expect(promoteDtypes("int8", "uint8")).toBe("int32");
    expect(promoteDtypes("uint8", "int8")).toBe("int32");
    expect(promoteDtypes("int8", "bool")).toBe("int8");
  });
});

describe("sizes", () => {
  it("agree with the typed arrays", () => {
    for (const dtype of ["float32", "float16", "int32", "uint8", "int8", "bool"] as const) {
      const array = makeTypedArray(dtype, 3);
      expect([array.length, array.BYTES_PER_ELEMENT]).toEqual([3, itemSize(dtype)]);
    }
  });

  it("know int32", () => {
    expect([0, -0, 2 ** 31 - 1, -(2 ** 31)].map(isInt32)).toEqual([true, true, true, true]);
    expect([0.5, 2 ** 31, -(2 ** 31) - 1, NaN, Infinity].map(isInt32)).toEqual([false, false, false, false, false]);
  });
});
