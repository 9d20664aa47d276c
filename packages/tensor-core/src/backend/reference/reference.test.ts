import FFT from "fft.js";
import { describe, expect, it } from "vitest";
import { DeviceError, DisposedError, OutOfMemoryError } from "../../errors.ts";
import { makeTypedArray, type Dtype } from "../../tensor/dtype.ts";
import { normals } from "../../validation/values.ts";
import type { TensorView } from "../backend.ts";
import { elementCount, load } from "./access.ts";
import { directTransform } from "./fft.ts";
import { erf, erfc, unaryFunctions } from "./functions.ts";
import { createReferenceBackend } from "./index.ts";
import { contiguousStrides } from "../../tensor/shape.ts";

const backend = createReferenceBackend();
const { kernels } = backend;

function view(dtype: Dtype, shape: readonly number[], values?: ArrayLike<number>): TensorView {
  const array = makeTypedArray(dtype, elementCount(shape));
  if (values) array.set(values);
  const buffer = backend.allocate(array.byteLength);
  backend.write(buffer, 0, new Uint8Array(array.buffer));
  return { buffer, dtype, shape, strides: contiguousStrides(shape), offset: 0 };
}

function numbers(tensor: TensorView): number[] {
  return Array.from(load(tensor));
}

describe("memory", () => {
  it("counts bytes, and copies them in and out", async () => {
    const own = createReferenceBackend();
    const a = own.allocate(8);
    const b = own.allocate(0);
    own.write(a, 2, Uint8Array.of(1, 2, 3));
    expect([...(await own.read(a, 0, 6))]).toEqual([0, 0, 1, 2, 3, 0]);
    expect([...own.readSync!(a, 3, 2)]).toEqual([2, 3]);
    own.hostView!(a, 0, 8)[7] = 9;
    expect([...own.readSync!(a, 7, 1)]).toEqual([9]);
    expect(own.memory()).toEqual({ allocatedBytes: 8, allocations: 2, reservedBytes: 8, peakBytes: 8 });
    own.free(a);
    own.free(b);
    expect(own.memory()).toEqual({ allocatedBytes: 0, allocations: 0, reservedBytes: 0, peakBytes: 8 });
  });

  it("refuses freed, foreign and impossible buffers", () => {
    const own = createReferenceBackend();
    const a = own.allocate(4);
    const tensor: TensorView = { buffer: a, dtype: "float32", shape: [1], strides: [1], offset: 0 };
    own.free(a);
    expect(() => own.free(a)).toThrow(DisposedError);
    expect(() => own.kernels.fill({ output: tensor, value: 1 })).toThrow(DisposedError);
    expect(() => own.free({ byteLength: 4 })).toThrow(DeviceError);
    expect(() => own.kernels.fill({ output: { ...tensor, buffer: { byteLength: 4 } }, value: 1 })).toThrow(DeviceError);
    expect(() => own.allocate(-1)).toThrow(OutOfMemoryError);
    expect(() => own.allocate(2 ** 60)).toThrow(OutOfMemoryError);
    expect(own.memory().allocations).toBe(0);
  });

  it("refuses views that leave their buffer", () => {
    const tensor = view("float32", [2, 2]);
    expect(() => load({ ...tensor, offset: 1 })).toThrow("leaves its buffer");
    expect(() => load({ ...tensor, strides: [-2, 1] })).toThrow("leaves its buffer");
    expect(() => load({ ...tensor, strides: [3, 1] })).toThrow(RangeError);
  });
});

describe("functions", () => {
  // Abramowitz & Stegun, tables 7.1 and 7.3, and DLMF 7.7.
  it.each([
    [0.5, 0.5204998778130465, 0.4795001221869535],
    [1, 0.8427007929497149, 0.15729920705028513],
    [2, 0.9953222650189527, 0.004677734981047266],
    [3, 0.9999779095030014, 2.209049699858544e-5],
    [6, 1, 2.1519736712498913e-17],
    [-1, -0.8427007929497149, 1.8427007929497148],
  ])("erf and erfc of %d", (x, expected, complement) => {
    expect(Math.abs(erf(x) / expected - 1)).toBeLessThan(1e-14);
    expect(Math.abs(erfc(x) / complement - 1)).toBeLessThan(1e-12);
  });

  it("agrees with PyTorch's activations", () => {
    const at = (name: keyof typeof unaryFunctions, x: number): number => unaryFunctions[name](x);
    expect(at("gelu", 1)).toBeCloseTo(0.8413447460685429, 12);
    expect(at("gelu", -3)).toBeCloseTo(-0.004049694095, 11);
    expect(at("geluTanh", 1)).toBeCloseTo(0.8411919906082768, 12);
    expect(at("silu", 1)).toBeCloseTo(0.7310585786300049, 12);
    expect(at("softplus", 1)).toBeCloseTo(1.3132616875182228, 12);
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, 1e300].map((x) => at("round", x))).toEqual([0, 2, 2, -0, -2, 2, 1e300]);
    for (const name of ["silu", "gelu", "geluTanh", "relu", "softplus", "sigmoid"] as const) {
      expect([at(name, -Infinity), Number.isNaN(at(name, NaN))], name).toEqual([0, true]);
    }
  });
});

describe("kernels on small known cases", () => {
  it("copies between dtypes, saturating", () => {
    const source = view("float32", [6], [1.9, -1.9, 300, -300, NaN, 3e9]);
    const converted = (dtype: Dtype): number[] => {
      const output = view(dtype, [6]);
      kernels.copy({ input: source, output });
      return numbers(output);
    };
    expect(converted("int32")).toEqual([1, -1, 300, -300, 0, 2147483647]);
    expect(converted("int8")).toEqual([1, -1, 127, -128, 0, 127]);
    expect(converted("uint8")).toEqual([1, 0, 255, 0, 0, 255]);
    expect(converted("bool")).toEqual([1, 1, 1, 1, 1, 1]);
    expect(converted("float16")).toEqual([1.900390625, -1.900390625, 300, -300, NaN, Infinity]);
  });

  it("wraps int32 arithmetic and floors remainders", () => {
    const a = view("int32", [4], [2147483647, 46341, -7, 7]);
    const b = view("int32", [4], [1, 46341, 3, -3]);
    const result = (operation: "add" | "multiply" | "remainder" | "divide"): number[] => {
      const output = view("int32", [4]);
      kernels.binary({ operation, a, b, output });
      return numbers(output);
    };
    expect(result("add")).toEqual([-2147483648, 92682, -4, 4]);
    expect(result("multiply")).toEqual([2147483647, -2147479015, -21, -21]);
    expect(result("remainder")).toEqual([0, 0, 2, -2]);
    expect(result("divide")).toEqual([2147483647, 1, -2, -2]);
  });

  it("reduces any axes", () => {
    const input = view("float32", [2, 3, 2], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    const reduced = (axes: readonly number[], shape: readonly number[], operation: "sum" | "mean" | "maximum"): number[] => {
      const output = view("float32", shape);
      kernels.reduce({ operation, input, axes, output });
      return numbers(output);
    };
    expect(reduced([1], [2, 2], "sum")).toEqual([9, 12, 27, 30]);
    expect(reduced([0, 2], [3], "mean")).toEqual([4.5, 6.5, 8.5]);
    expect(reduced([0, 1, 2], [], "maximum")).toEqual([12]);
  });

  it("multiplies by dequantized weights", () => {
    const a = view("float32", [1, 4], [1, 2, 3, 4]);
    // Rows of 4 nibbles, low first: (1, 2, 3, 4) and (15, 0, 8, 1), in groups of 2.
    const values = view("uint8", [2, 2], [0x21, 0x43, 0x0f, 0x18]);
    const scales = view("float32", [2, 2], [1, 2, 0.5, 1]);
    const minimums = view("float32", [2, 2], [0, -1, 1, 0]);
    const output = view("float32", [1, 2]);
    kernels.matmul({ a, b: { format: "uint4", shape: [2, 4], groupSize: 2, values, scales, minimums }, output });
    // Weights: (1, 2, 5, 7) and (8.5, 1, 8, 1).
    expect(numbers(output)).toEqual([1 + 4 + 15 + 28, 8.5 + 2 + 24 + 4]);
  });

  it("sorts with NaN last and ties in order, both ways", () => {
    const input = view("float32", [1, 6], [2, NaN, -1, 2, Infinity, -1]);
    const values = view("float32", [1, 6]);
    const indices = view("int32", [1, 6]);
    kernels.sort({ input, values, indices, rows: 1, columns: 6, descending: false });
    expect([numbers(values), numbers(indices)]).toEqual([
      [-1, -1, 2, 2, Infinity, NaN],
      [2, 5, 0, 3, 4, 1],
    ]);
    kernels.sort({ input, values, indices, rows: 1, columns: 6, descending: true });
    expect([numbers(values), numbers(indices)]).toEqual([
      [Infinity, 2, 2, -1, -1, NaN],
      [4, 0, 3, 2, 5, 1],
    ]);
  });

  it("gives zeros to queries that see nothing", () => {
    const shape = [1, 1, 2, 2];
    const [query, key, value] = [
      view("float32", shape, [1, 2, 3, 4]),
      view("float32", shape, [1, 0, 0, 1]),
      view("float32", shape, [5, 6, 7, 8]),
    ];
    const [output, logSumExp] = [view("float32", shape), view("float32", [1, 1, 2])];
    kernels.attention({ query, key, value, output, logSumExp, scale: 1, causal: true, queryOffset: -1 });
    expect(numbers(output)).toEqual([0, 0, 5, 6]);
    expect(numbers(logSumExp)).toEqual([-Infinity, 3]);
  });

  it("takes an AdamW step by hand", () => {
    const [parameter, gradient] = [view("float32", [1], [1]), view("float32", [1], [4])];
    const [firstMoment, secondMoment] = [view("float32", [1]), view("float32", [1])];
    const betas = { beta1: 0.5, beta2: 0.75, correction1: 0.5, correction2: 0.25 };
    kernels.adamW({
      parameter,
      gradient,
      firstMoment,
      secondMoment,
      learningRate: 0.5,
      ...betas,
      epsilon: 0,
      weightDecay: 0.25,
      gradientScale: 0.5,
    });
    // g = 2, m = 1, v = 1; both corrected to 2 and 4: the step is 2 / 2 + 0.25 · 1.
    expect([numbers(firstMoment), numbers(secondMoment), numbers(parameter)]).toEqual([[1], [1], [1 - 0.5 * 1.25]]);
  });
});

describe("random", () => {
  it("draws the same numbers whatever is drawn before", () => {
    const draw = (counter: number, count: number, distribution: "uniform" | "normal" | "bits"): number[] => {
      const output = view(distribution === "bits" ? "int32" : "float32", [count]);
      kernels.random({ distribution, key: [1, 2], counter, parameters: [0, 1], output });
      return numbers(output);
    };
    expect(draw(0, 8, "bits").slice(4)).toEqual(draw(2, 4, "bits"));
    const normal = draw(0, 20_001, "normal");
    const mean = normal.reduce((sum, x) => sum + x, 0) / normal.length;
    const variance = normal.reduce((sum, x) => sum + (x - mean) ** 2, 0) / normal.length;
    expect(Math.abs(mean)).toBeLessThan(0.03);
    expect(Math.abs(variance - 1)).toBeLessThan(0.04);
    const uniform = draw(0, 20_001, "uniform");
    expect(Math.abs(uniform.reduce((sum, x) => sum + x, 0) / uniform.length - 0.5)).toBeLessThan(0.01);
    expect(uniform.every((x) => x >= 0 && x < 1)).toBe(true);
  });

  it("matches the Random123 vectors", () => {
    const output = view("int32", [2]);
    // Counter words 0x243f6a88, 0x85a308d3 do not fit a safe integer; zero and the all-ones key do not need to.
    kernels.random({ distribution: "bits", key: [0, 0], counter: 0, parameters: [0, 1], output });
    expect(numbers(output).map((word) => word >>> 0)).toEqual([0x6b200159, 0x99ba4efe]);
  });
});

describe("Fourier transforms", () => {
  const lengths = [1, 2, 3, 4, 5, 7, 8, 12, 30, 64, 67, 77, 101, 128, 134, 202, 256, 330, 521];

  function transformed(length: number, inverse: boolean): { real: number[]; imaginary: number[] } {
    const input = [1, 2].map((seed) =>
      view(
        "float32",
        [1, length, 1],
        Array.from({ length }, (_, i) => normals(seed)(i)),
      ),
    );
    const output = [0, 0].map(() => view("float32", [1, length, 1]));
    kernels.fft({
      inputReal: input[0]!,
      inputImaginary: input[1]!,
      outputReal: output[0]!,
      outputImaginary: output[1]!,
      outer: 1,
      length,
      inner: 1,
      inverse,
      scale: 1,
    });
    return { real: numbers(output[0]!), imaginary: numbers(output[1]!) };
  }

  it.each(lengths)("equals the sum by definition, length %d", (length) => {
    const signal = [1, 2].map((seed) => Float64Array.from({ length }, (_, i) => Math.fround(normals(seed)(i))));
    for (const inverse of [false, true]) {
      const expected = directTransform({ real: signal[0]!, imaginary: signal[1]! }, inverse);
      const actual = transformed(length, inverse);
      for (let i = 0; i < length; i++) {
        // One rounding to float32 of numbers of size √length.
        expect(Math.abs(actual.real[i]! - expected.real[i]!)).toBeLessThan(4e-7 * Math.sqrt(length));
        expect(Math.abs(actual.imaginary[i]! - expected.imaginary[i]!)).toBeLessThan(4e-7 * Math.sqrt(length));
      }
    }
  });

  it.each([4, 64, 256, 1024])("equals fft.js, length %d", (length) => {
    const engine = new FFT(length);
    const interleaved = Array.from({ length: 2 * length }, (_, i) => Math.fround(normals(1 + (i % 2))(i >> 1)));
    const expected = engine.createComplexArray();
    engine.transform(expected, interleaved);
    const actual = transformed(length, false);
    for (let i = 0; i < length; i++) {
      expect(Math.abs(actual.real[i]! - expected[2 * i]!)).toBeLessThan(4e-7 * Math.sqrt(length));
      expect(Math.abs(actual.imaginary[i]! - expected[2 * i + 1]!)).toBeLessThan(4e-7 * Math.sqrt(length));
    }
  });

  it.each(lengths)("comes back from the half spectrum, length %d", (length) => {
    const half = Math.floor(length / 2) + 1;
    const [outer, inner] = [2, 3];
    const input = view(
      "float32",
      [outer, length, inner],
      Array.from({ length: outer * length * inner }, (_, i) => normals(3)(i)),
    );
    const [outputReal, outputImaginary] = [view("float32", [outer, half, inner]), view("float32", [outer, half, inner])];
    const back = view("float32", input.shape);
    kernels.realFft({ input, outputReal, outputImaginary, outer, length, inner, scale: 1 });
    kernels.inverseRealFft({
      inputReal: outputReal,
      inputImaginary: outputImaginary,
      output: back,
      outer,
      length,
      inner,
      scale: 1 / length,
    });
    const original = numbers(input);
    numbers(back).forEach((value, i) => expect(Math.abs(value - original[i]!)).toBeLessThan(2e-6));
  });
});
