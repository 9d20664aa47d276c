import type { Backend, DeviceName, TensorView } from "../backend/backend.ts";
import { DeviceError, DtypeError } from "../errors.ts";
import { itemSize, type Dtype } from "../tensor/dtype.ts";
import { broadcastStrides, contiguousStrides, sizeOf, type Shape } from "../tensor/shape.ts";
import { Storage } from "../tensor/storage.ts";
import { Tensor } from "../tensor/tensor.ts";

/** A new contiguous tensor of undefined content, for a kernel to fill. Shapes and strides are shared between tensors and never changed. */
export function allocate<Device extends DeviceName>(backend: Backend, dtype: Dtype, shape: Shape): Tensor<Device> {
  return new Tensor<Device>(new Storage(backend, sizeOf(shape) * itemSize(dtype)), dtype, shape, contiguousStrides(shape), 0);
}

/** As `allocate`, on the device of `like`. @throws DisposedError when that was freed, before anything is allocated */
export function allocateLike<Device extends DeviceName>(
  like: Tensor<Device>,
  shape: Shape = like.shape,
  dtype: Dtype = like.dtype,
): Tensor<Device> {
  const { backend } = like.storage;
  void like.buffer;
  if (shape !== like.shape || !like.isContiguous) return allocate<Device>(backend, dtype, shape);
  return new Tensor<Device>(new Storage(backend, like.size * itemSize(dtype)), dtype, shape, like.strides, 0);
}

/**
 * Frees `temporary`, a conversion or copy that stood in for `original`; does nothing when it is the original itself. Operations call it for
 * every operand they
 * prepared, so that nothing is left behind where no scope is open. What the backward pass needs, the tape holds by handles of its own.
 */
export function release(temporary: Tensor | undefined, original: Tensor | undefined): void {
  if (temporary !== original) temporary?.dispose();
}

/** A tensor that shares memory with `source`. */
export function shareView<Device extends DeviceName>(
  source: Tensor<Device>,
  shape: Shape,
  strides: readonly number[],
  offset: number = source.offset,
): Tensor<Device> {
  void source.buffer; // fails here, with a clear error, when source was freed
  return new Tensor<Device>(source.storage.retain(), source.dtype, shape, strides, offset);
}

/** What a kernel sees of `tensor` when it is broadcast to `shape`. */
export function broadcastView(tensor: Tensor, shape: Shape): TensorView {
  if (tensor.shape === shape) return tensor;
  return {
    buffer: tensor.buffer,
    dtype: tensor.dtype,
    shape,
    strides: broadcastStrides(tensor.shape, tensor.strides, shape),
    offset: tensor.offset,
  };
}

/** @throws DeviceError unless all tensors live on one device @throws TypeError for what is no tensor (plain JavaScript callers) */
export function checkDevices(operation: string, first: Tensor, ...others: readonly (Tensor | undefined)[]): void {
  checkTensor(operation, first);
  for (const other of others) {
    if (other !== undefined) checkTensor(operation, other);
    if (other !== undefined && other.storage.backend !== first.storage.backend) {
      throw new DeviceError(`${operation}: tensors are on devices "${first.device}" and "${other.device}"; move one with to()`);
    }
  }
}

function checkTensor(operation: string, value: unknown): void {
  if (!(value instanceof Tensor)) {
    throw new TypeError(`${operation}: expected a tensor, got ${Array.isArray(value) ? "an array" : typeof value}; make one with tensor()`);
  }
}

/** @throws DtypeError unless the tensor is of one of `dtypes` */
export function checkDtype(operation: string, tensor: Tensor, ...dtypes: readonly Dtype[]): void {
  if (!dtypes.includes(tensor.dtype)) {
    throw new DtypeError(`${operation}: dtype ${tensor.dtype} is not supported here, it takes ${dtypes.join(" or ")}; convert with cast()`);
  }
}

/** Notes that a kernel wrote into an existing tensor. */
export function markWritten(tensor: Tensor): void {
  tensor.storage.version++;
}
