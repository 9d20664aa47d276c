import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { laneBackend } from "../../testing/webgpu-backend.ts";
import { contiguousStrides, sizeOf } from "../../tensor/shape.ts";
import { itemSize, type Dtype } from "../../tensor/dtype.ts";
import type { TensorView } from "../backend.ts";
import type { WebGpuBackend } from "./backend.ts";

describe("chains of element-wise operations", () => {
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend();
  });
  afterAll(() => backend.destroy());

  function empty(shape: readonly number[], dtype: Dtype = "float32"): TensorView {
    return { buffer: backend.allocate(sizeOf(shape) * itemSize(dtype)), dtype, shape, strides: contiguousStrides(shape), offset: 0 };
  }

  function filled(shape: readonly number[], value: (i: number) => number): TensorView {
    const view = empty(shape);
    backend.write(view.buffer, 0, new Uint8Array(Float32Array.from({ length: sizeOf(shape) }, (_, i) => value(i)).buffer));
    return view;
  }

  async function values(view: TensorView): Promise<number[]> {
    const bytes = await backend.read(view.buffer, 0, view.buffer.byteLength);
    return view.dtype === "bool" ? [...bytes] : [...new Float32Array(bytes.buffer)];
  }

  const launches = (): number => backend.runtime.queue.statistics.launches;

  it.each([[7], [3, 5], [4096], [70, 61], [1, 5001]])("compute in one launch what single operations compute, %s %s", async (...shape) => {
    const x = filled(shape, (i) => (i % 19) - 9);
    const y = filled([shape.at(-1)!], (i) => 1 + (i % 3));
    const broadcast = { ...y, shape, strides: shape.map((_, axis) => (axis === shape.length - 1 ? 1 : 0)) };
    const [sum, square, positive, result] = [empty(shape), empty(shape), empty(shape, "bool"), empty(shape)];
    const before = launches();
    backend.kernels.binary({ operation: "add", a: x, b: broadcast, output: sum });
    backend.kernels.unary({ operation: "square", input: sum, output: square });
    backend.kernels.compare({ operation: "greater", a: x, b: broadcast, output: positive });
    backend.kernels.where({ condition: positive, a: square, b: x, output: result });
    const [sums, tests, results] = await Promise.all([values(sum), values(positive), values(result)]);
    expect(launches() - before).toBe(1);
    const last = shape.at(-1)!;
    const at = (i: number): [number, number] => [(i % 19) - 9, 1 + ((i % last) % 3)];
    for (let i = 0; i < sizeOf(shape); i++) {
      const [a, b] = at(i);
      expect([sums[i], tests[i], results[i]]).toEqual([a + b, a > b ? 1 : 0, a > b ? (a + b) ** 2 : a]);
    }
  });

  it("do not store what was freed, and count it as freed at once", async () => {
    const x = filled([10], (i) => i);
    const before = backend.memory();
    const [hidden, result] = [empty([10]), empty([10])];
    backend.kernels.binaryScalar({ operation: "multiply", a: x, scalar: 3, reversed: false, output: hidden });
    backend.kernels.binaryScalar({ operation: "subtract", a: hidden, scalar: 1, reversed: true, output: result });
    backend.free(hidden.buffer);
    expect(backend.memory().allocations - before.allocations).toBe(1);
    const { label } = lastPipeline(await values(result));
    expect(label).not.toContain("output0");

    function lastPipeline(computed: readonly number[]): { readonly label: string } {
      expect(computed).toEqual(Array.from({ length: 10 }, (_, i) => 1 - 3 * i));
      return backend.runtime.pipelines.records().at(-1)!;
    }
  });

  it("keep the memory of freed inputs until they have run", async () => {
    const x = filled([300], (i) => i);
    const doubled = empty([300]);
    backend.kernels.binaryScalar({ operation: "multiply", a: x, scalar: 2, reversed: false, output: doubled });
    backend.free(x.buffer);
    // The same size class: this would overwrite x, were its memory handed out again.
    const other = filled([300], () => -1);
    expect(await values(doubled)).toEqual(Array.from({ length: 300 }, (_, i) => 2 * i));
    expect((await values(other))[299]).toBe(-1);
  });

  it("end where an operation reads a pending result at other places", async () => {
    const x = filled([2, 3], (i) => i);
    const [doubled, result] = [empty([2, 3]), empty([2, 3])];
    backend.kernels.binaryScalar({ operation: "multiply", a: x, scalar: 2, reversed: false, output: doubled });
    const flipped = { ...doubled, strides: [-3, -1], offset: 5 };
    backend.kernels.binary({ operation: "add", a: x, b: flipped, output: result });
    expect(await values(result)).toEqual([10, 9, 8, 7, 6, 5]);
  });

  it("end where an operation writes what another reads at other places", async () => {
    const x = filled([4], (i) => i);
    const reversed = empty([4]);
    backend.kernels.unary({ operation: "negative", input: { ...x, strides: [-1], offset: 3 }, output: reversed });
    backend.kernels.addScaled({ output: x, input: x, scale: 10 });
    expect(await values(reversed)).toEqual([-3, -2, -1, -0]);
    expect(await values(x)).toEqual([0, 11, 22, 33]);
  });

  it("accumulate in place, many times in one launch", async () => {
    const total = filled([5000], () => 1);
    const x = filled([5000], (i) => i % 7);
    const before = launches();
    for (let i = 0; i < 10; i++) backend.kernels.addScaled({ output: total, input: x, scale: 2 });
    const sums = await values(total);
    expect(launches() - before).toBe(1);
    expect(sums).toEqual(Array.from({ length: 5000 }, (_, i) => 1 + 20 * (i % 7)));
  });

  it("leave alone what lies around a slice", async () => {
    const around = filled([12], () => 5);
    const flags = { ...empty([12], "bool") };
    backend.kernels.fill({ output: flags, value: 1 });
    const slice = { ...around, shape: [5], strides: [1], offset: 3 };
    backend.kernels.compare({ operation: "greater", a: slice, b: slice, output: { ...flags, shape: [5], strides: [1], offset: 3 } });
    backend.kernels.binaryScalar({ operation: "add", a: slice, scalar: 1, reversed: false, output: slice });
    expect(await values(around)).toEqual([5, 5, 5, 6, 6, 6, 6, 6, 5, 5, 5, 5]);
    expect(await values(flags)).toEqual([1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
  });

  it("split where arrays or numbers run out", async () => {
    const sources = Array.from({ length: 12 }, (_, k) => filled([6], (i) => i + k));
    let sum = sources[0]!;
    for (const source of sources.slice(1)) {
      const next = empty([6]);
      backend.kernels.binary({ operation: "add", a: sum, b: source, output: next });
      sum = next;
    }
    for (let i = 0; i < 60; i++) {
      const next = empty([6]);
      backend.kernels.binaryScalar({ operation: "add", a: sum, scalar: i, reversed: false, output: next });
      sum = next;
    }
    expect(await values(sum)).toEqual(Array.from({ length: 6 }, (_, i) => 12 * i + 66 + 1770));
  });
});
