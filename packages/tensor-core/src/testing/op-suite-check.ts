/** How the operation suite makes inputs, runs an operation outside every scope, compares the result and counts what is left in memory. */
import fc from "fast-check";
import { expect } from "vitest";
import type { DeviceName } from "../backend/backend.ts";
import { memory } from "../backend/inspection.ts";
import { tensor } from "../ops/creation.ts";
import { broadcastTo, permute, slice } from "../ops/views.ts";
import { float16BitsToFloat32, float32ToFloat16Bits, type Dtype } from "../tensor/dtype.ts";
import { tidy } from "../tensor/scope.ts";
import { scopeStack } from "../tensor/ownership.ts";
import { Tensor } from "../tensor/tensor.ts";
import { build, count, type HostArray } from "./op-suite-host.ts";
import { choices, integers, normals, uniforms, type Filler } from "../validation/values.ts";

/** How a view lies on its memory. */
export interface ViewLayout {
  /** Order of the axes in memory, by rank among random numbers. */
  readonly order: readonly number[];
  /** Elements skipped before each axis, and the step along it. */
  readonly before: number;
  readonly step: number;
  /** Bit i: axis i repeats one element (stride 0). */
  readonly repeated: number;
}

export const dense: ViewLayout = { order: [0, 1, 2, 3], before: 0, step: 1, repeated: 0 };

/** Dense layouts, transposes, slices with steps and expanded views. */
export const layouts: fc.Arbitrary<ViewLayout> = fc.oneof(
  { withCrossShrink: true },
  { arbitrary: fc.constant(dense), weight: 1 },
  {
    arbitrary: fc.record({
      order: fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }),
      before: fc.nat(2),
      step: fc.constantFrom(1, 1, 2, 3),
      repeated: fc.constantFrom(0, 0, 1, 2, 5, 15),
    }),
    weight: 3,
  },
);

const lengths: fc.Arbitrary<number> = fc.oneof(
  { arbitrary: fc.constantFrom(1, 2, 3, 4, 5, 7, 9, 17), weight: 14 },
  { arbitrary: fc.constant(0), weight: 1 },
);

/** Shapes with odd lengths, 1 and 0. */
export function shapes(minRank = 0, maxRank = 3, maxElements = 600): fc.Arbitrary<number[]> {
  return fc.array(lengths, { minLength: minRank, maxLength: maxRank }).filter((shape) => count(shape) <= maxElements);
}

/** Two or three shapes that broadcast together. */
export function broadcastable(number: number): fc.Arbitrary<number[][]> {
  return shapes().chain((shape) =>
    fc.tuple(
      ...Array.from({ length: number }, () =>
        fc
          .tuple(fc.nat(shape.length), fc.constantFrom(0, 0, 0, 1, 2, 7))
          .map(([dropped, ones]) => shape.map((length, axis) => ((ones >> axis) & 1 ? 1 : length)).slice(dropped % 2 ? dropped : 0)),
      ),
    ),
  );
}

export const allDtypes: readonly Dtype[] = ["float32", "float16", "int32", "uint8", "int8", "bool"];

/** Small numbers that the dtype holds exactly. */
export function fillerOf(dtype: Dtype, seed: number): Filler {
  if (dtype === "float32") {
    const value = normals(seed, 0, 1.5);
    return (position) => Math.fround(value(position));
  }
  if (dtype === "float16") {
    const value = normals(seed, 0, 1.5);
    return (position) => roundToFloat16(value(position));
  }
  return dtype === "bool" ? choices(seed, [0, 1]) : dtype === "uint8" ? integers(seed, 0, 9) : integers(seed, -9, 9);
}

/** float32 values in [low, high). */
export function between(low: number, high: number): (seed: number) => Filler {
  return (seed) => {
    const value = uniforms(seed, low, high);
    return (position) => Math.fround(value(position));
  };
}

export function roundToFloat16(value: number): number {
  return float16BitsToFloat32(float32ToFloat16Bits(value));
}

/** A tensor and what it holds. */
export interface Given<Device extends DeviceName = DeviceName> {
  readonly tensor: Tensor<Device>;
  readonly host: HostArray;
}

/** A tensor that shows `value(position)` through a view of the layout; memory around it holds other numbers. */
export function place<Device extends DeviceName>(
  device: Device,
  dtype: Dtype,
  shape: readonly number[],
  layout: ViewLayout,
  value: Filler,
): Given<Device> {
  const repeated = (axis: number): boolean => ((layout.repeated >> axis) & 1) === 1;
  const core = build(
    shape.map((length, axis) => (repeated(axis) ? 1 : length)),
    (_, position) => value(position),
  );
  const order = layout.order.filter((axis) => axis < shape.length);
  const outside = (length: number): number => layout.before + length * layout.step;
  const physical = order.map((axis) => outside(core.shape[axis]!));
  const data = new Array<number>(count(physical)).fill(dtype === "bool" || dtype === "uint8" ? 1 : -1);
  build(core.shape, (index, position) => {
    let place = 0;
    order.forEach((axis, i) => (place = place * physical[i]! + layout.before + index[axis]! * layout.step));
    return (data[place] = core.values[position]!);
  });
  const result = tidy(() => {
    const whole = tensor(data, physical, { dtype, device });
    const ordered = permute(
      whole,
      shape.map((_, axis) => order.indexOf(axis)),
    );
    const part = slice(ordered, ...core.shape.map((length) => [layout.before, layout.before + length * layout.step, layout.step] as const));
    return broadcastTo(part, shape);
  });
  const broadcast = build(shape, (index) => {
    let position = 0;
    core.shape.forEach((length, axis) => (position = position * length + (repeated(axis) ? 0 : index[axis]!)));
    return core.values[position]!;
  });
  return { tensor: result, host: broadcast };
}

/** One run of an operation and what it should give. */
export interface OperationCase {
  run(): Tensor | readonly Tensor[];
  readonly expected: HostArray | readonly HostArray[];
  /** Of every output. Default float32. */
  readonly dtype?: Dtype | readonly Dtype[];
  /** Multiplies the device's tolerance; 0 asks for equality. */
  readonly tolerance?: number;
}

/** Makes inputs that the check frees. */
export type MakeInput<Device extends DeviceName> = (
  dtype: Dtype,
  shape: readonly number[],
  options?: { readonly layout?: ViewLayout; readonly value?: Filler; readonly seed?: number },
) => Given<Device>;

/** What the values of a device may differ by, relative to 1 + |expected|. */
export function toleranceOf(device: DeviceName): number {
  return device === "reference" ? 1e-6 : 2e-5;
}

/** Reads a tensor as a host array. */
export async function read(source: Tensor): Promise<HostArray> {
  return { shape: source.shape, values: Array.from(await source.data()) };
}

export function expectClose(actual: HostArray, expected: HostArray, tolerance: number, label = "output"): void {
  expect(actual.shape, `${label}: shape`).toEqual(expected.shape);
  const wrong = expected.values.findIndex((value, i) => !isClose(actual.values[i]!, value, tolerance));
  if (wrong >= 0) {
    const [found, wanted] = [actual.values[wrong], expected.values[wrong]];
    expect.fail(`${label} ${JSON.stringify(expected.shape)}: element ${wrong} is ${found}, expected ${wanted} (tolerance ${tolerance})`);
  }
  expect(actual.values.length, `${label}: size`).toBe(expected.values.length);
}

function isClose(actual: number, expected: number, tolerance: number): boolean {
  if (Number.isNaN(expected)) return Number.isNaN(actual);
  if (actual === expected) return true;
  return Math.abs(actual - expected) <= tolerance * (1 + Math.abs(expected));
}

/** Runs `work` and expects as many allocations after it as before. */
export async function expectNoLeaks<Result>(device: DeviceName, work: () => Result | Promise<Result>): Promise<Result> {
  const before = memory(device).allocations;
  const result = await work();
  expect(scopeStack.length, "open scopes").toBe(0);
  expect(memory(device).allocations - before, "tensors left in memory").toBe(0);
  return result;
}

/** One operation on inputs of its own, outside every scope: right values, right dtype, and nothing left behind but the outputs. */
export function checkOperation<Device extends DeviceName>(
  device: Device,
  make: (input: MakeInput<Device>) => OperationCase,
): Promise<void> {
  return expectNoLeaks(device, async () => {
    const owned: Tensor[] = [];
    let seeds = 1;
    const {
      run,
      expected,
      dtype = "float32",
      tolerance = 1,
    } = make((inputDtype, shape, { layout = dense, seed = seeds++, value = fillerOf(inputDtype, seed) } = {}) => {
      const given = place(device, inputDtype, shape, layout, value);
      owned.push(given.tensor as unknown as Tensor);
      return given;
    });
    try {
      const result = run();
      const outputs = result instanceof Tensor ? [result] : result;
      owned.push(...outputs);
      const wanted = "shape" in expected ? [expected] : expected;
      expect(outputs.length, "outputs").toBe(wanted.length);
      for (const [i, output] of outputs.entries()) {
        expect(output.device).toBe(device);
        expect(output.dtype, "dtype").toBe(typeof dtype === "string" ? dtype : dtype[i]);
        const slack = output.dtype === "float16" ? 1.5e-3 : toleranceOf(device);
        expectClose(await read(output), wanted[i]!, slack * tolerance, `output ${i}`);
      }
    } finally {
      for (const made of owned) made.dispose();
    }
  });
}

/** `checkOperation` for drawn cases. */
export function checkProperty<Drawn, Device extends DeviceName>(
  device: Device,
  drawn: fc.Arbitrary<Drawn>,
  make: (input: MakeInput<Device>, drawn: Drawn) => OperationCase,
  runs = 25,
): Promise<void> {
  return fc.assert(
    fc.asyncProperty(drawn, (values) => checkOperation(device, (input) => make(input, values))),
    { numRuns: runs, seed: 20 },
  );
}
