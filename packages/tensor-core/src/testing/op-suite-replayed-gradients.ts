import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkpoint } from "../autograd/checkpoint.ts";
import { customGradient, stopGradient } from "../autograd/custom-gradient.ts";
import { grad, noGrad, valueAndGrad, vjp } from "../autograd/gradients.ts";
import type { DeviceName } from "../backend/backend.ts";
import { memory } from "../backend/inspection.ts";
import { DisposedError, GradientError } from "../errors.ts";
import { rotaryEmbedding, scaledDotProductAttention } from "../ops/attention.ts";
import * as ops from "../ops/binary.ts";
import { less, where } from "../ops/compare.ts";
import { tensor, zeros } from "../ops/creation.ts";
import { take } from "../ops/indexing.ts";
import { cast, clone } from "../ops/materialize.ts";
import { linear } from "../ops/matmul.ts";
import { softmax } from "../ops/normalization.ts";
import { mean, sum } from "../ops/reduce.ts";
import { assign } from "../ops/views.ts";
import { exp, sigmoid, square, tanh } from "../ops/unary.ts";
import { scopeStack } from "../tensor/ownership.ts";
import { scope, tidy } from "../tensor/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { normals } from "../validation/values.ts";

/** `customGradient` and `checkpoint`. */
export function replayedGradientsSuite(device: DeviceName): void {
  describe(`replaced and replayed gradients on "${device}"`, () => {
    let start = 0;
    beforeEach(() => {
      start = memory(device).allocations;
    });
    afterEach(() => {
      expect(scopeStack.length, "open scopes").toBe(0);
      expect(memory(device).allocations - start, "tensors left in memory").toBe(0);
    });

    const of = (data: Parameters<typeof tensor>[0], dtype?: "float16" | "int32"): Tensor =>
      tensor(data, { device, ...(dtype ? { dtype } : {}) }) as Tensor;
    const random = (seed: number, ...shape: number[]): Tensor => {
      const value = normals(seed);
      return tensor(
        Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i)),
        shape,
        { device },
      ) as Tensor;
    };
    const valuesOf = async (source: Tensor): Promise<number[]> => [...(await source.data())];
    /** Runs in a scope that ends with it. */
    const scoped = async (run: () => Promise<void>): Promise<void> => {
      using _ = scope();
      await run();
    };

    describe("customGradient", () => {
      const clipped = customGradient((x: Tensor) => ({ value: clone(x), gradient: ([g]) => [ops.clamp(g!, -1, 1)] }));

      it("replaces differentiation", () =>
        scoped(async () => {
          const x = of([1, 2, 3]);
          const weights = of([0.5, 5, -5]);
          expect(await grad((input: Tensor) => sum(ops.multiply(clipped(input), weights)))(x).toArray()).toEqual([0.5, 1, -1]);
          // Without a tape only the value is there.
          expect(await clipped(x).toArray()).toEqual([1, 2, 3]);
        }));

      it("keeps saved tensors, many inputs and outputs, and frees what else it makes", async () => {
        const swap = customGradient((a: Tensor, b: Tensor) => {
          const [ea, eb] = [exp(a), exp(b)];
          square(ea);
          return {
            value: [ops.multiply(eb, 1), ops.multiply(ea, 1)] as const,
            saved: [ea, eb],
            gradient: ([ga, gb], [sa, sb]) => [gb ? ops.multiply(gb, sa!) : undefined, ga ? ops.multiply(ga, sb!) : undefined],
          };
        });
        const [a, b] = [of([0, 1]), of([2, 0])];
        const [value, [da, db]] = valueAndGrad(([x, y]: readonly [Tensor, Tensor]) => {
          const [first] = swap(x, y);
          return sum(first);
        })([a, b] as const);
        expect(await value.item()).toBeCloseTo(Math.exp(2) + 1, 5);
        expect(await da.toArray()).toEqual([0, 0]);
        expect((await valuesOf(db)).map((each) => Number(each.toFixed(4)))).toEqual([7.3891, 1]);
        for (const made of [a, b, value, da, db]) made.dispose();
        // Unrecorded, outside every scope.
        const [c, d] = [of(1), of(2)];
        for (const made of [...swap(c, d), c, d]) made.dispose();
      });

      it("may return an input", () =>
        scoped(async () => {
          const doubled = customGradient((x: Tensor) => ({ value: x, gradient: ([g]) => [ops.multiply(g!, 2)] }));
          const x = of([1, 2]);
          expect(await grad((input: Tensor) => sum(doubled(input)))(x).toArray()).toEqual([2, 2]);
          expect(await grad((input: Tensor) => sum(square(doubled(square(input)))))(x).toArray()).toEqual([8, 64]);
        }));

      it("may return one tensor twice", () =>
        scoped(async () => {
          const twice = customGradient((x: Tensor) => {
            const y = square(x);
            return { value: [y, y] as const, gradient: ([first, second]) => [ops.add(ops.multiply(first!, 10), second!)] };
          });
          const gradient = grad((input: Tensor) => {
            const [first, second] = twice(input);
            return sum(ops.add(ops.multiply(first, 2), second));
          })(of([1, 2]));
          expect(await gradient.toArray()).toEqual([21, 21]);
        }));

      it("checks what the gradient function returns", () =>
        scoped(async () => {
          const x = of([1, 2]);
          const count = customGradient((input: Tensor) => ({ value: clone(input), gradient: ([g]) => [g, g] }));
          expect(() => grad((input: Tensor) => sum(count(input)))(x)).toThrow(
            "customGradient: 1 inputs but the gradient function returned 2 gradients",
          );
          const shape = customGradient((input: Tensor) => ({ value: sum(input), gradient: ([g]) => [g] }));
          expect(() => grad((input: Tensor) => shape(input))(x)).toThrow("customGradient: input 0 has shape [2], the returned gradient []");
          expect(() => grad((input: Tensor) => shape(input))(x)).toThrow(GradientError);
        }));

      it("has no gradient for integers, and converts to the dtype of the input", () =>
        scoped(async () => {
          const gather = customGradient((table: Tensor, ids: Tensor) => ({
            value: cast(take(table, ids), "float32"),
            gradient: ([g]) => [ops.add(ops.multiply(zeros([3], { device }) as Tensor, 0), sum(g!)), undefined],
          }));
          const table = of([1, 2, 3], "float16");
          const gradient = grad((input: Tensor) => sum(gather(input, of([0, 2], "int32"))))(table);
          expect(gradient.dtype).toBe("float16");
          expect(await gradient.toArray()).toEqual([2, 2, 2]);
        }));
    });

    describe("checkpoint", () => {
      const [weight1, weight2] = [21, 22];
      const build = (): { x: Tensor; w1: Tensor; w2: Tensor; bias: Tensor } => ({
        x: random(20, 33, 17),
        w1: random(weight1, 40, 17),
        w2: random(weight2, 17, 40),
        bias: random(23, 40),
      });

      it("gives the same bits, also for parameters of the closure and fused activations", () =>
        scoped(async () => {
          const { x, w1, w2, bias } = build();
          const layer = (input: Tensor): Tensor =>
            ops.add(input, linear(softmax(linear(input, w1, { bias, activation: "gelu" })), w2, { activation: "silu" }));
          const run = (block: (input: Tensor) => Tensor): [Tensor, Tensor[]] =>
            valueAndGrad(([input]: readonly Tensor[]) => mean(square(block(block(ops.multiply(input!, 1.5))))))([x, w1, w2, bias]) as [
              Tensor,
              Tensor[],
            ];
          const [plainValue, plain] = run(layer);
          const [value, gradients] = run((input) => checkpoint(layer, input));
          expect(await value.data()).toEqual(await plainValue.data());
          for (const [i, gradient] of gradients.entries()) expect(await gradient.data(), `gradient ${i}`).toEqual(await plain[i]!.data());
        }));

      it("sees parameters inside nested checkpoints", () =>
        scoped(async () => {
          const { x, w1, w2 } = build();
          const inner = (input: Tensor): Tensor => linear(input, w2);
          const outer = (input: Tensor): Tensor => checkpoint(inner, linear(input, w1, { activation: "relu" }));
          const loss = (block: (input: Tensor) => Tensor) => (): Tensor => sum(square(block(x)));
          const plain = valueAndGrad(loss((input) => linear(linear(input, w1, { activation: "relu" }), w2)))([w1, w2])[1];
          const nested = valueAndGrad(loss((input) => checkpoint(outer, input)))([w1, w2])[1];
          for (const i of [0, 1]) expect(await nested[i]!.data()).toEqual(await plain[i]!.data());
          expect((await valuesOf(nested[1]!)).some((value) => value !== 0)).toBe(true);
        }));

      it("takes integers, gives many outputs, and passes inputs through", () =>
        scoped(async () => {
          const table = of([
            [1, 2],
            [3, 4],
          ]);
          const ids = of([1, 1, 0], "int32");
          const gradient = grad((input: Tensor) => {
            const [rows, same] = checkpoint((t: Tensor, i: Tensor) => [square(take(t, i)), t] as const, input, ids);
            return ops.add(sum(rows), sum(ops.multiply(same, 10)));
          })(table);
          expect(await gradient.toArray()).toEqual([
            [12, 14],
            [22, 26],
          ]);
          expect(await grad((input: Tensor) => sum(checkpoint((t: Tensor) => t, input)))(table).toArray()).toEqual([
            [1, 1],
            [1, 1],
          ]);
        }));

      it("needs less memory", () => {
        const x = random(1, 64, 64);
        const peak = (block: (input: Tensor) => Tensor): number => {
          let most = 0;
          const seen = (input: Tensor): Tensor => {
            most = Math.max(most, memory(device).allocatedBytes);
            return input;
          };
          const gradient = grad((input: Tensor) => {
            let hidden = input;
            for (let i = 0; i < 6; i++) hidden = seen(block(hidden));
            return sum(hidden);
          })(x);
          gradient.dispose();
          return most - memory(device).allocatedBytes;
        };
        const deep = (input: Tensor): Tensor => tidy(() => sigmoid(tanh(sigmoid(tanh(sigmoid(tanh(exp(ops.multiply(input, 0.1)))))))));
        const [plain, saving] = [peak(deep), peak((input) => checkpoint(deep, input))];
        expect(saving).toBeLessThan(plain / 3);
        x.dispose();
      });

      it("runs plainly where nothing is recorded", () =>
        scoped(async () => {
          let runs = 0;
          const x = of([1]);
          expect(
            await checkpoint((input: Tensor) => {
              runs++;
              return ops.add(input, 1);
            }, x).toArray(),
          ).toEqual([2]);
          expect(runs).toBe(1);
        }));

      it("tells an input from the same tensor in its closure", () =>
        scoped(async () => {
          const x = of([1, 2, 3]);
          expect(await grad((a: Tensor) => sum(checkpoint((b: Tensor) => ops.multiply(b, a), a)))(x).toArray()).toEqual([2, 4, 6]);
          // Also where checkpoints nest, and where the closure of the outer one is the input of the inner one.
          const nested = (a: Tensor): Tensor =>
            sum(checkpoint((b: Tensor) => checkpoint((c: Tensor) => ops.multiply(ops.multiply(c, b), a), a), a));
          expect(await grad(nested)(x).toArray()).toEqual([3, 12, 27]);
        }));

      it("keeps what its function reads by closure, intermediates and constants", () =>
        scoped(async () => {
          const x = of([1, 2]);
          const gradient = grad((input: Tensor) => {
            const hidden = square(input);
            const constant = of([10, 20]);
            const rows = of([1, 0], "int32");
            return sum(checkpoint((other: Tensor) => take(ops.multiply(ops.multiply(other, hidden), constant), rows), input));
          })(x);
          expect(await gradient.toArray()).toEqual([30, 240]);
        }));

      it("says so when a tensor of its closure is gone that it could not see", () =>
        scoped(async () => {
          const x = of([1, 2]);
          const lost = (): Tensor =>
            grad((input: Tensor) => {
              const limits = of([1, 5]);
              return sum(checkpoint((other: Tensor) => where(less(other, limits), other, 0), input));
            })(x);
          expect(lost).toThrow(DisposedError);
          expect(lost).toThrow("pass it as an input");
        }));

      it("refuses tensors that changed in place before the second run", () =>
        scoped(async () => {
          const [x, weight, constant, other] = [of([1, 2]), of([3, 4]), of([5, 6]), of([7, 8])];
          for (const changed of [x, weight, constant]) {
            const { value, backward } = vjp(
              () => checkpoint((a: Tensor) => ops.multiply(ops.multiply(a, weight), constant), x),
              [x, weight],
            );
            assign(changed, other);
            expect(() => backward([value])).toThrow(GradientError);
          }
        }));
    });

    it("refuses writes and constants whose gradient would be lost", () =>
      scoped(async () => {
        const [x, target] = [of([1, 2]), of([0, 0])];
        const write = (into: (input: Tensor) => Tensor, value: (input: Tensor) => Tensor) => (): unknown =>
          grad((input: Tensor) => {
            assign(into(input), value(input));
            return sum(input);
          })(x);
        expect(write(() => target, exp)).toThrow(GradientError);
        expect(write(clone, () => target)).toThrow("assign: gradients do not flow");
        expect(
          write(
            () => target,
            () => of([5, 6]),
          ),
        ).not.toThrow();
        grad((input: Tensor) => {
          noGrad(() => assign(target, input));
          return sum(input);
        })(x);
        expect(await valuesOf(target)).toEqual([1, 2]);
        const query = random(1, 1, 2, 3, 4);
        const mask = random(2, 3, 3);
        const masked = (given: (mask: Tensor) => Tensor) => (): unknown =>
          grad((input: Tensor) => sum(scaledDotProductAttention(query, query, query, { mask: given(input) })))(mask);
        expect(masked((input) => input)).toThrow(GradientError);
        expect(masked(stopGradient)).not.toThrow();
        const table = random(3, 5, 2);
        const tokens = random(4, 1, 3, 2, 4);
        expect(() => grad((input: Tensor) => sum(rotaryEmbedding(tokens, input, table)))(table)).toThrow(GradientError);
        expect(() => grad((input: Tensor) => sum(rotaryEmbedding(tokens, table, input)))(random(3, 5, 2))).toThrow(
          "wrap it in stopGradient()",
        );
      }));
  });
}
