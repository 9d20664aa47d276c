import { describe, expect, it } from "vitest";
import { itemSize, type Dtype } from "../../tensor/dtype.ts";
import type { Activation, QuantizedView, TensorView } from "../backend.ts";
import type { HeapBuffer } from "./heap.ts";
import type { KernelExports } from "./kernels/kernel-exports.ts";
import { relaxedKernels } from "./kernels/relaxed.wasm.ts";
import { createMatmul } from "./matmul.ts";
import { createWasmRuntime, type WasmRuntimeInstance } from "./runtime-instance.ts";

let state = 1;
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 31 - 1;
}
const pick = (low: number, high: number): number => low + Math.floor(((random() + 1) / 2) * (high - low + 1));

/** float16 bits as a number, from the definition. */
function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return exponent ? sign * 2 ** (exponent - 15) * (1 + mantissa / 1024) : sign * 2 ** -14 * (mantissa / 1024);
}

/** Tensors on a runtime's heap, and what the plain loops know of them. */
class Bench {
  readonly runtime: WasmRuntimeInstance;
  readonly matmul: ReturnType<typeof createMatmul>["matmul"];
  readonly #buffers: HeapBuffer[] = [];

  constructor(threads: number, kernels?: string) {
    this.runtime = createWasmRuntime(kernels);
    this.runtime.pool.setThreadCount(threads);
    this.matmul = createMatmul(this.runtime).matmul;
  }

  /** A view of the given strides (contiguous unless given) that starts `offset` elements into its buffer. */
  view(dtype: Dtype, shape: readonly number[], strides?: readonly number[], offset = 0): TensorView {
    const steps = strides ?? shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1));
    const last = shape.reduce((sum, size, axis) => sum + Math.max(0, size - 1) * steps[axis]!, offset);
    const buffer = this.runtime.heap.allocate((last + 1) * itemSize(dtype));
    this.#buffers.push(buffer);
    return { buffer, dtype, shape, strides: steps, offset };
  }

  bytes(view: TensorView): Uint8Array {
    const { pointer, byteLength } = view.buffer as HeapBuffer;
    return this.runtime.heap.uint8.subarray(pointer, pointer + byteLength);
  }

  floats(view: TensorView): Float32Array {
    const { pointer, byteLength } = view.buffer as HeapBuffer;
    return this.runtime.heap.float32.subarray(pointer / 4, (pointer + byteLength) / 4);
  }

  randomFloats(shape: readonly number[], strides?: readonly number[], offset = 0): TensorView {
    const view = this.view("float32", shape, strides, offset);
    const floats = this.floats(view);
    for (let i = 0; i < floats.length; i++) floats[i] = random();
    return view;
  }

  randomHalves(shape: readonly number[], strides?: readonly number[], offset = 0): TensorView {
    const view = this.view("float16", shape, strides, offset);
    const bytes = this.bytes(view);
    const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    // Every exponent below 2, subnormal numbers included, both signs.
    for (let i = 0; i + 1 < bytes.length; i += 2) data.setUint16(i, pick(0, 0x3fff) | (pick(0, 1) << 15), true);
    return view;
  }

  /** Reads elements of a view, by index. */
  reader(view: TensorView): (...index: readonly number[]) => number {
    const bytes = this.bytes(view);
    const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return (...index) => {
      let element = view.offset;
      for (let axis = 0; axis < index.length; axis++) element += index[axis]! * view.strides[axis]!;
      return view.dtype === "float16" ? halfValue(data.getUint16(2 * element, true)) : data.getFloat32(4 * element, true);
    };
  }

  randomQuantized(format: "int8" | "uint4", outputs: number, inputs: number, groupSize: number, minimums: boolean): QuantizedView {
    const values = this.view(format === "int8" ? "int8" : "uint8", [outputs, format === "int8" ? inputs : inputs / 2]);
    const bytes = this.bytes(values);
    for (let i = 0; i < bytes.length; i++) bytes[i] = pick(0, 255);
    const groups = [outputs, inputs / groupSize];
    return {
      format, shape: [outputs, inputs], groupSize, values, scales: this.randomFloats(groups),
      minimums: minimums ? this.randomFloats(groups) : undefined,
    };
  }

  /** Reads the weights that a quantised matrix stands for, as [input, output]. */
  weightReader(b: QuantizedView): (input: number, output: number) => number {
    const bytes = this.bytes(b.values);
    const scale = this.reader(b.scales);
    const minimum = b.minimums ? this.reader(b.minimums) : () => 0;
    const [, inputs] = b.shape;
    return (input, output) => {
      const group = Math.floor(input / b.groupSize);
      const value = output * inputs + input;
      const q = b.format === "int8" ? (bytes[value]! << 24) >> 24 : (bytes[value >> 1]! >> (value & 1 ? 4 : 0)) & 15;
      return scale(output, group) * q + minimum(output, group);
    };
  }

  free(): void {
    for (const buffer of this.#buffers.splice(0)) this.runtime.heap.free(buffer);
  }
}

function erf(x: number): number {
  // The Taylor series converges everywhere; for the magnitudes of these tests 200 terms are plenty.
  if (Math.abs(x) > 5) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

const activations: Record<Activation, (x: number) => number> = {
  relu: (x) => Math.max(0, x),
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => (x / 2) * (1 + erf(x / Math.SQRT2)),
  geluTanh: (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

interface Options {
  readonly bias?: TensorView | undefined;
  readonly activation?: Activation | undefined;
  readonly accumulate?: boolean | undefined;
}

/** Runs matmul and compares every element with a float64 loop; the error is relative to the sum of magnitudes. Returns the result. */
function check(bench: Bench, a: TensorView, b: TensorView | QuantizedView, options: Options = {}): Float32Array {
  const rank = a.shape.length;
  const [m, k] = a.shape.slice(-2) as [number, number];
  const n = "format" in b ? b.shape[0] : b.shape[rank - 1]!;
  const batch = a.shape.slice(0, -2);
  const output = bench.view("float32", [...batch, m, n], undefined, 3);
  const floats = bench.floats(output);
  for (let i = 0; i < floats.length; i++) floats[i] = options.accumulate ? random() : NaN;
  const before = floats.slice();
  bench.matmul({ a, b, output, ...options });
  const result = bench.floats(output).slice(3);
  const batches = batch.reduce((product, size) => product * size, 1);
  const readA = bench.reader(a);
  const readB = "format" in b ? bench.weightReader(b) : bench.reader(b);
  const readBias = options.bias && bench.reader(options.bias);
  let worst = 0;
  for (let flat = 0; flat < batches; flat++) {
    const index: number[] = [];
    for (let axis = batch.length - 1, rest = flat; axis >= 0; axis--) {
      index.unshift(rest % batch[axis]!);
      rest = Math.floor(rest / batch[axis]!);
    }
    const rows = Array.from({ length: m }, (_, i) => Float64Array.from({ length: k }, (_, p) => readA(...index, i, p)));
    for (let j = 0; j < n; j++) {
      const column = Float64Array.from({ length: k }, (_, p) => ("format" in b ? readB(p, j) : readB(...index, p, j)));
      for (let i = 0; i < m; i++) {
        let sum = 0;
        let magnitude = 1e-6;
        for (let p = 0; p < k; p++) {
          const product = rows[i]![p]! * column[p]!;
          sum += product;
          magnitude += Math.abs(product);
        }
        const at = (flat * m + i) * n + j;
        if (readBias) sum += readBias(j);
        if (options.activation) sum = activations[options.activation](sum);
        if (options.accumulate) sum += before[3 + at]!;
        const error = Math.abs(result[at]! - sum) / (magnitude + 1);
        if (!(error <= worst)) worst = error;
      }
    }
  }
  expect(worst, `[${batch}] ${m} × ${k} × ${n}`).toBeLessThan(2e-6);
  return result;
}

/** Strides of a [rows, columns] view: contiguous, transposed, with gaps, or with both strides odd. */
function someStrides(rows: number, columns: number): readonly number[] {
  return [[columns, 1], [1, rows], [columns + 5, 1], [1, rows + 3], [2 * columns + 1, 2], [3, 3 * rows + 2]][pick(0, 5)]!;
}

const single = new Bench(1);
const threaded = new Bench(3);
const benches = [["baseline", single], ["relaxed", new Bench(1, relaxedKernels)]] as const;

describe.each(benches)("matmul, %s kernels", (_, bench) => {
  it("multiplies matrices of any shape and strides", () => {
    const sizes = [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 24, 31, 33, 40, 65];
    for (let run = 0; run < 150; run++) {
      const [m, n, k] = [sizes[pick(0, 15)]!, sizes[pick(0, 15)]!, sizes[pick(0, 15)]!];
      const a = bench.randomFloats([m, k], someStrides(m, k), pick(0, 5));
      const b = bench.randomFloats([k, n], someStrides(k, n), pick(0, 5));
      check(bench, a, b);
      bench.free();
    }
  });

  it.each([
    [100, 300, 70], [193, 257, 29], [5, 70, 1100], [17, 1030, 30], [400, 20, 3], [1, 1000, 515], [3, 50, 1030],
    [1, 9, 4200], [16, 1300, 13], [200, 1, 1], [1100, 70, 1],
  ])("crosses the blocks of k, rows and columns: %i × %i × %i", (m, k, n) => {
    for (const strides of [[n, 1], [1, k]]) {
      check(bench, bench.randomFloats([m, k]), bench.randomFloats([k, n], strides, 1));
      check(bench, bench.randomFloats([m, k], [1, m], 2), bench.randomFloats([k, n], strides), { accumulate: true });
      bench.free();
    }
  });

  it("treats an empty inner dimension as zeros, and leaves c alone when accumulating", () => {
    for (const [m, n] of [[1, 5], [3, 4], [20, 30], [70, 80], [9, 1]] as const) {
      const a = bench.randomFloats([m, 0]);
      const b = bench.randomFloats([0, n]);
      check(bench, a, b);
      check(bench, a, b, { accumulate: true });
      check(bench, a, b, { bias: bench.randomFloats([n]), activation: "silu" });
      bench.free();
    }
  });

  it.each([undefined, "relu", "silu", "gelu", "geluTanh"] as const)("adds a bias and applies %s", (activation) => {
    const shapes = [[1, 40, 33], [1, 40, 600], [4, 9, 19], [6, 6, 6], [16, 300, 35], [70, 300, 43], [66, 12, 600], [90, 33, 1]] as const;
    for (const [m, k, n] of shapes) {
      for (const strides of [[n, 1], [1, k]]) {
        const a = bench.randomFloats([m, k]);
        const b = bench.randomFloats([k, n], strides);
        check(bench, a, b, { activation, bias: bench.randomFloats([n], [1], 2) });
        check(bench, a, b, { activation });
        bench.free();
      }
    }
  });

  it("multiplies batches, with broadcasting and any batch strides", () => {
    for (const [m, k, n] of [[3, 5, 4], [6, 7, 9], [33, 20, 41], [1, 30, 12], [20, 300, 70], [8, 6, 1]] as const) {
      const plain = bench.randomFloats([2, 3, m, k]);
      check(bench, plain, bench.randomFloats([2, 3, k, n]));
      check(bench, plain, bench.randomFloats([2, 3, k, n], [0, 0, n, 1]), { bias: bench.randomFloats([n]), activation: "relu" });
      check(bench, plain, bench.randomFloats([2, 3, k, n], [k * n, 0, 1, k], 4), { accumulate: true });
      check(bench, bench.randomFloats([2, 3, m, k], [0, m * k, k, 1]), bench.randomFloats([2, 3, k, n], [0, k * n, n, 1]));
      // Heads next to each other in memory, as attention has them: [batch, m, heads, k] seen as [batch, heads, m, k].
      check(bench, bench.randomFloats([2, 3, m, k], [m * 3 * k, k, 3 * k, 1]), bench.randomFloats([2, 3, k, n], [n * 3 * k, k, 1, 3 * k]));
      check(bench, bench.randomFloats([2, 1, 3, m, k]), bench.randomHalves([2, 1, 3, k, n], [3 * k * n, 0, k * n, 1, k]));
      check(bench, bench.randomFloats([5, m, k], [k, 5 * k, 1]), bench.randomFloats([5, k, n], [0, n, 1]));
      bench.free();
    }
    check(bench, bench.randomFloats([0, 3, 4]), bench.randomFloats([0, 4, 5]));
  });

  it("reads float16", () => {
    const shapes = [[1, 64, 9], [1, 77, 6], [1, 5, 5], [2, 30, 7], [5, 700, 11], [16, 33, 12], [40, 300, 37], [3, 9, 40]] as const;
    for (const [m, k, n] of shapes) {
      for (const strides of [[1, k], [1, k + 3], [n, 1], [2 * n, 2]]) {
        const a = bench.randomFloats([m, k], [k + 1, 1]);
        check(bench, a, bench.randomHalves([k, n], strides, 1), { bias: bench.randomFloats([n]) });
        check(bench, bench.randomFloats([m, k], [1, m]), bench.randomHalves([k, n], strides, 1), { accumulate: true });
        bench.free();
      }
    }
  });

  it.each([
    ["int8", 8], ["int8", 32], ["int8", 6], ["int8", 2048], ["uint4", 32], ["uint4", 64], ["uint4", 10], ["uint4", 2], ["uint4", 4096],
  ] as const)(
    "reads %s in groups of %i",
    (format, groupSize) => {
      // One group as long as a row is what weights with one scale an output look like.
      if (groupSize > 1000) {
        const b = bench.randomQuantized(format, 3, groupSize, groupSize, true);
        for (const m of [1, 2, 7, 17]) check(bench, bench.randomFloats([m, groupSize]), b);
        bench.free();
        return;
      }
      for (const [m, groups, n] of [[1, 4, 7], [1, 21, 34], [2, 3, 5], [16, 17, 9], [20, 9, 11], [70, 17, 3], [1, 1, 1]] as const) {
        for (const minimums of [true, false]) {
          const k = groupSize * groups;
          const b = bench.randomQuantized(format, n, k, groupSize, minimums);
          check(bench, bench.randomFloats([m, k]), b, { bias: bench.randomFloats([n]) });
          check(bench, bench.randomFloats([m, k], [1, m]), b, { accumulate: true });
          check(bench, bench.randomFloats([2, 3, m, k]), b);
          check(bench, bench.randomFloats([3, m, k], [k, 3 * k, 1]), b);
          bench.free();
        }
      }
    },
  );
});

describe("float16 weights", () => {
  it("converts every number exactly, in each kernel that reads them", () => {
    const count = 65536;
    for (const [m, strides] of [[1, [1, 1]], [2, [1, 1]], [20, [1, 1]], [20, [count, 1]], [20, [2 * count, 2]]] as const) {
      const b = single.view("float16", [1, count], strides);
      const bytes = single.bytes(b);
      const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      for (let bits = 0; bits < count; bits++) data.setUint16(2 * bits * b.strides[1]!, bits, true);
      const a = single.view("float32", [m, 1]);
      single.floats(a).fill(1);
      const output = single.view("float32", [m, count]);
      single.matmul({ a, b, output });
      const result = single.floats(output);
      // 1 * w + 0: the sign of zero is lost, and nothing else.
      const wrong = Array.from({ length: count }, (_, bits) => bits).filter((bits) => !Object.is(result[bits]! + 0, halfValue(bits) + 0));
      expect(wrong, `m = ${m}, strides ${strides}`).toEqual([]);
      single.free();
    }
  });

  it("keeps Infinity and NaN to their own outputs", () => {
    const b = single.randomHalves([64, 10], [1, 64]);
    const bytes = single.bytes(b);
    const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const a = single.view("float32", [1, 64]);
    single.floats(a).fill(0.5);
    const clean = single.view("float32", [1, 10]);
    single.matmul({ a, b, output: clean });
    data.setUint16(2 * (3 * 64 + 17), 0x7c00, true);
    data.setUint16(2 * (6 * 64 + 40), 0xfc00, true);
    data.setUint16(2 * (7 * 64 + 1), 0x7e00, true);
    const output = single.view("float32", [1, 10]);
    single.matmul({ a, b, output });
    const expected = Float32Array.from(single.floats(clean));
    expected[3] = Infinity;
    expected[6] = -Infinity;
    expected[7] = NaN;
    expect(Array.from(single.floats(output).subarray(0, 10))).toEqual(Array.from(expected.subarray(0, 10)));
    single.free();
  });
});

describe("scaled rows", () => {
  const formats = ["float16", "int8", "uint4"] as const;
  const weights = (format: (typeof formats)[number], n: number, k: number): TensorView | QuantizedView =>
    format === "float16" ? single.randomHalves([k, n], [1, k]) : single.randomQuantized(format, n, k, 32, true);

  it.each(formats)("keeps its precision at any magnitude of x: %s", (format) => {
    for (const magnitude of [1e-30, 1e-12, 1, 1e12, 1e30]) {
      const [k, n] = [192, 9];
      const a = single.randomFloats([1, k]);
      const b = weights(format, n, k);
      const outputs = [1, magnitude].map((factor) => {
        const scaled = single.view("float32", [1, k]);
        single.floats(scaled).set(single.floats(a).map((x) => x * factor));
        const output = single.view("float32", [1, n]);
        single.matmul({ a: scaled, b, output });
        return Array.from(single.floats(output).subarray(0, n));
      });
      // Sums of 192 products of magnitudes up to 1 · 2 (float16), 1 · 16 (uint4) or 1 · 128 (int8).
      const tolerance = 192 * 1e-7 * { float16: 2, uint4: 16, int8: 128 }[format];
      for (let j = 0; j < n; j++) expect(Math.abs(outputs[1]![j]! / magnitude - outputs[0]![j]!)).toBeLessThan(tolerance);
      single.free();
    }
  });

  it.each(formats)("lets NaN and Infinity in x show: %s", (format) => {
    for (const special of [NaN, Infinity, -Infinity]) {
      const a = single.randomFloats([1, 64]);
      single.floats(a)[37] = special;
      const output = single.view("float32", [1, 5]);
      single.matmul({ a, b: weights(format, 5, 64), output });
      expect(Array.from(single.floats(output).subarray(0, 5)).some((x) => Number.isFinite(x))).toBe(false);
      single.free();
    }
  });

  it.each(formats)("gives zeros for zeros: %s", (format) => {
    const a = single.view("float32", [1, 64]);
    single.floats(a).fill(0);
    const output = single.view("float32", [1, 5]);
    single.matmul({ a, b: weights(format, 5, 64), output });
    expect(Array.from(single.floats(output).subarray(0, 5), (x) => x + 0)).toEqual([0, 0, 0, 0, 0]);
    single.free();
  });
});

describe("matmul is deterministic", () => {
  it("gives the same bits with three threads as with one", () => {
    const shapes = [[1, 700, 900], [2, 500, 333], [4, 257, 515], [16, 300, 301], [70, 300, 90], [33, 200, 900], [200, 520, 210]] as const;
    for (const [m, k, n] of shapes) {
      for (const strides of [[n, 1], [1, k]] as const) {
        for (const kind of ["float32", "float16", "int8", "uint4"] as const) {
          if (kind !== "float32" && kind !== "float16" && strides[1] === 1) continue;
          const results = [single, threaded].map((bench) => {
            state = m * 1000 + n;
            const depth = kind === "int8" || kind === "uint4" ? 32 * Math.ceil(k / 32) : k;
            const a = bench.randomFloats([m, depth], [1, m]);
            const b = kind === "float32" ? bench.randomFloats([k, n], strides)
              : kind === "float16" ? bench.randomHalves([k, n], strides)
              : bench.randomQuantized(kind, n, depth, 32, true);
            const output = bench.view("float32", [m, n]);
            bench.matmul({ a, b, output, bias: bench.randomFloats([n]), activation: "gelu" });
            const bits = bench.bytes(output).slice(0, 4 * m * n);
            bench.free();
            return bits;
          });
          expect(Buffer.compare(results[0]!, results[1]!), `${kind} ${m} × ${k} × ${n}`).toBe(0);
        }
      }
    }
  });

  it("gives the same bits with three threads for batches", () => {
    for (const [m, k, n] of [[40, 64, 40], [8, 9, 10], [130, 160, 130]] as const) {
      const results = [single, threaded].map((bench) => {
        state = m;
        const output = bench.view("float32", [12, m, n]);
        bench.matmul({ a: bench.randomFloats([12, m, k]), b: bench.randomFloats([12, k, n], [k * n, 1, k]), output });
        const bits = bench.bytes(output).slice();
        bench.free();
        return bits;
      });
      expect(Buffer.compare(results[0]!, results[1]!)).toBe(0);
    }
  });

  it("gives the same bits however a kernel's range is split", () => {
    const { runtime } = single;
    const [m, k, n] = [61, 300, 75];
    const a = runtime.pointer(single.randomFloats([m, k]));
    const b = runtime.pointer(single.randomFloats([n, k]));
    const halves = runtime.pointer(single.randomHalves([n, k]));
    const bias = runtime.pointer(single.randomFloats([n]));
    const quantized = (["int8", "uint4"] as const).map((format) => single.randomQuantized(format, n, 320, 32, true));
    const output = single.view("float32", [m, n]);
    const c = runtime.pointer(output);
    const scratch = runtime.pointer(single.view("float32", [600_000]));
    const packed = runtime.pointer(single.view("float32", [k * 80]));
    const tileRows = runtime.exports.gemmWideRows();
    const calls: [keyof KernelExports, number[], number][] = [
      ["gemm", [m, n, k, a, k, 1, b, 1, k, 0, 0, 0, 1, 0, 0, c, n, bias, 2, 0, 0, tileRows, scratch], m],
      ["gemm", [m, n, k, a, k, 1, b, 1, k, 0, 0, 0, 1, 0, 0, c, n, bias, 2, 0, 1, tileRows, scratch], n],
      ["gemm", [m, n, k, a, k, 1, halves, 1, k, 1, 0, 0, 1, 0, 0, c, n, bias, 2, 0, 1, tileRows, scratch], n],
      ["gemmPackColumns", [n, k, b, 1, k, 0, 0, 0, 1, packed, 0, scratch], 10],
      ["gemvFloat", [3, n, k, a, k, 1, b, k, c, bias, 3, 0, scratch], n],
      ["gemvDot", [7, n, k, a, k, 1, b, k, 0, 0, 0, 1, c, bias, 4, 0, scratch], n],
      ["gemvDot", [7, n, k, a, k, 1, halves, k, 1, 0, 0, 1, c, bias, 1, 0, scratch], n],
      ["gemvColumns", [3, n, k, a, k, 1, b, n, c, bias, 3, 0], n],
      ["gemvHalf", [3, n, k, a, k, 1, halves, k, c, bias, 3, 0, scratch], n],
      ...quantized.map(({ format, values, scales, minimums }): [keyof KernelExports, number[], number] => [
        "gemvIntegers",
        [
          2, n, 320, a, k, 1, runtime.pointer(values), format === "int8" ? 0 : 1, runtime.pointer(scales), runtime.pointer(minimums!), 32,
          c, bias, 2, 0, scratch,
        ],
        n,
      ]),
    ];
    for (const [name, parameters, count] of calls) {
      const kernel = runtime.exports[name] as (...parameters: number[]) => void;
      const written = name === "gemmPackColumns" ? new Uint8Array(runtime.heap.memory.buffer, packed, 4 * k * 80) : single.bytes(output);
      const run = (splits: number[]): Uint8Array => {
        written.fill(0);
        splits.forEach((begin, index) => kernel(...parameters, begin, splits[index + 1] ?? count));
        return written.slice();
      };
      const whole = run([0]);
      expect(whole.some((byte) => byte !== 0), name).toBe(true);
      for (const splits of [[0, 1], [0, 4, 8], [0, 3, 5, 9], Array.from({ length: count }, (_, index) => index)]) {
        expect(Buffer.compare(run(splits), whole), `${name} split at ${splits}`).toBe(0);
      }
    }
    single.free();
  });
});
