import { describe, expect, it } from "vitest";
import { DtypeError } from "../../errors.ts";
import type { BinaryOperation, CompareOperation, TensorView, UnaryOperation } from "../backend.ts";
import { binaryFunctions, compareFunctions, integerBinaryFunctions, unaryDerivatives, unaryFunctions } from "../reference/functions.ts";
import { createWasmBackend } from "./backend.ts";
import { awkwardSizes, place, reserve, someFloats, someIntegers, specialFloats, take, ulpError } from "./device-arrays.testing.ts";

const backend = createWasmBackend();
const { kernels } = backend;
const unaryOperations = Object.keys(unaryFunctions) as UnaryOperation[];

function unary(operation: UnaryOperation, values: ArrayLike<number>): number[] {
  const input = place(backend, "float32", [values.length], values);
  const output = reserve(backend, "float32", [values.length]);
  kernels.unary({ operation, input, output });
  take(backend, input);
  return take(backend, output);
}

/** Range of arguments and largest error there in units of the last place; `floor` is the error allowed in any case. */
const accuracy: Record<UnaryOperation, { range: readonly [number, number]; ulp: number; floor?: number }> = {
  negative: { range: [-9, 9], ulp: 0 }, absolute: { range: [-9, 9], ulp: 0 }, sign: { range: [-9, 9], ulp: 0 },
  exp: { range: [-86.9, 88.7], ulp: 1.5 }, expm1: { range: [-10, 80], ulp: 3 }, log: { range: [0, 1e4], ulp: 1.5 },
  log1p: { range: [-0.999, 100], ulp: 3 },
  sqrt: { range: [0, 1e6], ulp: 0.5 }, rsqrt: { range: [1e-3, 1e6], ulp: 1.5 }, reciprocal: { range: [-100, 100], ulp: 0.5 },
  square: { range: [-9, 9], ulp: 0.5 },
  sin: { range: [-1e4, 1e4], ulp: 2 }, cos: { range: [-1e4, 1e4], ulp: 2 }, tan: { range: [-100, 100], ulp: 4 },
  tanh: { range: [-10, 10], ulp: 2 },
  erf: { range: [-5, 5], ulp: 2 }, sigmoid: { range: [-80, 30], ulp: 4 }, relu: { range: [-9, 9], ulp: 0 },
  silu: { range: [-80, 80], ulp: 4 },
  gelu: { range: [-9, 9], ulp: 3, floor: 1e-7 }, geluTanh: { range: [-9, 9], ulp: 4, floor: 1e-7 }, softplus: { range: [-50, 50], ulp: 4 },
  floor: { range: [-9, 9], ulp: 0 }, ceil: { range: [-9, 9], ulp: 0 }, round: { range: [-9, 9], ulp: 0 }, trunc: { range: [-9, 9], ulp: 0 },
};

describe("unary", () => {
  it.each(unaryOperations)("%s keeps to its error bound", (operation) => {
    const { range: [low, high], ulp, floor = 0 } = accuracy[operation];
    const inputs = someFloats(20_000).map((x) => low + ((x + 2) / 4) * (high - low));
    const outputs = unary(operation, inputs);
    let worst = 0;
    inputs.forEach((x, i) => {
      const expected = unaryFunctions[operation](x);
      if (Math.abs(outputs[i]! - expected) > floor) worst = Math.max(worst, ulpError(outputs[i]!, expected));
    });
    expect(worst).toBeLessThanOrEqual(ulp);
  });

  it.each(["sin", "cos", "tan"] as const)("%s reduces arguments of any size", (operation) => {
    const bits = new Uint32Array(20_000).map((_, i) => Math.imul(i + 1, 2654435761));
    const inputs = new Float32Array(bits.buffer).map((x) => (Number.isFinite(x) ? x : 0));
    const outputs = unary(operation, inputs);
    const worst = inputs.reduce((most, x, i) => Math.max(most, ulpError(outputs[i]!, unaryFunctions[operation](x))), 0);
    expect(worst).toBeLessThanOrEqual(operation === "tan" ? 4 : 2);
  });

  it.each(unaryOperations)("%s treats special values as float64 does", (operation) => {
    const outputs = unary(operation, specialFloats);
    specialFloats.forEach((x, i) => {
      const expected = Math.fround(unaryFunctions[operation](x));
      // Results under 2^-125 may be flushed to 0.
      const floor = Math.abs(expected) < 2 ** -125 ? 2 ** -125 : (accuracy[operation].floor ?? 0);
      const error = Math.abs(outputs[i]! - expected) <= floor ? 0 : ulpError(outputs[i]!, expected);
      expect(error, `${operation}(${x}) = ${outputs[i]}, not ${expected}`).toBeLessThanOrEqual(4);
    });
  });

  it.each(awkwardSizes)("maps %i elements, in every lane alike, and nothing beyond", (size) => {
    const inputs = someFloats(size);
    for (const operation of unaryOperations) {
      const outputs = unary(operation, inputs);
      // one at a time, so every value goes through the tail
      const alone = Array.from(inputs.subarray(0, 8), (x) => unary(operation, [x])[0]!);
      expect(outputs.slice(0, 8), operation).toEqual(alone);
      expect(outputs).toHaveLength(size);
    }
  });

  it("reads any strides", () => {
    const values = someFloats(60);
    const input = place(backend, "float32", [5, 3, 4], values, [4, 20, 1]);
    const output = reserve(backend, "float32", [5, 3, 4]);
    kernels.unary({ operation: "square", input, output });
    const expected = Array.from(
      { length: 60 }, (_, i) => Math.fround(values[Math.floor(i / 12) * 4 + (Math.floor(i / 4) % 3) * 20 + (i % 4)]! ** 2),
    );
    expect(take(backend, output)).toEqual(expected);
  });

  it("wraps int32 and refuses the rest", () => {
    const values = [0, 5, -7, 2 ** 31 - 1, -(2 ** 31), 65_537, -1];
    const expected: Record<string, number[]> = {
      negative: values.map((x) => -x | 0), absolute: values.map((x) => Math.abs(x) | 0), sign: values.map(Math.sign),
      square: values.map((x) => Math.imul(x, x)), relu: values.map((x) => Math.max(x, 0)),
    };
    for (const operation of Object.keys(expected) as UnaryOperation[]) {
      const input = place(backend, "int32", [7], values);
      const output = reserve(backend, "int32", [7]);
      kernels.unary({ operation, input, output });
      expect(take(backend, output).map((x) => x + 0), operation).toEqual(expected[operation]!.map((x) => x + 0));
    }
    const view = reserve(backend, "int32", [2]);
    expect(() => kernels.unary({ operation: "exp", input: view, output: view })).toThrow(DtypeError);
  });
});

describe("unaryGradient", () => {
  it.each(unaryOperations)("%s", (operation) => {
    const positive = ["log", "log1p", "sqrt", "rsqrt"].includes(operation);
    for (const size of awkwardSizes) {
      const x = someFloats(size, 3).map((value) => (positive ? Math.abs(value) + 0.01 : value));
      const g = someFloats(size, 2, 9);
      const [gradient, input, output] = [
        g, x, x.map((value) => unaryFunctions[operation](value)),
      ].map((values) => place(backend, "float32", [size], values));
      const result = reserve(backend, "float32", [size]);
      kernels.unaryGradient({ operation, gradient: gradient!, input: input!, output: output!, result });
      take(backend, result).forEach((value, i) => {
        const expected = g[i]! * unaryDerivatives[operation](x[i]!);
        expect(Math.abs(value - expected)).toBeLessThanOrEqual(4e-6 * Math.abs(expected) + 3e-7);
      });
    }
  });

  it.each(["silu", "gelu", "geluTanh", "tanh", "sigmoid", "relu"] as const)("%s stays finite at infinities", (operation) => {
    const x = [-Infinity, -1e30, 1e30, Infinity];
    const [gradient, input, output] = [[1, 1, 1, 1], x, x.map(unaryFunctions[operation])].map(
      (values) => place(backend, "float32", [4], values),
    );
    const result = reserve(backend, "float32", [4]);
    kernels.unaryGradient({ operation, gradient: gradient!, input: input!, output: output!, result });
    expect(take(backend, result).map((value) => value + 0)).toEqual(x.map((value) => unaryDerivatives[operation](value) + 0));
  });
});

/** Runs a binary kernel on views made from the arguments. */
function binary(operation: BinaryOperation, a: TensorView, b: TensorView): number[] {
  const output = reserve(backend, a.dtype, a.shape);
  kernels.binary({ operation, a, b, output });
  return take(backend, output);
}

const binaryOperations = Object.keys(binaryFunctions) as BinaryOperation[];

describe("binary", () => {
  it.each(binaryOperations)("%s of special values", (operation) => {
    const count = specialFloats.length ** 2;
    const left = Float32Array.from({ length: count }, (_, i) => specialFloats[i % specialFloats.length]!);
    const right = Float32Array.from({ length: count }, (_, i) => specialFloats[Math.floor(i / specialFloats.length)]!);
    const result = binary(operation, place(backend, "float32", [count], left), place(backend, "float32", [count], right));
    const scalarResults = specialFloats.map((b) => {
      const output = reserve(backend, "float32", [specialFloats.length]);
      kernels.binaryScalar(
        { operation, a: place(backend, "float32", [specialFloats.length], specialFloats), scalar: b, reversed: false, output },
      );
      return take(backend, output);
    });
    expect(scalarResults.flat().map((x) => x + 0)).toEqual(result.map((x) => x + 0));
    result.forEach((value, i) => {
      const expected = binaryFunctions[operation](left[i]!, right[i]!);
      expect(
        ulpError(value + 0, Math.fround(expected) + 0), `${operation}(${left[i]}, ${right[i]}) = ${value}, not ${expected}`,
      ).toBeLessThanOrEqual(3);
    });
  });

  it.each(binaryOperations)("%s of any size, contiguous, broadcast and strided", (operation) => {
    const tolerance = operation === "atan2" ? 4 : 0.51;
    for (const size of awkwardSizes) {
      const left = someFloats(size * 3).map((x) => (operation === "power" ? Math.abs(x) + 0.1 : x));
      const right = someFloats(size * 3, 3, 5);
      const cases: { a: readonly [number, number]; b: readonly [number, number] }[] = [
        { a: [size, 1], b: [size, 1] }, { a: [size, 1], b: [0, 1] }, { a: [size, 1], b: [1, 0] }, { a: [0, 0], b: [size, 1] },
        { a: [1, 3], b: [size, 1] },
        { a: [size, 1], b: [1, 3] },
      ];
      for (const { a, b } of cases) {
        const result = binary(operation, place(backend, "float32", [3, size], left, a), place(backend, "float32", [3, size], right, b));
        result.forEach((value, i) => {
          const row = Math.floor(i / size);
          const expected = binaryFunctions[operation](left[row * a[0] + (i % size) * a[1]]!, right[row * b[0] + (i % size) * b[1]]!);
          expect(ulpError(value, expected), `${operation} at ${i} of [3, ${size}], strides ${a} and ${b}`).toBeLessThanOrEqual(tolerance);
        });
      }
    }
  });

  it("walks through five axes that do not merge, and backwards", () => {
    const shape = [2, 3, 2, 3, 2];
    const values = someFloats(72);
    const strides = [1, 24, 2, 8, 4];
    const sum = binary("add", place(backend, "float32", shape, values, strides), place(backend, "float32", shape, values));
    const offset = (index: number): number => {
      let rest = index;
      let place = 0;
      for (let axis = 4; axis >= 0; axis--) {
        place += (rest % shape[axis]!) * strides[axis]!;
        rest = Math.floor(rest / shape[axis]!);
      }
      return place;
    };
    expect(sum).toEqual(Array.from({ length: 72 }, (_, i) => Math.fround(values[offset(i)]! + values[i]!)));
    const backwards = { ...place(backend, "float32", [72], values, [-1]), offset: 3 + 71 };
    expect(
      binary("add", backwards, place(backend, "float32", [72], values)),
    ).toEqual(Array.from(values, (x, i) => Math.fround(x + values[71 - i]!)));
  });

  it("turns large operands that lie across", () => {
    const values = someFloats(160 * 130);
    const result = binary(
      "subtract", place(backend, "float32", [160, 130], values), place(backend, "float32", [160, 130], values, [1, 160]),
    );
    expect(result).toEqual(Array.from(values, (x, i) => Math.fround(x - values[Math.floor(i / 130) + (i % 130) * 160]!)));
  });

  it("wraps int32, truncates quotients and gives 0 for division by 0", () => {
    const edge = [0, 1, -1, 2, -3, 7, 2 ** 31 - 1, -(2 ** 31), 46_341, 5, -65_536];
    const count = edge.length ** 2;
    const left = Int32Array.from({ length: count }, (_, i) => edge[i % edge.length]!);
    const right = Int32Array.from({ length: count }, (_, i) => edge[Math.floor(i / edge.length)]!);
    for (const operation of binaryOperations) {
      const [a, b] = [left, right].map((values) => place(backend, "int32", [count], values));
      if (operation === "atan2") {
        expect(() => binary(operation, a!, b!)).toThrow(DtypeError);
        continue;
      }
      const expected = Array.from(left, (x, i) => (integerBinaryFunctions[operation](x, right[i]!) | 0) + 0);
      expect(binary(operation, a!, b!), operation).toEqual(expected);
    }
  });

  it("takes the scalar on either side", () => {
    const values = someFloats(65);
    const scaled = (operation: BinaryOperation, reversed: boolean): number[] => {
      const output = reserve(backend, "float32", [65]);
      kernels.binaryScalar({ operation, a: place(backend, "float32", [65], values), scalar: 1.5, reversed, output });
      return take(backend, output);
    };
    for (const operation of ["add", "subtract", "multiply", "divide", "maximum"] as const) {
      expect(scaled(operation, false)).toEqual(Array.from(values, (x) => Math.fround(binaryFunctions[operation](x, 1.5))));
      expect(scaled(operation, true)).toEqual(Array.from(values, (x) => Math.fround(binaryFunctions[operation](1.5, x))));
    }
  });
});

describe("compare, predicate and where", () => {
  it.each(Object.keys(compareFunctions) as CompareOperation[])("%s", (operation) => {
    for (const size of awkwardSizes) {
      const floats = Array.from({ length: size }, (_, i) => specialFloats[(i * 7) % specialFloats.length]!);
      const others = Array.from({ length: size }, (_, i) => specialFloats[(i * 3) % specialFloats.length]!);
      const cases = [
        ["float32", floats, others],
        ["int32", someIntegers(size, 2), someIntegers(size, 2, 8)],
        ["bool", someIntegers(size, 1).map(Math.abs), someIntegers(size, 1, 8).map(Math.abs)],
      ] as const;
      for (const [dtype, left, right] of cases) {
        for (const stride of [1, 0]) {
          const output = reserve(backend, "bool", [size]);
          kernels.compare({ operation, a: place(backend, dtype, [size], left), b: place(backend, dtype, [size], right, [stride]), output });
          const expected = Array.from(left, (x, i) => compareFunctions[operation](x, right[i * stride]!));
          expect(take(backend, output), `${operation} of ${size} ${dtype}, stride ${stride}`).toEqual(expected);
        }
      }
    }
  });

  it("tells NaN, finite and zero", () => {
    const output = (operation: "isNaN" | "isFinite" | "logicalNot"): number[] => {
      const result = reserve(backend, "bool", [specialFloats.length]);
      kernels.predicate({ operation, input: place(backend, "float32", [specialFloats.length], specialFloats), output: result });
      return take(backend, result);
    };
    expect(output("isNaN")).toEqual(specialFloats.map((x) => Number(Number.isNaN(x))));
    expect(output("isFinite")).toEqual(specialFloats.map((x) => Number(Number.isFinite(x))));
    expect(output("logicalNot")).toEqual(specialFloats.map((x) => Number(x === 0)));
  });

  it.each(awkwardSizes)("chooses among %i elements with every operand broadcast", (size) => {
    const mask = someIntegers(size * 2, 1).map(Math.abs);
    const [left, right] = [someFloats(size * 2), someFloats(size * 2, 2, 4)];
    for (const c of [[size, 1], [0, 1], [1, 0], [1, 2]] as const) {
      for (const a of [[size, 1], [0, 0], [1, 2]] as const) {
        const output = reserve(backend, "float32", [2, size]);
        kernels.where({
          condition: place(backend, "bool", [2, size], mask, c), a: place(backend, "float32", [2, size], left, a),
          b: place(backend, "float32", [2, size], right),
          output,
        });
        const expected = Array.from({ length: 2 * size }, (_, i) => {
          const row = Math.floor(i / size);
          const column = i % size;
          return mask[row * c[0] + column * c[1]] ? left[row * a[0] + column * a[1]]! : right[i]!;
        });
        expect(take(backend, output)).toEqual(expected);
      }
    }
  });
});

describe("addScaled", () => {
  it.each(awkwardSizes)("adds %i elements in place", (size) => {
    const [sums, added] = [someFloats(size), someFloats(size, 2, 6)];
    const output = place(backend, "float32", [size], sums);
    kernels.addScaled({ output, input: place(backend, "float32", [size], added), scale: 0.25 });
    expect(take(backend, output)).toEqual(Array.from(sums, (x, i) => Math.fround(x + Math.fround(0.25 * added[i]!))));
  });
});
