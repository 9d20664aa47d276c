import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkpoint } from "../autograd/checkpoint.ts";
import { customGradient, stopGradient } from "../autograd/custom-gradient.ts";
import { grad, noGrad, valueAndGrad, vjp } from "../autograd/gradients.ts";
import type { DeviceName } from "../backend/backend.ts";
import { memory } from "../backend/inspection.ts";
import { GradientError } from "../errors.ts";
import { Parameter } from "../nn/parameter.ts";
import * as ops from "../ops/binary.ts";
import { greater, where } from "../ops/compare.ts";
import { tensor, zeros } from "../ops/creation.ts";
import { embedding, take } from "../ops/indexing.ts";
import { cast } from "../ops/materialize.ts";
import { linear, matmul } from "../ops/matmul.ts";
import { max, mean, norm, sum } from "../ops/reduce.ts";
import { exp, square, tanh } from "../ops/unary.ts";
import { assign, broadcastTo, reshape, slice, split, transpose } from "../ops/views.ts";
import { scopeStack } from "../tensor/ownership.ts";
import { keep, scope } from "../tensor/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { normals } from "../validation/values.ts";

/** What the differentiation functions promise, beyond right derivatives. */
export function autogradSuite(device: DeviceName): void {
  describe(`autograd on "${device}"`, () => {
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

    describe("vjp", () => {
      it("gives values now and gradients later, with undefined as zero", () =>
        scoped(async () => {
          const x = of([1, 2, 3]);
          const { value, backward } = vjp(() => [square(x), exp(x)], [x]);
          expect(await valuesOf(value[0]!)).toEqual([1, 4, 9]);
          const [gradient] = backward([of([1, 10, 100]), undefined]);
          expect(await valuesOf(gradient!)).toEqual([2, 40, 600]);
        }));

      it("reads inputs from a closure and leaves their place in other graphs alone", () =>
        scoped(async () => {
          const [a, b] = [of([2]), of([5])];
          const { backward } = vjp(() => ops.multiply(a, b), [b]);
          expect(a.node).toBeUndefined();
          expect(b.node).toBeUndefined();
          expect(await valuesOf(backward([of([1])])[0]!)).toEqual([2]);
        }));

      it("gives zeros for inputs that nothing depends on, and for constant functions", () =>
        scoped(async () => {
          const [a, b] = [of([1, 2]), of([[3], [4]])];
          const { backward } = vjp(() => square(a), [a, b]);
          const [, unused] = backward([of([1, 1])]);
          expect(unused!.shape).toEqual([2, 1]);
          expect(await valuesOf(unused!)).toEqual([0, 0]);
          const constant = vjp(() => b, [a]);
          expect(await valuesOf(constant.backward([zeros([2, 1], { device }) as Tensor])[0]!)).toEqual([0, 0]);
        }));

      it("gives gradients memory of their own", () =>
        scoped(async () => {
          const [a, b, seed] = [of([1, 2]), of([3, 4]), of([1, 1])];
          const { backward } = vjp(() => ops.add(a, b), [a, b]);
          const [left, right] = backward([seed]) as [Tensor, Tensor];
          assign(left, of([7, 7]));
          expect(await valuesOf(right)).toEqual([1, 1]);
          expect(await valuesOf(seed)).toEqual([1, 1]);
        }));

      it("takes an input named twice as one tensor", () =>
        scoped(async () => {
          const x = of([3]);
          const { backward } = vjp(() => square(x), [x, x]);
          const [first, second] = backward([of([1])]) as [Tensor, Tensor];
          expect(await valuesOf(first)).toEqual([6]);
          expect(await valuesOf(second)).toEqual([6]);
        }));

      it("returns an input, or a tensor from outside, as another handle", () =>
        scoped(async () => {
          const [x, other] = [of([3]), of([4])];
          const { value, backward } = vjp(() => [x, other, x], [x]);
          value.forEach((output) => output.dispose());
          expect(await valuesOf(x)).toEqual([3]);
          expect(await valuesOf(other)).toEqual([4]);
          expect(await valuesOf(backward([of([1]), of([1]), of([2])])[0]!)).toEqual([3]);
        }));

      it("refuses a second use, and use after free", () =>
        scoped(async () => {
          const x = of([1, 2]);
          const once = vjp(() => square(x), [x]);
          once.backward([of([1, 1])]);
          expect(() => once.backward([of([1, 1])])).toThrow(GradientError);
          expect(() => once.backward([of([1, 1])])).toThrow("run the forward function again");
          const freed = vjp(() => square(x), [x]);
          freed.free();
          expect(() => freed.backward([of([1, 1])])).toThrow(GradientError);
        }));

      it("checks the gradients it is given, and can still be used after an error", () =>
        scoped(async () => {
          const x = of([1, 2]);
          const { backward } = vjp(() => square(x), [x]);
          expect(() => backward([])).toThrow("backward: 1 outputs but 0 gradients");
          expect(() => backward([of([1])])).toThrow("backward: output 0 has shape [2], its gradient [1]");
          expect(await valuesOf(backward([of([1, 1])])[0]!)).toEqual([2, 4]);
        }));

      it("refuses integers and in-place changes of what it saved", () =>
        scoped(async () => {
          const integers = of([1, 2], "int32");
          expect(() => vjp(() => integers, [integers])).toThrow("vjp: input [2] is int32; only floating tensors have gradients");
          const x = of([1, 2]);
          const { backward } = vjp(() => square(x), [x]);
          assign(x, of(5), 0);
          expect(() => backward([of([1, 1])])).toThrow(GradientError);
          const y = of([1, 2]);
          const again = vjp(() => square(y), [y]);
          assign(y, of(5), 0);
          expect(() => again.backward([of([1, 1])])).toThrow("changed in place");
        }));

      it("lets values change that no gradient needs", () =>
        scoped(async () => {
          const x = of([1, 2]);
          const { backward } = vjp(() => ops.add(x, 1), [x]);
          assign(x, of(5), 0);
          expect(await valuesOf(backward([of([1, 3])])[0]!)).toEqual([1, 3]);
        }));

      it("keeps what it needs of tensors that were disposed, and of views", () =>
        scoped(async () => {
          const x = of([1, 2, 3, 4]);
          const { backward } = vjp(() => {
            const doubled = ops.multiply(x, 2);
            const result = square(slice(doubled, [0, 4, 3]));
            doubled.dispose();
            return result;
          }, [x]);
          x.dispose();
          expect(await valuesOf(backward([of([1, 1])])[0]!)).toEqual([8, 0, 0, 32]);
        }));

      it("says what it cannot differentiate", () => {
        const x = of([1, 2]);
        expect(() => valueAndGrad((async () => x) as unknown as () => Tensor)([x])).toThrow("it returned a promise");
        expect(() => vjp((() => 5) as never, [x])).toThrow(
          "vjp: the function must return a tensor or an array of tensors, it returned [object Number]",
        );
        expect(() => grad((input: Tensor) => sum(checkpoint((() => undefined) as unknown as (input: Tensor) => Tensor, input)))(x)).toThrow(
          GradientError,
        );
        x.dispose();
      });

      it("frees everything when the function throws", () => {
        const x = of([1, 2]);
        expect(() =>
          vjp(() => {
            square(exp(x));
            throw new Error("halfway");
          }, [x]),
        ).toThrow("halfway");
        expect(x.node).toBeUndefined();
        x.dispose();
      });

      it("frees everything when the backward pass throws", () => {
        const x = of([1, 2]);
        const broken = customGradient((input: Tensor) => ({
          value: exp(input),
          gradient: () => {
            throw new Error("halfway back");
          },
        }));
        const { value, backward } = vjp(() => ops.add(broken(square(x)), x), [x]);
        const seed = of([1, 1]);
        expect(() => backward([seed])).toThrow("halfway back");
        for (const made of [x, value, seed]) made.dispose();
      });
    });

    describe("valueAndGrad", () => {
      it("differentiates trees", () =>
        scoped(async () => {
          const parameters = {
            layers: [
              { weight: of([[1, 2]]), bias: of([3]) },
              { weight: of([[4, 5]]), bias: of([6]) },
            ],
            scale: of(2),
          };
          const [value, gradient] = valueAndGrad((p: typeof parameters, factor: number) =>
            ops.multiply(
              sum(ops.multiply(ops.add(sum(ops.multiply(p.layers[0]!.weight, p.layers[1]!.weight)), p.layers[0]!.bias), p.scale)),
              factor,
            ),
          )(parameters, 3);
          expect(await value.item()).toBe((4 + 10 + 3) * 2 * 3);
          expect(await gradient.layers[0]!.weight.toArray()).toEqual([[24, 30]]);
          expect(await gradient.layers[1]!.weight.toArray()).toEqual([[6, 12]]);
          expect(await gradient.layers[0]!.bias.toArray()).toEqual([6]);
          expect(await gradient.layers[1]!.bias.toArray()).toEqual([0]);
          expect(await gradient.scale.item()).toBe(51);
        }));

      it("reaches parameters by closure, outside every scope, and leaves value and gradients alone", async () => {
        const weight = new Parameter(
          of([
            [1, 2],
            [3, 4],
          ]),
        );
        const input = of([[1, 1]]);
        const [value, gradients] = valueAndGrad(() => mean(square(linear(input, weight))))([weight]);
        expect(await value.item()).toBe((9 + 49) / 2);
        expect(await gradients[0]!.toArray()).toEqual([
          [3, 3],
          [7, 7],
        ]);
        expect(memory(device).allocations - start).toBe(4);
        for (const made of [weight, input, value, ...gradients]) made.dispose();
      });

      it("does not free the tensor that the identity returns", () =>
        scoped(async () => {
          const x = of(4);
          const gradient = grad((input: Tensor) => input)(x);
          expect(await gradient.item()).toBe(1);
          expect(await x.item()).toBe(4);
        }));

      it("asks for one number", () => {
        const x = of([1, 2]);
        expect(() => grad((input: Tensor) => square(input))(x)).toThrow(GradientError);
        expect(() => valueAndGrad((input: Tensor) => square(input))(x)).toThrow(
          "valueAndGrad: the function must return one number, it returned shape [2]",
        );
        x.dispose();
      });

      it("refuses gradients of gradients, whichever way they are asked for", () => {
        const x = of(2);
        const inner = (input: Tensor): Tensor => grad((y: Tensor) => square(square(y)))(input);
        expect(() => grad((input: Tensor) => inner(input))(x)).toThrow(GradientError);
        expect(() => grad((input: Tensor) => inner(square(input)))(x)).toThrow("gradients of gradients are not supported");
        // The outer tensor used inside the inner function.
        const other = of(3);
        expect(() => grad((input: Tensor) => grad((y: Tensor) => ops.multiply(y, input))(other))(x)).toThrow(GradientError);
        x.dispose();
        other.dispose();
      });

      it("takes an inner gradient as a constant when told so", () =>
        scoped(async () => {
          const x = of(2);
          const slope = (input: Tensor): Tensor => grad((y: Tensor) => square(y))(input);
          expect(await grad((input: Tensor) => ops.multiply(input, slope(stopGradient(input))))(x).item()).toBe(4);
          expect(
            await grad((input: Tensor) =>
              ops.multiply(
                input,
                noGrad(() => slope(input)),
              ),
            )(x).item(),
          ).toBe(4);
        }));

      it("differentiates other tensors inside", () =>
        scoped(async () => {
          const [x, y] = [of(2), of(5)];
          expect(await grad((input: Tensor) => ops.multiply(input, grad((other: Tensor) => square(other))(y)))(x).item()).toBe(10);
        }));

      it("sums in one order, whatever the number of uses", () =>
        scoped(async () => {
          const x = random(3, 257);
          const run = (): Tensor =>
            grad((input: Tensor) => {
              let total = sum(ops.multiply(input, 0.1));
              for (let i = 1; i < 20; i++) total = ops.add(total, sum(tanh(ops.multiply(input, 1 / i))));
              return total;
            })(x);
          expect(await run().data()).toEqual(await run().data());
        }));

      it("takes 0 as the slope of a norm at zero, and of x⁰", () =>
        scoped(async () => {
          const x = of([
            [0, 0],
            [3, 4],
          ]);
          const slopes = await grad((input: Tensor) => sum(norm(input, 1)))(x).toArray();
          expect(slopes).toEqual([
            [0, 0],
            [Math.fround(0.6), Math.fround(0.8)],
          ]);
          expect(await grad((input: Tensor) => sum(ops.power(input, 0)))(x).toArray()).toEqual([
            [0, 0],
            [0, 0],
          ]);
        }));

      it("shares the gradient of ties", () =>
        scoped(async () => {
          const x = of([
            [1, 3, 3],
            [2, 2, 2],
          ]);
          expect(await grad((input: Tensor) => sum(max(input, 1)))(x).toArray()).toEqual([
            [0, 0.5, 0.5],
            [Math.fround(1 / 3), Math.fround(1 / 3), Math.fround(1 / 3)],
          ]);
          const [a, b] = [of([1, 2, 3]), of([1, 5, 0])];
          const [left, right] = grad(([p, q]: readonly [Tensor, Tensor]) => sum(ops.maximum(p, q)))([a, b] as const);
          expect(await left.toArray()).toEqual([0.5, 0, 1]);
          expect(await right.toArray()).toEqual([0.5, 1, 0]);
        }));
    });

    describe("float16", () => {
      it("gives float16 gradients, summed in float32", () =>
        scoped(async () => {
          const x = of([1, 2, 3, 4], "float16");
          const gradient = grad((input: Tensor) => {
            const uses = [
              ops.multiply(input, 2),
              square(input),
              broadcastTo(reshape(input, [2, 2]), [3, 2, 2]),
              slice(input, [1, 3]),
              transpose(reshape(input, [2, 2])),
            ];
            return uses.map((each) => sum(cast(each, "float32"))).reduce((a, b) => ops.add(a, b));
          })(x);
          expect(gradient.dtype).toBe("float16");
          expect(await gradient.toArray()).toEqual([2 + 2 + 3 + 1, 2 + 4 + 3 + 1 + 1, 2 + 6 + 3 + 1 + 1, 2 + 8 + 3 + 1]);
        }));

      it("does not lose the gradient of tables and mixed products", () =>
        scoped(async () => {
          const table = of(
            [
              [1, 2],
              [3, 4],
              [5, 6],
            ],
            "float16",
          );
          const ids = of([2, 0, 2], "int32");
          const gradient = grad((input: Tensor) => sum(cast(embedding(input, ids), "float32")))(table);
          expect(await gradient.toArray()).toEqual([
            [1, 1],
            [0, 0],
            [2, 2],
          ]);
          const x = of([[1, 2, 3]]);
          const mixed = grad((input: Tensor) => sum(matmul(x, input)))(table);
          expect(mixed.dtype).toBe("float16");
          expect(await mixed.toArray()).toEqual([
            [1, 1],
            [2, 2],
            [3, 3],
          ]);
          const sums = grad((input: Tensor) => sum(take(input, ids, 0)))(table);
          expect(await sums.toArray()).toEqual([
            [1, 1],
            [0, 0],
            [2, 2],
          ]);
        }));
    });

    describe("noGrad and stopGradient", () => {
      it("let nothing through", () =>
        scoped(async () => {
          const x = of([1, 2]);
          const gradient = grad((input: Tensor) =>
            sum(
              ops.add(
                ops.multiply(input, stopGradient(input)),
                noGrad(() => exp(input)),
              ),
            ),
          )(x);
          expect(await valuesOf(gradient)).toEqual([1, 2]);
          expect(stopGradient(x)).not.toBe(x);
        }));

      it("restore recording after an exception", () =>
        scoped(async () => {
          const x = of(3);
          const gradient = grad((input: Tensor) => {
            try {
              noGrad(() => {
                throw new Error("inside");
              });
            } catch {
              // goes on
            }
            return square(input);
          })(x);
          expect(await gradient.item()).toBe(6);
        }));
    });

    it("differentiates control flow as it ran", () =>
      scoped(async () => {
        const x = of([-2, 3]);
        const f = (input: Tensor): Tensor => {
          let total = sum(where(greater(input, 0), square(input), ops.multiply(input, -1)));
          for (const part of split(input, 2)) total = ops.add(total, sum(part));
          return total;
        };
        expect(await grad(f)(x).toArray()).toEqual([0, 7]);
      }));

    it("hands kept tensors to the caller and frees the rest", async () => {
      const x = of([1, 2]);
      let kept: Tensor | undefined;
      const gradient = grad((input: Tensor) => {
        kept = keep(exp(input));
        return sum(kept);
      })(x);
      (await valuesOf(kept!)).forEach((value, i) => expect(value).toBeCloseTo(Math.exp(i + 1), 4));
      for (const made of [x, kept!, gradient]) made.dispose();
    });
  });
}
