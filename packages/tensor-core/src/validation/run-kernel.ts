import type { Backend, DeviceBuffer, KernelArguments, KernelName } from "../backend/backend.ts";
import { elementOffset, forEachIndex } from "../backend/reference/access.ts";
import { createReferenceBackend } from "../backend/reference/index.ts";
import { float16BitsToFloat32, float32ToFloat16Bits, itemSize, makeTypedArray, viewTypedArray } from "../tensor/dtype.ts";
import { isQuantizedSpec, isTensorSpec } from "./tensor-spec.ts";
import type { KernelSpec, TensorSpec } from "./tensor-spec.ts";
import type { Filler } from "./values.ts";

/** Contents of every buffer after a kernel has run, by path: "output", or "b.scales" inside a quantized matrix. */
export type BufferContents = ReadonlyMap<string, { readonly spec: TensorSpec; readonly values: readonly number[] }>;

/** Lays a case out in a backend's memory, runs the kernel, reads all buffers back and frees them. */
export async function runKernel<Name extends KernelName>(backend: Backend, name: Name, spec: KernelSpec<Name>): Promise<BufferContents> {
  const buffers = new Map<string, { spec: TensorSpec; buffer: DeviceBuffer }>();
  try {
    const parameters = layOut(backend, spec, "", buffers) as KernelArguments[Name];
    backend.kernels[name](parameters);
    const contents = new Map<string, { spec: TensorSpec; values: readonly number[] }>();
    for (const [path, { spec: tensor, buffer }] of buffers) {
      contents.set(path, { spec: tensor, values: decode(tensor, await backend.read(buffer, 0, buffer.byteLength)) });
    }
    return contents;
  } finally {
    for (const { buffer } of buffers.values()) backend.free(buffer);
  }
}

/** Arguments of a kernel in a backend's memory. */
export interface CaseInMemory<Name extends KernelName> {
  readonly parameters: KernelArguments[Name];
  free(): void;
}

/** Lays a case out in a backend's memory, to run it several times. */
export function layOutCase<Name extends KernelName>(backend: Backend, spec: KernelSpec<Name>): CaseInMemory<Name> {
  const buffers = new Map<string, { spec: TensorSpec; buffer: DeviceBuffer }>();
  const parameters = layOut(backend, spec, "", buffers) as KernelArguments[Name];
  return {
    parameters,
    free() {
      for (const { buffer } of buffers.values()) backend.free(buffer);
    },
  };
}

const reference = createReferenceBackend();

/** Results of a forward kernel on the reference, for the arguments of its gradient: one array of row-major values per output. */
export function referenceOutputs<Name extends KernelName>(name: Name, spec: KernelSpec<Name>): Record<string, number[]> {
  const buffers = new Map<string, { spec: TensorSpec; buffer: DeviceBuffer }>();
  reference.kernels[name](layOut(reference, spec, "", buffers) as KernelArguments[Name]);
  const results: Record<string, number[]> = {};
  for (const [path, { spec: tensor, buffer }] of buffers) {
    const values = decode(tensor, reference.readSync!(buffer, 0, buffer.byteLength));
    const ordered: number[] = [];
    forEachIndex(tensor.shape, (index) => ordered.push(values[elementOffset(index, tensor.strides, tensor.offset)]!));
    results[path] = ordered;
    reference.free(buffer);
  }
  return results;
}

/** As `referenceOutputs`, computed when an element is first asked for. */
export function referenceResults<Name extends KernelName>(name: Name, spec: KernelSpec<Name>): (path: string) => Filler {
  let results: Record<string, number[]> | undefined;
  return (path) => (position) => (results ??= referenceOutputs(name, spec))[path]![position]!;
}

/** Values of a buffer as they are after a round trip through the dtype. */
export function storedValues(spec: TensorSpec): readonly number[] {
  return decode(spec, encode(spec));
}

function layOut(backend: Backend, spec: object, path: string, buffers: Map<string, { spec: TensorSpec; buffer: DeviceBuffer }>): object {
  const result: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(spec)) {
    if (isTensorSpec(value)) {
      const bytes = encode(value);
      const buffer = backend.allocate(bytes.byteLength);
      backend.write(buffer, 0, bytes);
      buffers.set(path + field, { spec: value, buffer });
      result[field] = { buffer, dtype: value.dtype, shape: value.shape, strides: value.strides, offset: value.offset };
    } else {
      result[field] = isQuantizedSpec(value) ? layOut(backend, value, `${path}${field}.`, buffers) : value;
    }
  }
  return result;
}

function encode({ dtype, storage }: TensorSpec): Uint8Array {
  const array = makeTypedArray(dtype, storage.length);
  array.set(dtype === "float16" ? storage.map((value) => float32ToFloat16Bits(value)) : storage);
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function decode({ dtype }: TensorSpec, bytes: Uint8Array): readonly number[] {
  const own = bytes.slice();
  const array = viewTypedArray(dtype, own.buffer, 0, own.byteLength / itemSize(dtype));
  return Array.from(array, dtype === "float16" ? float16BitsToFloat32 : Number);
}
