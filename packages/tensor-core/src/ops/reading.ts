import type { HostDeviceName, DeviceName } from "../backend/backend.ts";
import { DeviceError, ShapeError } from "../errors.ts";
import { itemSize, viewTypedArray, type Dtype, type TypedArray } from "../tensor/dtype.ts";
import { formatShape } from "../tensor/shape.ts";
import type { NestedArray, Tensor } from "../tensor/tensor.ts";
import { noGrad } from "../autograd/tape.ts";
import { release } from "./dispatch.ts";
import { prepare } from "./materialize.ts";

/** The tensor as it is read out: contiguous, of the wanted dtype, float16 as float32 unless asked for. */
function readable(input: Tensor, dtype: Dtype | undefined): Tensor {
  return noGrad(() => prepare(input, dtype ?? (input.dtype === "float16" ? "float32" : input.dtype)));
}

/** The elements in row-major order, copied to the host. See `Tensor.data`. */
export async function data(input: Tensor, dtype?: Dtype): Promise<TypedArray> {
  const source = readable(input, dtype);
  const size = itemSize(source.dtype);
  try {
    const bytes = await source.storage.backend.read(source.buffer, source.offset * size, source.size * size);
    return viewTypedArray(source.dtype, bytes.buffer, bytes.byteOffset, source.size);
  } finally {
    release(source, input);
  }
}

/**
 * As `data`, at once, on devices whose memory the host reads. @throws DeviceError on others (plain JavaScript callers; the type forbids it)
 */
export function dataSync(input: Tensor<HostDeviceName>, dtype?: Dtype): TypedArray {
  const { backend } = input.storage;
  if (backend.readSync === undefined) throw new DeviceError(`dataSync: device "${input.device}" can only be read with await data()`);
  const source = readable(input, dtype);
  const size = itemSize(source.dtype);
  const bytes = backend.readSync(source.buffer, source.offset * size, source.size * size);
  release(source, input);
  return viewTypedArray(source.dtype, bytes.buffer, bytes.byteOffset, source.size);
}

/** The only element. @throws ShapeError when there are more */
export async function item(input: Tensor): Promise<number> {
  if (input.size !== 1)
    throw new ShapeError(`item: shape ${formatShape(input.shape)} has ${input.size} elements; index or reduce it to one first`);
  return (await data(input))[0]!;
}

/** The elements as nested arrays. */
export async function toArray(input: Tensor<DeviceName>): Promise<NestedArray> {
  const flat = await data(input);
  let position = 0;
  const build = (axis: number): NestedArray => {
    if (axis === input.rank) return flat[position++]!;
    return Array.from({ length: input.shape[axis]! }, () => build(axis + 1));
  };
  return build(0);
}
