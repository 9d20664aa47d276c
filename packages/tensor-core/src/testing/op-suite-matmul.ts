import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { grad } from "../autograd/gradients.ts";
import type { Activation, DeviceName } from "../backend/backend.ts";
import { einsum } from "../ops/einsum.ts";
import { dot, linear, matmul, outer } from "../ops/matmul.ts";
import { dequantize, quantize } from "../ops/quantize.ts";
import { sum } from "../ops/reduce.ts";
import { square } from "../ops/unary.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { QuantizedTensor } from "../tensor/quantized.ts";
import { promoteDtypes } from "../tensor/dtype.ts";
import { at, build, erfHost, matmulHost, permuteHost, reshapeHost, sigmoidHost, zip, type HostArray } from "./op-suite-host.ts";
import {
  allDtypes,
  checkOperation,
  checkProperty,
  dense,
  expectClose,
  expectNoLeaks,
  layouts,
  place,
  read,
  toleranceOf,
  type ViewLayout,
} from "./op-suite-check.ts";

export const matmulOperations: readonly string[] = ["matmul", "linear", "dot", "outer", "einsum", "quantize", "dequantize"];

const activations: Record<Activation, (x: number) => number> = {
  relu: (x) => Math.max(0, x),
  silu: (x) => x * sigmoidHost(x),
  gelu: (x) => (x / 2) * (1 + erfHost(x / Math.SQRT2)),
  geluTanh: (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

const edge = fc.oneof({ arbitrary: fc.constantFrom(1, 2, 3, 4, 5, 7, 8, 9, 13, 17), weight: 15 }, { arbitrary: fc.constant(0), weight: 1 });

/** Σ over every letter that the output lacks, straight from the definition. */
function einsumHost(equation: string, ...operands: readonly HostArray[]): HostArray {
  const [left, output] = equation.split("->") as [string, string];
  const inputs = left.split(",");
  const sizes = new Map<string, number>();
  inputs.forEach((labels, i) => [...labels].forEach((label, axis) => sizes.set(label, operands[i]!.shape[axis]!)));
  const summed = [...sizes.keys()].filter((label) => !output.includes(label));
  const lengths = (labels: Iterable<string>): number[] => [...labels].map((label) => sizes.get(label)!);
  return build(lengths(output), (outer) => {
    const products = build(lengths(summed), (inner) => {
      const place = (label: string): number => (output.includes(label) ? outer[output.indexOf(label)]! : inner[summed.indexOf(label)]!);
      return inputs.reduce((product, labels, i) => product * at(operands[i]!, [...labels].map(place)), 1);
    });
    return products.values.reduce((total, value) => total + value, 0);
  });
}

/** Products of matrices in all their forms. */
export function matmulSuite(device: DeviceName): void {
  describe("matmul", () => {
    const drawn = fc.record({
      m: edge,
      k: edge,
      n: edge,
      batch: fc.constantFrom<[number[], number[]]>(
        [[], []],
        [[2], [2]],
        [[3], []],
        [[], [3]],
        [[2, 1], [3]],
        [[1], [2]],
        [[0], [1]],
        [
          [2, 3],
          [1, 3],
        ],
      ),
      layouts: fc.tuple(layouts, layouts),
    });

    it("multiplies stacks of matrices of any layout", async () => {
      await checkProperty(
        device,
        drawn,
        (input, { m, k, n, batch: [batchA, batchB], layouts: [layoutA, layoutB] }) => {
          const a = input("float32", [...batchA, m, k], { layout: layoutA });
          const b = input("float32", [...batchB, k, n], { layout: layoutB });
          return { run: () => matmul(a.tensor, b.tensor), expected: matmulHost(a.host, b.host), tolerance: 10 };
        },
        120,
      );
    });

    it("takes vectors as rows and columns", async () => {
      await checkProperty(
        device,
        drawn,
        (input, { m, k, n, layouts: [layoutA, layoutB] }) => {
          const row = input("float32", [k], { layout: layoutA });
          const a = input("float32", [m, k], { layout: layoutA });
          const b = input("float32", [2, k, n], { layout: layoutB });
          const rowMatrix = reshapeHost(row.host, [1, k]);
          const column = reshapeHost(row.host, [k, 1]);
          return {
            run: () => [
              matmul(row.tensor, b.tensor),
              matmul(a.tensor, row.tensor),
              matmul(row.tensor, row.tensor),
              dot(row.tensor, row.tensor),
              outer(row.tensor, row.tensor),
            ],
            expected: [
              reshapeHost(matmulHost(rowMatrix, b.host), [2, n]),
              reshapeHost(matmulHost(a.host, column), [m]),
              reshapeHost(matmulHost(rowMatrix, column), []),
              reshapeHost(matmulHost(rowMatrix, column), []),
              matmulHost(column, rowMatrix),
            ],
            dtype: Array.from({ length: 5 }, () => "float32" as const),
            tolerance: 10,
          };
        },
        30,
      );
    });

    it.each(allDtypes.flatMap((a) => allDtypes.map((b) => [a, b] as const)))("multiplies %s by %s", async (left, right) => {
      const meeting = promoteDtypes(left, right);
      const dtype = meeting === "float32" || meeting === "float16" ? meeting : "int32";
      await checkOperation(device, (input) => {
        const a = input(left, [2, 3, 5], { layout: { ...dense, order: [0, 2, 1] } });
        const b = input(right, [5, 4]);
        return { run: () => matmul(a.tensor, b.tensor), expected: matmulHost(a.host, b.host), dtype, tolerance: 5 };
      });
    });
  });

  describe("linear", () => {
    const strided: ViewLayout = { order: [1, 0, 2, 3], before: 1, step: 2, repeated: 0 };

    it.each([undefined, "relu", "silu", "gelu", "geluTanh"] as const)("with activation %s", async (activation) => {
      const drawn = fc.record({
        lead: fc.constantFrom<number[]>([], [1], [5], [2, 3], [0]),
        inputs: edge,
        outputs: edge,
        layout: layouts,
        bias: fc.boolean(),
        dtype: fc.constantFrom("float32" as const, "float16" as const),
      });
      await checkProperty(
        device,
        drawn,
        (input, { lead, inputs, outputs, layout, bias, dtype }) => {
          const x = input("float32", [...lead, inputs], { layout });
          const weight = input(dtype, [outputs, inputs], { layout: strided });
          const offset = input("float32", [outputs], { layout: strided });
          const rows = reshapeHost(x.host, [lead.reduce((a, b) => a * b, 1), inputs]);
          const sums = zip((sum, add) => sum + (bias ? add : 0), matmulHost(rows, permuteHost(weight.host, [1, 0])), offset.host);
          const expected = reshapeHost(activation ? zip(activations[activation], sums) : sums, [...lead, outputs]);
          return {
            run: () => linear(x.tensor, weight.tensor, { bias: bias ? offset.tensor : undefined, activation }),
            expected,
            tolerance: 10,
          };
        },
        30,
      );
    });

    it.each(["int8", "uint4"] as const)("with %s groups", async (format) => {
      await expectNoLeaks(device, async () => {
        const weight = place(device, "float32", [7, 64], strided, (i) => Math.sin(i));
        const input = place(device, "float32", [3, 64], dense, (i) => Math.cos(i * 0.7));
        const quantized: QuantizedTensor = await quantize(weight.tensor, { format, groupSize: 16 });
        const restored = await dequantize(quantized);
        const host = await read(restored);
        // Half a step of the widest group, a range of at most 2.
        const step = format === "int8" ? 1 / 127 : 2 / 15;
        expectClose(host, weight.host, step * 0.51);
        const product = linear(input.tensor, quantized, { activation: "silu" });
        expectClose(
          await read(product),
          zip(activations.silu, matmulHost(input.host, permuteHost(host, [1, 0]))),
          toleranceOf(device) * 10,
        );
        expect(quantized.byteLength).toBe(format === "int8" ? 7 * 64 + 4 * 28 : 7 * 32 + 8 * 28);
        for (const made of [weight.tensor, input.tensor, restored, product, quantized]) made.dispose();
      });
    });

    it.each(["int8", "uint4"] as const)("gives its input a gradient through %s groups", async (format) => {
      await expectNoLeaks(device, async () => {
        const weight = place(device, "float32", [5, 32], dense, (i) => Math.sin(i));
        const input = place(device, "float32", [2, 3, 32], dense, (i) => Math.cos(i * 0.7));
        const quantized: QuantizedTensor = await quantize(weight.tensor, { format, groupSize: 16 });
        const restored = await dequantize(quantized);
        const loss = (given: Tensor | QuantizedTensor) => grad((x: Tensor) => sum(square(linear(x, given, { activation: "geluTanh" }))));
        const [actual, expected] = [loss(quantized)(input.tensor), loss(restored)(input.tensor)];
        expectClose(await read(actual), await read(expected), toleranceOf(device) * 10);
        for (const made of [weight.tensor, input.tensor, quantized, restored, actual, expected]) made.dispose();
      });
    });

    it("quantizes constant and tiny groups", async () => {
      await expectNoLeaks(device, async () => {
        const value = (i: number): number => (i < 8 ? 0 : i < 16 ? 2.5 : i < 24 ? 1e-44 * (i - 16) : 1e30);
        for (const format of ["int8", "uint4"] as const) {
          const weight = place(device, "float32", [4, 8], dense, (i) => Math.fround(value(i)));
          const quantized = await quantize(weight.tensor, { format, groupSize: 8 });
          const restored = await dequantize(quantized);
          const host = await read(restored);
          host.values.forEach((actual, i) =>
            expect(Math.abs(actual - weight.host.values[i]!)).toBeLessThanOrEqual(Math.abs(weight.host.values[i]!) / 100 + 1e-40),
          );
          for (const made of [weight.tensor, quantized, restored]) made.dispose();
        }
      });
    });
  });

  describe("einsum", () => {
    const equations = [
      "ij,jk->ik",
      "bij,bjk->bik",
      "ij,ij->",
      "i,j->ij",
      "ii->i",
      "ii->",
      "ij->ji",
      "ij->",
      "ijk->j",
      "bhqd,bhkd->bhqk",
      "ij,jk,kl->il",
      "i,i->i",
      "ij,j->i",
      "bi,bj->bij",
      "iij,jk->ki",
      "ijk,k->",
      "ab,cd->abcd",
      "abc,cd,ae->bde",
      ",i->i",
      "iji->j",
    ];
    it.each(equations)("%s", async (equation) => {
      const letters = [...new Set(equation.replaceAll(/[^a-z]/g, ""))];
      const drawn = fc.record({
        sizes: fc.array(fc.constantFrom(1, 2, 3, 4, 5), { minLength: letters.length, maxLength: letters.length }),
        layout: layouts,
      });
      await checkProperty(
        device,
        drawn,
        (input, { sizes, layout }) => {
          const plain = { ...layout, repeated: 0 };
          const operands = equation
            .split("->")[0]!
            .split(",")
            .map((labels) =>
              input(
                "float32",
                [...labels].map((label) => sizes[letters.indexOf(label)]!),
                { layout: plain },
              ),
            );
          return {
            run: () => einsum(equation, ...operands.map(({ tensor }) => tensor)),
            expected: einsumHost(equation, ...operands.map(({ host }) => host)),
            tolerance: 20,
          };
        },
        8,
      );
    });

    it("keeps single letters in order without an arrow, and takes empty axes", async () => {
      await checkOperation(device, (input) => {
        const a = input("float32", [2, 3]);
        const b = input("float32", [3, 4]);
        const none = input("float32", [0, 3]);
        return {
          run: () => [
            einsum("kj, ji", a.tensor, b.tensor),
            einsum("ij,jk->ik", none.tensor, b.tensor),
            einsum("ji,jk->ik", none.tensor, none.tensor),
          ],
          expected: [permuteHost(matmulHost(a.host, b.host), [1, 0]), build([0, 4], () => 0), build([3, 3], () => 0)],
          dtype: ["float32", "float32", "float32"],
          tolerance: 5,
        };
      });
    });
  });
}
