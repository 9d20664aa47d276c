import { existsSync } from "node:fs";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { DeviceError, linear, matmul, memory, scope, setThreads, tensor, tidy, transpose, type Tensor } from "../../index.ts";
import type { KernelArguments } from "../backend.ts";
import { backendOf } from "../registry.ts";
import type { WasmBackend } from "../wasm/backend.ts";
import { openBlas } from "./blas-library.ts";
import { disableNativeBlas, enableNativeBlas } from "./index.ts";
import { createNativeMatmul } from "./native-matmul.ts";

const blas = await openBlas().catch((error: unknown) => {
  // .ci/run installs OpenBLAS where it may; elsewhere these tests are optional.
  if (process.env["CI"] && process.getuid?.() === 0 && existsSync("/usr/bin/apt-get")) throw error;
  console.warn(`SKIPPED: native BLAS tests, ${String(error)}`);
  return undefined;
});

function random(shape: readonly number[], seed: number): Tensor<"cpu"> {
  let state = seed;
  const size = shape.reduce((product, length) => product * length, 1);
  return tensor(
    Float32Array.from({ length: size }, () => (state = (Math.imul(state, 1664525) + 1013904223) | 0) / 2 ** 31),
    shape,
  );
}

/** Largest difference relative to the depth of the products, whose terms are below 1. */
function distance(a: Tensor<"cpu">, b: Tensor<"cpu">, depth: number): number {
  expect(a.shape).toEqual(b.shape);
  const expected = b.dataSync();
  return Math.max(0, ...Array.from(a.dataSync(), (value, i) => Math.abs(value - expected[i]!))) / depth;
}

/** The result with BLAS for everything it can do, beside the one without. */
async function both(run: () => Tensor<"cpu">): Promise<[native: Tensor<"cpu">, own: Tensor<"cpu">]> {
  disableNativeBlas();
  const own = run();
  await enableNativeBlas({ minimumWork: 1 });
  return [run(), own];
}

describe("enableNativeBlas without a library", () => {
  it("says what it tried and how to install one", async () => {
    const error = await enableNativeBlas({ library: "libno-such-blas.so" }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DeviceError);
    expect((error as Error).message).toMatch(/libno-such-blas\.so.*apt-get install libopenblas0-pthread.*library: path/);
  });
});

describe.skipIf(blas === undefined)("native BLAS", () => {
  const before = memory().allocations;
  afterEach(() => disableNativeBlas());

  it("multiplies as the kernels do: odd sizes, transposed and sliced matrices, batches and shared ones", async () => {
    const side = fc.integer({ min: 1, max: 70 });
    const layout = fc.record({ transposed: fc.boolean(), margin: fc.nat(3) });
    await fc.assert(
      fc.asyncProperty(
        side,
        side,
        side,
        layout,
        layout,
        fc.constantFrom([], [3], [2, 2]),
        fc.boolean(),
        fc.nat(1e6),
        async (m, n, k, first, second, batch, shared, seed) => {
          using _ = scope();
          const make = (
            rows: number,
            columns: number,
            { transposed, margin }: typeof first,
            outer: readonly number[],
            from: number,
          ): Tensor<"cpu"> => {
            const full = transposed ? random([...outer, columns + margin, rows], from) : random([...outer, rows, columns + margin], from);
            const cut =
              margin > 0
                ? full.slice(...outer.map(() => null), ...(transposed ? [[0, columns] as const] : [null, [0, columns] as const]))
                : full;
            return transposed ? transpose(cut, -1, -2) : cut;
          };
          const a = make(m, k, first, batch, seed);
          const b = make(k, n, second, shared ? [] : batch, seed + 1);
          const [native, own] = await both(() => matmul(a, b));
          expect(distance(native, own, k)).toBeLessThan(1e-6);
        },
      ),
      { numRuns: 60 },
    );
    expect.assertions(120);
  });

  it("applies bias and activation, and adds to what is there", async () => {
    using _ = scope();
    for (const activation of [undefined, "relu", "silu", "gelu", "geluTanh"] as const) {
      for (const bias of [undefined, random([33], 3)]) {
        const [x, weight] = [random([4, 20, 48], 1), random([33, 48], 2)];
        const [native, own] = await both(() => linear(x, weight, { ...(bias && { bias }), ...(activation && { activation }) }));
        expect(distance(native, own, 48)).toBeLessThan(1e-6);
      }
    }
    await enableNativeBlas({ minimumWork: 1 });
    const output = random([16, 24], 5);
    const expected = matmul(random([16, 32], 6), random([32, 24], 7)).add(output);
    backendOf("cpu").kernels.matmul({ a: random([16, 32], 6), b: random([32, 24], 7), output, accumulate: true });
    expect(distance(output, expected as Tensor<"cpu">, 32)).toBeLessThan(1e-6);
  });

  it("is asked for large products alone, and in the terms of cblas", () => {
    tidy(() => {
      const calls: (readonly unknown[])[] = [];
      const passed: KernelArguments["matmul"][] = [];
      const spy = { name: "spy", sgemm: (...call: readonly unknown[]) => void calls.push(call) };
      const kernel = createNativeMatmul(spy, 64 ** 3, backendOf("cpu") as WasmBackend, (parameters) => void passed.push(parameters));
      const [large, output] = [random([64, 64], 1), random([64, 64], 2)];
      kernel({ a: large, b: transpose(large, 0, 1), output });
      expect(calls.map((call) => call.slice(0, 5))).toEqual([[false, true, 64, 64, 64]]);
      kernel({ a: random([63, 64], 1), b: large, output: random([63, 64], 2) });
      kernel({ a: large, b: large.cast("float16"), output });
      kernel({ a: random([1, 64], 1).broadcastTo([64, 64]), b: large, output });
      kernel({ a: random([4, 65536], 1), b: random([65536, 4], 2), output: random([4, 4], 3) });
      expect([calls.length, passed.length]).toEqual([1, 4]);
    });
  });

  it("works with any number of threads and on memory that has grown", async () => {
    const [a, b] = [random([200, 150], 1), random([150, 170], 2)];
    const [native, own] = await both(() => matmul(a, b));
    const growth = new Float32Array(memory().reservedBytes / 4);
    tensor(growth).dispose();
    for (const threads of [1, 3, 2]) {
      setThreads(threads);
      const again = matmul(a, b);
      expect(distance(again, own, 150)).toBeLessThan(1e-6);
      again.dispose();
    }
    [a, b, native, own].forEach((each) => each.dispose());
  });

  it("leaves nothing in memory", () => {
    expect(memory().allocations).toBe(before);
  });
});
