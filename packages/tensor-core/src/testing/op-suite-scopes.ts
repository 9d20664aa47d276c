import { describe, expect, it } from "vitest";
import { grad } from "../autograd/gradients.ts";
import type { DeviceName } from "../backend/backend.ts";
import { memory, synchronize } from "../backend/inspection.ts";
import { DisposedError, ShapeError, TensorError } from "../errors.ts";
import { matmul } from "../ops/matmul.ts";
import { exp, square } from "../ops/unary.ts";
import { QuantizedTensor } from "../tensor/quantized.ts";
import { dispose, keep, scope, tidy } from "../tensor/scope.ts";
import type { Dtype } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { expectNoLeaks } from "./op-suite-check.ts";
import * as binary from "../ops/binary.ts";
import * as creation from "../ops/creation.ts";
import * as views from "../ops/views.ts";

/** Scopes and the lifetime of tensors. */
export function scopesSuite(device: DeviceName): void {
  const of = (data: creation.TensorData, dtype?: Dtype): Tensor => creation.tensor(data, { device, ...(dtype ? { dtype } : {}) }) as Tensor;
  const zeros = (...shape: number[]): Tensor => creation.zeros(shape, { device }) as Tensor;
  const used = (): number => memory(device).allocations;

  describe(`scopes on "${device}"`, () => {
    it("tidy frees everything but what it returns", () =>
      expectNoLeaks(device, async () => {
        const before = used();
        const { a, list, map, view, number } = tidy(() => {
          const x = of([1, 2, 3]);
          exp(x);
          return { a: square(x), list: [square(x), [exp(x)]] as const, map: new Map([["x", x]]), view: views.slice(x, [1]), number: 5 };
        });
        expect(number).toBe(5);
        expect(used() - before).toBe(4);
        expect(await view.toArray()).toEqual([2, 3]);
        dispose([a, list, map, view]);
        expect(() => map.get("x")!.buffer).toThrow(DisposedError);
      }));

    it("nest: inner results belong to the outer scope", () =>
      expectNoLeaks(device, async () => {
        let inner: Tensor | undefined;
        const result = tidy(() => {
          inner = tidy(() => square(of([2])));
          expect(inner.disposed).toBe(false);
          return tidy(() => binary.add(inner!, 1));
        });
        expect(inner!.disposed).toBe(true);
        expect(await result.toArray()).toEqual([5]);
        result.dispose();
      }));

    it("using scope() frees at the end of the block, keep() hands out", () =>
      expectNoLeaks(device, async () => {
        let kept: Tensor;
        let freed: Tensor;
        {
          using step = scope();
          freed = of([1]);
          kept = step.keep(exp(freed));
        }
        expect(freed.disposed).toBe(true);
        expect(kept.disposed).toBe(false);
        // To the scope around, not to nobody.
        {
          using _ = scope();
          {
            using inner = scope();
            freed = inner.keep(of([1]));
          }
          expect(freed.disposed).toBe(false);
        }
        expect(freed.disposed).toBe(true);
        kept.dispose();
      }));

    it("keep() takes tensors out of all scopes", () =>
      expectNoLeaks(device, () => {
        const made: Tensor[] = [];
        tidy(() => tidy(() => made.push(...keep([of([1]), of([2])]))));
        expect(made.map((tensor) => tensor.disposed)).toEqual([false, false]);
        dispose({ made });
        expect(made.map((tensor) => tensor.disposed)).toEqual([true, true]);
      }));

    it("conversions that have nothing to do give handles of their own", () =>
      expectNoLeaks(device, async () => {
        const x = of([1, 2]);
        for (const convert of [() => x.cast("float32"), () => x.contiguous(), () => x.reshape([2])]) {
          using same = convert();
          expect(same).not.toBe(x);
        }
        {
          using same = await x.to(device);
          expect(same).not.toBe(x);
        }
        expect(await x.toArray()).toEqual([1, 2]);
        const gradient = grad((input: Tensor) => input.cast("float32").contiguous().multiply(3).sum())(x);
        expect(await gradient.toArray()).toEqual([3, 3]);
        dispose([x, gradient]);
      }));

    it("drop the handles of what was freed inside", () =>
      expectNoLeaks(device, () => {
        using open = scope();
        const x = of([1]);
        for (let i = 0; i < 5000; i++) square(x).dispose();
        expect(open.trackedCount).toBeLessThan(1100);
        const kept = Array.from({ length: 3000 }, () => square(x));
        expect(kept.every((tensor) => !tensor.disposed)).toBe(true);
      }));

    it("see into objects without a prototype", () =>
      expectNoLeaks(device, () => {
        const { x } = tidy(() => Object.assign(Object.create(null) as object, { x: of([1]) }));
        expect(x.disposed).toBe(false);
        x.dispose();
      }));

    it("tensors from outside stay alive, also when they are returned", () =>
      expectNoLeaks(device, () => {
        const outside = of([1]);
        expect(tidy(() => outside)).toBe(outside);
        tidy(() => void exp(outside));
        expect(outside.disposed).toBe(false);
        outside.dispose();
      }));

    it("free what an exception leaves behind", () =>
      expectNoLeaks(device, () => {
        expect(() =>
          tidy(() => {
            exp(of([1]));
            throw new Error("inside");
          }),
        ).toThrow("inside");
        expect(() => {
          using _ = scope();
          matmul(of([1, 2]), zeros(3, 2));
        }).toThrow(ShapeError);
      }));

    it("refuse promises, whose tensors would escape", () =>
      expectNoLeaks(device, async () => {
        expect(() => tidy(async () => exp(of([1])))).toThrow(TensorError);
        expect(() =>
          tidy(async () => {
            const x = of([1]);
            await Promise.resolve();
            return exp(x);
          }),
        ).toThrow("tidy: the function returned a promise");
        await new Promise((resolve) => setTimeout(resolve, 0));
      }));

    it("may end in any order", () =>
      expectNoLeaks(device, () => {
        const [first, second] = [scope(), scope()];
        const x = of([1]);
        first[Symbol.dispose]();
        expect(x.disposed).toBe(false);
        const y = of([1]);
        second[Symbol.dispose]();
        second[Symbol.dispose]();
        expect([x.disposed, y.disposed]).toEqual([true, true]);
      }));

    it("keep quantised tensors whole", () =>
      expectNoLeaks(device, () => {
        const weight = tidy(
          () =>
            new QuantizedTensor({
              format: "int8",
              shape: [2, 8],
              groupSize: 8,
              values: creation.zeros([2, 8], { dtype: "int8", device }),
              scales: creation.ones([2, 1], { device }),
            }),
        );
        expect(weight.values.disposed || weight.scales.disposed).toBe(false);
        weight.dispose();
      }));

    it("views keep memory alive, in any order of disposal", () =>
      expectNoLeaks(device, async () => {
        const before = used();
        const x = of([
          [1, 2],
          [3, 4],
        ]);
        const row = views.slice(x, 1);
        const column = views.transpose(x);
        x.dispose();
        expect(used() - before).toBe(1);
        expect(await row.toArray()).toEqual([3, 4]);
        row.dispose();
        row.dispose();
        expect(await column.toArray()).toEqual([
          [1, 3],
          [2, 4],
        ]);
        column[Symbol.dispose]();
        expect(used() - before).toBe(0);
      }));

    it("counts bytes and their peak", () =>
      expectNoLeaks(device, async () => {
        const before = memory(device);
        const x = zeros(1000);
        expect(memory(device).allocatedBytes - before.allocatedBytes).toBe(4000);
        expect(memory(device).peakBytes).toBeGreaterThanOrEqual(before.allocatedBytes + 4000);
        expect(memory(device).reservedBytes).toBeGreaterThanOrEqual(memory(device).allocatedBytes);
        x.dispose();
        expect(memory(device).allocatedBytes).toBe(before.allocatedBytes);
        await synchronize(device);
      }));
  });
}
