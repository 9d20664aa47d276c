import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { elementwiseTests } from "../../../validation/cases/elementwise.ts";
import type { Tolerance } from "../../../validation/kernel-test.ts";
import type { KernelSpec } from "../../../validation/tensor-spec.ts";
import { specialFloats, specialIntegers } from "../../../validation/values.ts";
import { laneGpu, laneName } from "../../../testing/webgpu-lane.ts";
import { float16BitsToFloat32, float32ToFloat16Bits, makeTypedArray, type Dtype } from "../../../tensor/dtype.ts";
import type { BinaryOperation, CompareOperation, UnaryOperation, UnaryPredicate } from "../../backend.ts";
import { convert } from "../../reference/access.ts";
import {
  binaryFunctions,
  compareFunctions,
  integerBinaryFunctions,
  predicateFunctions,
  unaryDerivatives,
  unaryFunctions,
} from "../../reference/functions.ts";
import { valueType } from "../elements.ts";
import { binaryExpression, compareExpression, predicateExpression, unaryExpression, unaryGradientExpression } from "./expressions.ts";
import { compileSweep, conversionCase, type Sweep, type SweepCase } from "./math-sweep.testing.ts";
import { anyFloats, isWithin, pairs, scrambled, spread, sweepFloats, ulpError } from "./math-values.testing.ts";

const unaryOperations = Object.keys(unaryFunctions) as UnaryOperation[];
const binaryOperations = Object.keys(binaryFunctions) as BinaryOperation[];
const comparisons = Object.keys(compareFunctions) as CompareOperation[];
const predicates = Object.keys(predicateFunctions) as UnaryPredicate[];
const integerUnaryOperations: readonly UnaryOperation[] = ["negative", "absolute", "sign", "square", "relu"];
const integerBinaryOperations = binaryOperations.filter((operation) => operation !== "atan2");
const dtypes: readonly Dtype[] = ["float32", "float16", "int32", "int8", "uint8", "bool"];

/**
 * Largest error in units of the last place, over every exponent. Not for functions whose far tail is only absolutely accurate: their
 * bound is the tolerance of the kernel cases.
 */
const ulpBounds: Partial<Record<UnaryOperation | BinaryOperation, number>> = {
  negative: 0,
  absolute: 0,
  sign: 0,
  relu: 0,
  floor: 0,
  ceil: 0,
  round: 0,
  trunc: 0,
  maximum: 0,
  minimum: 0,
  square: 0.5,
  multiply: 0.5,
  divide: 0.5,
  reciprocal: 0.5,
  sqrt: 0.5,
  rsqrt: 1.5,
  exp: 1.5,
  log: 1,
  log1p: 2,
  power: 2,
  sin: 2.5,
  cos: 2.5,
  tan: 4.5,
  tanh: 2,
  sigmoid: 3,
  softplus: 3,
};

let device: GPUDevice;
const problems: string[] = [];

beforeAll(async () => {
  const adapter = await (await laneGpu()).requestAdapter();
  device = await adapter!.requestDevice();
  device.addEventListener("uncapturederror", ({ error }) => problems.push(error.message));
});

afterAll(() => {
  device.destroy();
  if (problems.length > 0) throw new Error(problems.join("\n"));
});

const floatsOf = (bits: Uint32Array): Float32Array => new Float32Array(bits.buffer);
const integersOf = (bits: Uint32Array): Int32Array => new Int32Array(bits.buffer);

/** One case for each name, compiled together before the tests of a block. */
function compiled(cases: Readonly<Record<string, SweepCase>>): { readonly sweep: Sweep } {
  const holder: { sweep: Sweep } = { sweep: () => Promise.reject(new Error("not compiled")) };
  beforeAll(async () => {
    holder.sweep = await compileSweep(device, cases);
  });
  return holder;
}

function byName<Name extends string>(names: readonly Name[], make: (name: Name) => SweepCase): Record<string, SweepCase> {
  return Object.fromEntries(names.map((name) => [name, make(name)]));
}

/** Checks every result, and gives the first that is wrong in full. */
function check(results: ArrayLike<number>, test: (place: number) => string | undefined): void {
  // The null lane computes nothing: it shows that the shader is valid.
  if (laneName === "null") return;
  for (let place = 0; place < results.length; place++) {
    const problem = test(place);
    if (problem !== undefined) expect.fail(problem);
  }
}

function checkFloats(
  results: Float32Array,
  expected: (place: number) => number,
  { tolerance, ulp, show }: { tolerance: Tolerance; ulp?: number | undefined; show: (place: number) => string },
): void {
  check(results, (place) => {
    const [actual, right] = [results[place]!, expected(place)];
    const within = ulp === undefined ? isWithin(actual, right, tolerance) : ulpError(actual, right) <= ulp;
    return within ? undefined : `(${show(place)}) gives ${actual}, not ${Math.fround(right)}; off by ${ulpError(actual, right)} ulp`;
  });
}

function checkExactly(results: ArrayLike<number>, expected: (place: number) => number, show: (place: number) => string): void {
  check(results, (place) => {
    const right = expected(place);
    return results[place] === right ? undefined : `(${show(place)}) gives ${results[place]}, not ${right}`;
  });
}

describe("unary", () => {
  const x = sweepFloats();
  const gpu = compiled(byName(unaryOperations, (name) => ({ operands: ["f32"], ...unaryExpression(name, "float32", "a") })));

  it.each(unaryOperations)("%s", async (operation) => {
    const results = floatsOf(await gpu.sweep(operation, x));
    const apply = unaryFunctions[operation];
    const tolerance = elementwiseTests.unary.tolerance({ operation } as KernelSpec<"unary">);
    const show = (place: number): string => `${operation} ${x[place]}`;
    checkFloats(results, (place) => apply(x[place]!), { tolerance, show });
    const ulp = ulpBounds[operation];
    if (ulp !== undefined) checkFloats(results, (place) => apply(x[place]!), { tolerance, ulp, show });
  });
});

describe("unaryGradient", () => {
  const gpu = compiled(
    byName(unaryOperations, (name) => ({ operands: ["f32", "f32", "f32"], ...unaryGradientExpression(name, "a", "b", "c") })),
  );
  const rooted = ["log", "sqrt", "rsqrt", "log1p", "reciprocal"];
  const saturating = ["tanh", "sigmoid", "relu", "silu", "gelu", "geluTanh", "erf", "softplus", "absolute"];

  it.each(unaryOperations)("%s", async (operation) => {
    const range = operation === "tan" ? 1.5 : 20;
    const x = Float32Array.from([
      ...(rooted.includes(operation) ? spread(20_000, 0.02, 9) : [0, -0, 0.5, 1, -1, ...spread(20_000, -range, range)]),
      ...(saturating.includes(operation) ? [Infinity, -Infinity, 1e30, -1e30, 110, -110] : []),
    ]);
    const gradient = Float32Array.from(spread(x.length, -2, 2, 3));
    const output = x.map(unaryFunctions[operation]);
    const results = floatsOf(await gpu.sweep(operation, gradient, x, output));
    const tolerance = elementwiseTests.unaryGradient.tolerance({ operation } as KernelSpec<"unaryGradient">);
    const show = (place: number): string => `${gradient[place]} * ${operation}' ${x[place]}`;
    checkFloats(results, (place) => gradient[place]! * unaryDerivatives[operation](x[place]!), { tolerance, show });
  });
});

describe("binary", () => {
  const gpu = compiled(byName(binaryOperations, (name) => ({ operands: ["f32", "f32"], ...binaryExpression(name, "float32", "a", "b") })));

  it.each(binaryOperations)("%s", async (operation) => {
    const count = 20_000;
    const low = operation === "power" ? 0.01 : -9;
    const [a, b] = pairs(
      [...anyFloats(count), ...spread(count, low, 9), ...spread(count, 0.9, 1.1), ...spread(count, -300, 300)],
      [...anyFloats(count, 1), ...spread(count, -9, 9, 1), ...spread(count, -800, 800, 1), ...spread(count, 0.1, 7, 1)],
    );
    const results = floatsOf(await gpu.sweep(operation, a, b));
    const apply = binaryFunctions[operation];
    const tolerance = elementwiseTests.binary.tolerance({ operation } as KernelSpec<"binary">);
    const show = (place: number): string => `${a[place]} ${operation} ${b[place]}`;
    checkFloats(results, (place) => apply(a[place]!, b[place]!), { tolerance, show });
    const ulp = ulpBounds[operation];
    if (ulp !== undefined) checkFloats(results, (place) => apply(a[place]!, b[place]!), { tolerance, ulp, show });
  });
});

describe("integers", () => {
  const others = Array.from({ length: 200 }, (_, i) => scrambled(i) >> (i % 31));
  const integers = Int32Array.from([...specialIntegers, 3, -3, 7, -8, 31, ...others]);
  const a = Int32Array.from({ length: integers.length ** 2 }, (_, i) => integers[i % integers.length]!);
  const b = Int32Array.from({ length: integers.length ** 2 }, (_, i) => integers[Math.floor(i / integers.length)]!);
  const gpu = compiled({
    ...byName(integerUnaryOperations, (name) => ({ operands: ["i32"], ...unaryExpression(name, "int32", "a") })),
    ...byName(integerBinaryOperations, (name) => ({ operands: ["i32", "i32"], ...binaryExpression(name, "int32", "a", "b") })),
  });

  it.each(integerUnaryOperations)("%s", async (operation) => {
    const apply = operation === "square" ? (x: number): number => Math.imul(x, x) : unaryFunctions[operation];
    checkExactly(integersOf(await gpu.sweep(operation, integers)), (i) => apply(integers[i]!) | 0, (i) => `${operation} ${integers[i]}`);
  });

  it.each(integerBinaryOperations)("%s", async (operation) => {
    const results = integersOf(await gpu.sweep(operation, a, b));
    const apply = integerBinaryFunctions[operation];
    checkExactly(results, (i) => apply(a[i]!, b[i]!) + 0, (i) => `${a[i]} ${operation} ${b[i]}`);
  });
});

describe("predicates and comparisons", () => {
  const types = ["float32", "int32", "bool"] as const;
  const values = {
    float32: [...specialFloats, 2 ** -126, -(2 ** -149), 2 ** -127, ...anyFloats(120, 4)],
    int32: [...specialIntegers, 3, -7],
    bool: [0, 1],
  };
  const cases: Record<string, SweepCase> = {};
  for (const type of types) {
    const operand = valueType(type);
    for (const name of comparisons) cases[`${name} ${type}`] = { operands: [operand, operand], ...compareExpression(name, type, "a", "b") };
    if (type === "bool") continue;
    for (const name of predicates) cases[`${name} ${type}`] = { operands: [operand], ...predicateExpression(name, type, "a") };
  }
  const gpu = compiled(cases);

  it.each(Object.keys(cases))("%s", async (name) => {
    const [operation, type] = name.split(" ") as [CompareOperation | UnaryPredicate, (typeof types)[number]];
    const some = values[type];
    const a = makeTypedArray(type === "bool" ? "int32" : type, some.length ** 2).map((_, i) => some[i % some.length]!);
    const b = makeTypedArray(type === "bool" ? "int32" : type, some.length ** 2).map((_, i) => some[Math.floor(i / some.length)]!);
    const show = (i: number): string => `${a[i]} ${name} ${b[i]}`;
    if (operation in predicateFunctions) {
      checkExactly(await gpu.sweep(name, a), (i) => predicateFunctions[operation as UnaryPredicate](a[i]!), show);
    } else {
      checkExactly(await gpu.sweep(name, a, b), (i) => compareFunctions[operation as CompareOperation](a[i]!, b[i]!), show);
    }
  });
});

describe("conversions", () => {
  const cases: Record<string, SweepCase> = {
    "to float16": { operands: ["f32"], expression: "float32ToFloat16Bits(a)", needs: ["float32ToFloat16Bits"] },
    "from float16": { operands: ["u32"], expression: "float16BitsToFloat32(a)", needs: ["float16BitsToFloat32"] },
  };
  const constants = { infinity: Infinity, notANumber: NaN } as const;
  for (const name of ["infinity", "notANumber"] as const) cases[name] = { operands: [], expression: `${name}()`, needs: [name] };
  for (const from of dtypes) for (const to of dtypes) cases[`${from} → ${to}`] = conversionCase(from, to);
  const gpu = compiled(cases);
  const floats = [...sweepFloats(), ...spread(5_000, -300, 300), 2 ** 31, -(2 ** 31), 2 ** 31 - 128, 254.9, 255.5, -128.9, -129, 127.5];
  const anyIntegers = Array.from({ length: 2_000 }, (_, i) => scrambled(i) | 0);
  const integers = [...specialIntegers, ...spread(2_000, -300, 300).map(Math.trunc), ...anyIntegers];
  const values: Readonly<Record<Dtype, readonly number[]>> = {
    float32: floats,
    float16: Array.from({ length: 65_536 }, (_, bits) => float16BitsToFloat32(bits)),
    int32: integers,
    int8: Array.from({ length: 256 }, (_, i) => i - 128),
    uint8: Array.from({ length: 256 }, (_, i) => i),
    bool: [0, 1],
  };

  it.each(dtypes.flatMap((from) => dtypes.map((to) => [from, to] as const)))("%s → %s", async (from, to) => {
    const type = valueType(from);
    const inputs = type === "f32" ? Float32Array.from(values[from]) : Int32Array.from(values[from]);
    const bits = await gpu.sweep(`${from} → ${to}`, inputs);
    const results = valueType(to) === "f32" ? floatsOf(bits) : valueType(to) === "i32" ? integersOf(bits) : bits;
    check(results, (i) => {
      // float16 is rounded when it is stored.
      const expected = Math.fround(convert(inputs[i]!, to)) + 0;
      const right = valueType(to) === "f32" ? Object.is(results[i]! + 0, expected) : results[i] === convert(inputs[i]!, to) + 0;
      return right ? undefined : `${inputs[i]} gives ${results[i]}, not ${expected}`;
    });
  });

  it.each(["infinity", "notANumber"] as const)("%s", async (name) => {
    const results = floatsOf(await gpu.sweep(name, [0, 1, 2]));
    check(results, (i) => (Object.is(results[i], constants[name]) ? undefined : `${name} is ${results[i]}`));
  });

  it("packs and unpacks float16", async () => {
    const inputs = Float32Array.from([...floats, ...spread(20_000, -7e-5, 7e-5), ...spread(5_000, 60_000, 70_000), 65_519.996, 65_520]);
    checkExactly(await gpu.sweep("to float16", inputs), (i) => float32ToFloat16Bits(inputs[i]!), (i) => `${inputs[i]}`);
    const halves = Uint32Array.from({ length: 65_536 }, (_, i) => i);
    const unpacked = floatsOf(await gpu.sweep("from float16", halves));
    check(unpacked, (i) => (Object.is(unpacked[i], float16BitsToFloat32(i)) ? undefined : `${i} gives ${unpacked[i]}`));
  });
});
