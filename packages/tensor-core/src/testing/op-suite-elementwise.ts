import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DeviceName } from "../backend/backend.ts";
import * as binary from "../ops/binary.ts";
import * as compare from "../ops/compare.ts";
import * as unary from "../ops/unary.ts";
import { tensor } from "../ops/creation.ts";
import type { Dtype } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { erfHost, sigmoidHost, zip } from "./op-suite-host.ts";
import {
  allDtypes,
  between,
  broadcastable,
  checkOperation,
  checkProperty,
  expectNoLeaks,
  layouts,
  read,
  shapes,
} from "./op-suite-check.ts";

type Unary = (input: Tensor) => Tensor;
type Binary = (a: Tensor | number, b: Tensor | number) => Tensor;

function roundEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
}

/** Formula, and the range of float inputs where it is defined. */
const unaryCases: Record<string, readonly [formula: (x: number) => number, low: number, high: number]> = {
  negative: [(x) => -x, -9, 9],
  absolute: [Math.abs, -9, 9],
  sign: [Math.sign, -9, 9],
  exp: [Math.exp, -5, 3],
  expm1: [Math.expm1, -3, 2],
  log: [Math.log, 0.01, 9],
  log1p: [Math.log1p, -0.9, 9],
  sqrt: [Math.sqrt, 0, 9],
  rsqrt: [(x) => x ** -0.5, 0.1, 9],
  reciprocal: [(x) => 1 / x, 0.1, 9],
  square: [(x) => x * x, -9, 9],
  sin: [Math.sin, -9, 9],
  cos: [Math.cos, -9, 9],
  tan: [Math.tan, -1.3, 1.3],
  tanh: [Math.tanh, -9, 9],
  erf: [erfHost, -4, 4],
  sigmoid: [sigmoidHost, -9, 9],
  relu: [(x) => Math.max(x, 0), -9, 9],
  silu: [(x) => x * sigmoidHost(x), -9, 9],
  gelu: [(x) => (x / 2) * (1 + erfHost(x / Math.SQRT2)), -6, 6],
  geluTanh: [(x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))), -6, 6],
  softplus: [(x) => Math.log(1 + Math.exp(x)), -9, 9],
  floor: [Math.floor, -9, 9],
  ceil: [Math.ceil, -9, 9],
  round: [roundEven, -9, 9],
  trunc: [Math.trunc, -9, 9],
};
const predicateCases: Record<string, (x: number) => number> = {
  isNaN: (x) => Number(Number.isNaN(x)),
  isFinite: (x) => Number(Number.isFinite(x)),
  logicalNot: (x) => Number(x === 0),
};
const integerUnary = ["negative", "absolute", "sign", "square", "relu"];
const roundings = ["floor", "ceil", "round", "trunc"];

/** Names this file answers for. */
export const elementwiseOperations: readonly string[] = [
  ...Object.keys(unaryCases),
  ...Object.keys(predicateCases),
  "add",
  "subtract",
  "multiply",
  "divide",
  "power",
  "maximum",
  "minimum",
  "remainder",
  "atan2",
  "clamp",
  "equal",
  "notEqual",
  "less",
  "lessEqual",
  "greater",
  "greaterEqual",
  "logicalAnd",
  "logicalOr",
  "logicalXor",
  "where",
];

const binaryCases: Record<string, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  maximum: Math.max,
  minimum: Math.min,
  remainder: (a, b) => a - b * Math.floor(a / b),
  atan2: Math.atan2,
};
const compareCases: Record<string, (a: number, b: number) => number> = {
  equal: (a, b) => Number(a === b),
  notEqual: (a, b) => Number(a !== b),
  less: (a, b) => Number(a < b),
  lessEqual: (a, b) => Number(a <= b),
  greater: (a, b) => Number(a > b),
  greaterEqual: (a, b) => Number(a >= b),
  logicalAnd: (a, b) => Number(a !== 0 && b !== 0),
  logicalOr: (a, b) => Number(a !== 0 || b !== 0),
  logicalXor: (a, b) => Number((a !== 0) !== (b !== 0)),
};

/** NumPy-like arithmetic: any float32 wins, then float16; small integers widen to int32. */
function arithmeticDtype(a: Dtype, b: Dtype, floats: boolean): Dtype {
  if (a === "float32" || b === "float32") return "float32";
  if (a === "float16" || b === "float16") return "float16";
  return floats ? "float32" : "int32";
}

/** Element-wise operations against formulas. */
export function elementwiseSuite(device: DeviceName): void {
  const drawnShape = fc.record({ shape: shapes(), layout: layouts });
  const unaries = unary as unknown as Record<string, Unary>;
  const binaries = { ...binary, ...compare } as unknown as Record<string, Binary>;

  describe("unary", () => {
    it.each(Object.entries(unaryCases))("%s", async (name, [formula, low, high]) => {
      await checkProperty(device, drawnShape, (input, { shape, layout }) => {
        const x = input("float32", shape, { layout, value: between(low, high)(3) });
        return { run: () => unaries[name]!(x.tensor), expected: zip(formula, x.host) };
      });
      // Integers: kept by the operations that make integers of them, else float32.
      for (const dtype of ["int32", "uint8", "int8", "bool"] as const) {
        await checkOperation(device, (input) => {
          const x = input(dtype, [3, 5], {
            value:
              dtype === "int32" || dtype === "int8"
                ? (i) => (low >= 0 || name === "log1p" ? 1 + (i % 3) : (i % 7) - 3)
                : (i) => 1 - (i % 2) * Number(low < 0.005),
          });
          const kept = roundings.includes(name) ? dtype : integerUnary.includes(name) ? "int32" : "float32";
          return { run: () => unaries[name]!(x.tensor), expected: zip(formula, x.host), dtype: kept };
        });
      }
      await checkOperation(device, (input) => {
        const x = input("float16", [4, 3], { value: (i) => low + ((high - low) * Math.floor((i / 12) * 16 + 0.5)) / 16 });
        const rounded = zip(formula, { ...x.host, values: x.host.values });
        return { run: () => unaries[name]!(x.tensor), expected: rounded, dtype: "float16", tolerance: 8 };
      });
    });

    it.each(Object.entries(predicateCases))("%s", async (name, formula) => {
      await checkProperty(device, drawnShape, (input, { shape, layout }) => {
        const special = [0, -0, NaN, Infinity, -Infinity, 1, -2.5];
        const x = input("float32", shape, { layout, value: (i) => special[i % special.length]! });
        return { run: () => unaries[name]!(x.tensor), expected: zip(formula, x.host), dtype: "bool", tolerance: 0 };
      });
      for (const dtype of allDtypes) {
        await checkOperation(device, (input) => {
          const x = input(dtype, [3, 5]);
          return { run: () => unaries[name]!(x.tensor), expected: zip(formula, x.host), dtype: "bool", tolerance: 0 };
        });
      }
    });

    it("passes NaN and infinities on", async () => {
      await checkOperation(device, (input) => {
        const x = input("float32", [3], { value: (i) => [NaN, Infinity, -Infinity][i]! });
        return {
          run: () => [unary.exp(x.tensor), unary.relu(x.tensor), unary.sigmoid(x.tensor)],
          expected: [zip(Math.exp, x.host), zip((v) => Math.max(v, 0), x.host), zip(sigmoidHost, x.host)],
          dtype: ["float32", "float32", "float32"],
        };
      });
    });
  });

  describe("binary", () => {
    const pairs = fc.record({ shapes: broadcastable(2), layouts: fc.tuple(layouts, layouts), scalar: fc.constantFrom(-2, 0.5, 3) });

    it.each(Object.entries(binaryCases))("%s", async (name, formula) => {
      const nonZero = name === "divide" || name === "remainder" ? between(0.5, 4)(9) : between(-4, 4)(9);
      await checkProperty(device, pairs, (input, { shapes: [shapeA, shapeB], layouts: [layoutA, layoutB], scalar }) => {
        const a = input("float32", shapeA!, { layout: layoutA });
        const b = input("float32", shapeB!, { layout: layoutB, value: nonZero });
        return {
          run: () => [binaries[name]!(a.tensor, b.tensor), binaries[name]!(a.tensor, scalar), binaries[name]!(scalar, b.tensor)],
          expected: [zip(formula, a.host, b.host), zip((x) => formula(x, scalar), a.host), zip((y) => formula(scalar, y), b.host)],
          dtype: ["float32", "float32", "float32"],
          // A remainder of a quotient near an integer hangs on the last bit; the others do not.
          tolerance: name === "remainder" ? 4 : 1,
        };
      });
    });

    it("power", async () => {
      await checkProperty(device, pairs, (input, { shapes: [shapeA, shapeB], layouts: [layoutA, layoutB] }) => {
        const a = input("float32", shapeA!, { layout: layoutA, value: between(0.2, 3)(4) });
        const b = input("float32", shapeB!, { layout: layoutB });
        return {
          run: () => [binary.power(a.tensor, b.tensor), binary.power(a.tensor, 3), binary.power(2, b.tensor)],
          expected: [zip(Math.pow, a.host, b.host), zip((x) => x ** 3, a.host), zip((y) => 2 ** y, b.host)],
          dtype: ["float32", "float32", "float32"],
          tolerance: 3,
        };
      });
      // Integer exponents of negative bases.
      await checkOperation(device, (input) => {
        const a = input("float32", [5], { value: (i) => i - 2.5 });
        return {
          run: () => [binary.power(a.tensor, 2), binary.power(a.tensor, 3)],
          expected: [zip((x) => x ** 2, a.host), zip((x) => x ** 3, a.host)],
          dtype: ["float32", "float32"],
        };
      });
    });

    it.each(Object.entries(compareCases))("%s", async (name, formula) => {
      await checkProperty(
        device,
        pairs,
        (input, { shapes: [shapeA, shapeB], layouts: [layoutA, layoutB] }) => {
          const a = input("float32", shapeA!, { layout: layoutA, value: (i) => (i % 3) - 1 });
          const b = input("float32", shapeB!, { layout: layoutB, value: (i) => (i % 5) - 2 });
          return {
            run: () => [binaries[name]!(a.tensor, b.tensor), binaries[name]!(a.tensor, 1), binaries[name]!(0, b.tensor)],
            expected: [zip(formula, a.host, b.host), zip((x) => formula(x, 1), a.host), zip((y) => formula(0, y), b.host)],
            dtype: ["bool", "bool", "bool"],
            tolerance: 0,
          };
        },
        15,
      );
    });

    const everyPair = allDtypes.flatMap((a) => allDtypes.map((b) => [a, b] as const));
    it.each(everyPair)("promotes %s with %s", async (left, right) => {
      for (const name of ["add", "multiply", "maximum", "divide", "less"]) {
        const formula = (binaryCases[name] ?? compareCases[name])!;
        await checkOperation(device, (input) => {
          const a = input(left, [2, 3]);
          const b = input(right, [3], { value: (i) => (right === "bool" ? 1 : i + 1) });
          return {
            run: () => binaries[name]!(a.tensor, b.tensor),
            expected: zip(formula, a.host, b.host),
            dtype: name === "less" ? "bool" : arithmeticDtype(left, right, name === "divide"),
            tolerance: 2,
          };
        });
      }
    });

    it.each(allDtypes)("gives numbers the dtype of a %s tensor unless they do not fit", async (dtype) => {
      const integer = dtype !== "float32" && dtype !== "float16";
      await checkOperation(device, (input) => {
        const a = input(dtype, [2, 3]);
        const whole = integer ? "int32" : dtype;
        const fractional = integer ? "float32" : dtype;
        return {
          run: () => [
            binary.add(a.tensor, 2),
            binary.add(a.tensor, 0.5),
            binary.subtract(2, a.tensor),
            binary.divide(a.tensor, 2),
            binary.maximum(a.tensor, -Infinity),
          ],
          expected: [zip((x) => x + 2, a.host), zip((x) => x + 0.5, a.host), zip((x) => 2 - x, a.host), zip((x) => x / 2, a.host), a.host],
          dtype: [whole, fractional, whole, fractional, fractional],
        };
      });
    });

    it("compares integers with numbers beyond int32", async () => {
      await checkOperation(device, (input) => {
        const a = input("int32", [3], { value: (i) => [-(2 ** 31), 0, 2 ** 31 - 129][i]! });
        return {
          run: () => [compare.less(a.tensor, 3e9), compare.greater(a.tensor, -3e9), compare.less(a.tensor, 0.5)],
          expected: [zip(() => 1, a.host), zip(() => 1, a.host), zip((x) => Number(x < 0.5), a.host)],
          dtype: ["bool", "bool", "bool"],
        };
      });
    });

    it("takes NaN as the extreme", async () => {
      await checkOperation(device, (input) => {
        const a = input("float32", [2], { value: (i) => [NaN, 1][i]! });
        const b = input("float32", [2], { value: (i) => [1, NaN][i]! });
        return {
          run: () => [binary.maximum(a.tensor, b.tensor), binary.minimum(a.tensor, b.tensor)],
          expected: [zip(() => NaN, a.host), zip(() => NaN, a.host)],
          dtype: ["float32", "float32"],
        };
      });
    });

    it("clamp", async () => {
      await checkProperty(device, drawnShape, (input, { shape, layout }) => {
        const x = input("float32", shape, { layout });
        return { run: () => binary.clamp(x.tensor, -0.5, 1), expected: zip((v) => Math.min(Math.max(v, -0.5), 1), x.host) };
      });
      await checkOperation(device, (input) => {
        const x = input("int32", [7]);
        return { run: () => binary.clamp(x.tensor, -2, 2), expected: zip((v) => Math.min(Math.max(v, -2), 2), x.host), dtype: "int32" };
      });
    });
  });

  describe("where", () => {
    it("chooses with all three broadcast", async () => {
      const drawn = fc.record({ shapes: broadcastable(3), layouts: fc.tuple(layouts, layouts, layouts) });
      await checkProperty(device, drawn, (input, { shapes: [c, a, b], layouts: [layoutC, layoutA, layoutB] }) => {
        const condition = input("bool", c!, { layout: layoutC });
        const left = input("float32", a!, { layout: layoutA });
        const right = input("float32", b!, { layout: layoutB });
        return {
          run: () => compare.where(condition.tensor, left.tensor, right.tensor),
          expected: zip((x, y, z) => (x ? y : z), condition.host, left.host, right.host),
          tolerance: 0,
        };
      });
    });

    it.each(allDtypes)("keeps %s", async (dtype) => {
      const number: Dtype = dtype === "uint8" || dtype === "int8" || dtype === "bool" ? "int32" : dtype;
      await checkOperation(device, (input) => {
        const condition = input("bool", [4]);
        const a = input(dtype, [3, 4]);
        const b = input(dtype, [3, 1]);
        return {
          run: () => [
            compare.where(condition.tensor, a.tensor, b.tensor),
            compare.where(condition.tensor, a.tensor, 1),
            compare.where(condition.tensor, 2, 0.5),
          ],
          expected: [
            zip((x, y, z) => (x ? y : z), condition.host, a.host, b.host),
            zip((x, y) => (x ? y : 1), condition.host, a.host),
            zip((x) => (x ? 2 : 0.5), condition.host),
          ],
          dtype: [dtype, number, "float32"],
          tolerance: 0,
        };
      });
    });
  });

  it("are methods too", async () => {
    await expectNoLeaks(device, async () => {
      const a = tensor([1, -2], { device });
      const results = [a.add(1), a.multiply(a), a.relu(), a.less(0), a.clamp(-1, 0)];
      expect(await Promise.all(results.map(async (result) => (await read(result)).values))).toEqual([
        [2, -1],
        [1, 4],
        [1, 0],
        [0, 1],
        [0, -1],
      ]);
      for (const made of [a, ...results]) made.dispose();
    });
  });
}
