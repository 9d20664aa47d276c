import { describe, expect, it } from "vitest";
import { DtypeError } from "../../../errors.ts";
import type { Dtype } from "../../../tensor/dtype.ts";
import { convertExpression, valueType } from "../elements.ts";
import { binaryExpression, unaryExpression } from "./expressions.ts";
import { mathFunctions, mathSource, type MathFunction } from "./math.ts";

const dtypes: readonly Dtype[] = ["float32", "float16", "int32", "int8", "uint8", "bool"];
const names = Object.keys(mathFunctions) as MathFunction[];

/** Functions that WGSL text defines, in order. */
function definitions(source: string): string[] {
  return [...source.matchAll(/^fn (\w+)/gm)].map(([, name]) => name!);
}

describe("mathFunctions", () => {
  it.each(names)("%s defines its name and declares what it calls", (name) => {
    const { code, needs } = mathFunctions[name];
    expect(definitions(code)).toEqual([name]);
    const program = code.replaceAll(/\/\/.*/g, "");
    const called = names.filter((other) => other !== name && new RegExp(`\\b${other}\\(`).test(program));
    expect([...needs].sort()).toEqual(called.sort());
  });
});

describe("mathSource", () => {
  it("gives callees first, each once", () => {
    const order = definitions(mathSource(["geluTanhF32", "expF32", "siluF32", "geluTanhF32"]));
    expect(new Set(order).size).toBe(order.length);
    for (const [place, name] of order.entries()) {
      for (const needed of mathFunctions[name as MathFunction].needs) expect(order.slice(0, place)).toContain(needed);
    }
    expect(order).toContain("siluF32");
    expect(order).not.toContain("sinF32");
  });

  it("is empty for nothing", () => {
    expect(mathSource([])).toBe("");
  });
});

describe("expressions", () => {
  it("refuses functions of floats for int32", () => {
    expect(() => unaryExpression("exp", "int32", "x")).toThrow(DtypeError);
    expect(() => binaryExpression("atan2", "int32", "x", "y")).toThrow(DtypeError);
  });

  it("converts nothing where nothing changes", () => {
    for (const dtype of dtypes) expect(convertExpression(dtype, dtype, "x")).toEqual({ expression: "x", needs: [] });
    expect(convertExpression("float16", "float32", "x").expression).toBe("x");
    expect(valueType("uint8")).toBe("i32");
  });
});
