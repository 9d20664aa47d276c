/** Runs a kernel on the WebAssembly device and on the reference device with the same arguments. Tests only. */
import type { KernelArguments, KernelName, Kernels, TensorView } from "../backend.ts";
import { createReferenceBackend } from "../reference/index.ts";
import { elementCount } from "../reference/access.ts";
import type { WasmRuntimeInstance } from "./runtime-instance.ts";
import { contiguousStrides } from "../../tensor/shape.ts";

/**
 * A tensor argument: its storage, in order of addresses, and the window on it. Storage that starts as `untouched` shows what a kernel
 * wrote.
 */
export interface Argument {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
  readonly storage: Float32Array | Int32Array;
}

/** What output storage holds before a kernel runs. */
export const untouched = -777;

/** Deterministic numbers, roughly normal, of standard deviation `deviation`. */
export function noise(count: number, seed: number, deviation = 1): Float32Array {
  let state = (Math.imul(seed + 1, 2654435761) + 12345) >>> 0;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  return Float32Array.from({ length: count }, () => (next() + next() + next() + next()) * 1.732 * deviation);
}

/** An input of random numbers, contiguous at an odd offset unless strides are given (in elements; the storage is as long as they need). */
export function randomTensor(
  shape: readonly number[],
  seed: number,
  options: { strides?: readonly number[]; deviation?: number } = {},
): Argument {
  const strides = options.strides ?? contiguousStrides(shape);
  const reach = shape.reduce((sum, size, axis) => sum + Math.max(0, size - 1) * strides[axis]!, 0);
  return { shape, strides, offset: 1, storage: noise(reach + 2, seed, options.deviation ?? 1) };
}

/** An input with given values, contiguous. */
export function valuesTensor(shape: readonly number[], values: ArrayLike<number>, dtype: "float32" | "int32" = "float32"): Argument {
  const storage = dtype === "int32" ? new Int32Array(values.length + 1) : new Float32Array(values.length + 1);
  storage.set(Array.from(values), 1);
  return { shape, strides: contiguousStrides(shape), offset: 1, storage };
}

/** An output. */
export function outputTensor(shape: readonly number[], strides: readonly number[] = contiguousStrides(shape)): Argument {
  const reach = shape.reduce((sum, size, axis) => sum + Math.max(0, size - 1) * strides[axis]!, 0);
  return { shape, strides, offset: 1, storage: new Float32Array(elementCount(shape) === 0 ? 2 : reach + 3).fill(untouched) };
}

/** The arguments of a kernel with `Argument` in place of `TensorView`. */
export type Arguments<Name extends KernelName> = {
  [Field in keyof KernelArguments[Name]]: TensorView extends KernelArguments[Name][Field]
    ? Argument | (undefined extends KernelArguments[Name][Field] ? undefined : never)
    : KernelArguments[Name][Field];
};

function isArgument(value: unknown): value is Argument {
  return typeof value === "object" && value !== null && "storage" in value;
}

/** The storage of every tensor argument after the kernel has run. */
export type Storages<Name extends KernelName> = { readonly [Field in keyof KernelArguments[Name]]: Float32Array };

/** Runs a kernel on the WebAssembly device. */
export function runOnWasm<Name extends KernelName>(
  runtime: WasmRuntimeInstance,
  kernels: Pick<Kernels, Name>,
  name: Name,
  parameters: Arguments<Name>,
): Storages<Name> {
  const { heap } = runtime;
  const entries = Object.entries(parameters).map(([field, value]) => {
    if (!isArgument(value)) return { field, value };
    const buffer = heap.allocate(value.storage.byteLength);
    const words = value.storage instanceof Int32Array ? heap.int32 : heap.float32;
    words.set(value.storage, buffer.pointer / 4);
    const dtype = value.storage instanceof Int32Array ? "int32" : "float32";
    return { field, buffer, value: { buffer, dtype, shape: value.shape, strides: value.strides, offset: value.offset } };
  });
  kernels[name](Object.fromEntries(entries.map(({ field, value }) => [field, value])) as unknown as KernelArguments[Name]);
  const storages = entries.flatMap(({ field, buffer }) =>
    buffer ? [[field, heap.float32.slice(buffer.pointer / 4, (buffer.pointer + buffer.byteLength) / 4)] as const] : [],
  );
  for (const { buffer } of entries) if (buffer) heap.free(buffer);
  return Object.fromEntries(storages) as Storages<Name>;
}

/** Runs a kernel on the reference device. */
export function runOnReference<Name extends KernelName>(name: Name, parameters: Arguments<Name>): Storages<Name> {
  const backend = createReferenceBackend();
  const entries = Object.entries(parameters).map(([field, value]) => {
    if (!isArgument(value)) return { field, value };
    const buffer = backend.allocate(value.storage.byteLength);
    backend.write(buffer, 0, new Uint8Array(value.storage.buffer, value.storage.byteOffset, value.storage.byteLength));
    const dtype = value.storage instanceof Int32Array ? "int32" : "float32";
    return { field, buffer, value: { buffer, dtype, shape: value.shape, strides: value.strides, offset: value.offset } };
  });
  backend.kernels[name](Object.fromEntries(entries.map(({ field, value }) => [field, value])) as unknown as KernelArguments[Name]);
  const storages = entries.flatMap(({ field, buffer }) =>
    buffer ? [[field, new Float32Array(backend.readSync!(buffer, 0, buffer.byteLength).buffer)] as const] : [],
  );
  return Object.fromEntries(storages) as Storages<Name>;
}

/** Largest |actual - expected| / (1 + |expected|); Infinity where one is NaN or infinite and the other is not the same. */
export function largestError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i]!;
    const b = expected[i]!;
    if (Object.is(a, b) || a === b) continue;
    const error = Math.abs(a - b) / (1 + Math.abs(b));
    if (!(error <= worst)) worst = Number.isNaN(error) ? Infinity : error;
  }
  return worst;
}
