import ndarray from "ndarray";
import type { DeviceName, HostDeviceName } from "../backend/backend.ts";
import { DeviceError, DtypeError, IndexError, ShapeError } from "../errors.ts";
import { tensor, type TensorOptions } from "../ops/creation.ts";
import { itemSize, viewTypedArray, type Dtype, type TypedArray, type TypedArrayOf } from "../tensor/dtype.ts";
import { checkShape, formatShape, sizeOf } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Ndarray, NdarrayData, StridedData } from "./ndarray-types.ts";

/** Dtypes that ndarrays hold; float16 has no host numbers. */
export type NdarrayDtype = Exclude<Dtype, "float16">;

/**
 * A window on the tensor's memory as an ndarray: nothing is copied, strides and all, and what is written through it changes the tensor
 * (unseen by the tape, so not while
 * gradients are recorded). Valid until the tensor is freed: afterwards the memory belongs to other tensors. Where memory is shared (Node,
 * cross-origin-isolated pages) it stays valid when the heap grows; elsewhere a growing heap detaches it.
 *
 * Give the dtype for an exact type: `toNdarray(x, "float32").data` is a Float32Array.
 * @throws DtypeError when the tensor has another dtype, or float16; DeviceError when the host cannot see its memory; DisposedError
 */
export function toNdarray<Type extends NdarrayDtype = NdarrayDtype>(
  input: Tensor<HostDeviceName>,
  dtype?: Type,
): Ndarray<TypedArrayOf[Type]> {
  if (dtype !== undefined && input.dtype !== dtype)
    throw new DtypeError(`toNdarray: the tensor is ${input.dtype}, not ${dtype}; convert with cast()`);
  if (input.dtype === "float16") throw new DtypeError('toNdarray: ndarray has no float16; convert with cast(x, "float32")');
  const { backend } = input.storage;
  if (backend.hostView === undefined)
    throw new DeviceError(`toNdarray: the host cannot see the memory of device "${String(backend.name)}"; use fromNdarray and data()`);
  const bytes = backend.hostView(input.buffer, 0, input.buffer.byteLength);
  const window = viewTypedArray(input.dtype, bytes.buffer, bytes.byteOffset, Math.floor(bytes.byteLength / itemSize(input.dtype)));
  return ndarray(window, [...input.shape], [...input.strides], input.offset) as unknown as Ndarray<TypedArrayOf[Type]>;
}

/**
 * A tensor with the elements of an ndarray (or of anything with its `data`, `shape`, `stride` and `offset`), copied once, in row-major
 * order; any strides. Float64Array and
 * plain arrays become float32, 16-bit integers and Uint32Array int32, unless `options.dtype` says otherwise.
 * @throws ShapeError, IndexError for elements outside of the data, DtypeError for other data or unsigned numbers beyond int32
 */
export function fromNdarray<Device extends DeviceName = "cpu">(array: StridedData, options: TensorOptions<Device> = {}): Tensor<Device> {
  const shape = Array.from(array.shape);
  checkShape("fromNdarray", shape);
  const strides = Array.from(array.stride);
  checkBounds(array.data.length, shape, strides, array.offset);
  const values = hostArray(array.data, sizeOf(shape));
  const source = array.data;
  let position = 0;
  const copyAxis = (axis: number, from: number): void => {
    const length = shape[axis] ?? 1;
    const stride = strides[axis] ?? 0;
    if (axis < shape.length - 1) for (let i = 0; i < length; i++) copyAxis(axis + 1, from + i * stride);
    else for (let i = 0; i < length; i++) values[position++] = source[from + i * stride]!;
  };
  if (values.length > 0) copyAxis(0, array.offset);
  return tensor(values, shape, options);
}

/** Every element must lie in the data: the corners tell. */
function checkBounds(dataLength: number, shape: readonly number[], strides: readonly number[], offset: number): void {
  if (strides.length !== shape.length) throw new ShapeError(`fromNdarray: ${strides.length} strides for shape ${formatShape(shape)}`);
  for (const step of [offset, ...strides])
    if (!Number.isSafeInteger(step)) throw new IndexError(`fromNdarray: stride or offset ${String(step)} is no integer`);
  if (sizeOf(shape) === 0) return;
  let lowest = offset;
  let highest = offset;
  shape.forEach((length, axis) => {
    const reach = (length - 1) * strides[axis]!;
    if (reach < 0) lowest += reach;
    else highest += reach;
  });
  if (!(lowest >= 0 && highest < dataLength)) {
    throw new IndexError(
      `fromNdarray: elements ${lowest} to ${highest} are asked for, the data has ${dataLength}; shape ${formatShape(shape)} and strides ${formatShape(strides)} do not fit`,
    );
  }
}

/** Zeros of the type that `tensor` takes for this data. */
function hostArray(data: NdarrayData, length: number): TypedArray {
  if (data instanceof Float32Array || data instanceof Float64Array || Array.isArray(data)) return new Float32Array(length);
  if (data instanceof Int8Array) return new Int8Array(length);
  if (data instanceof Uint8Array || data instanceof Uint8ClampedArray) return new Uint8Array(length);
  if (data instanceof Int32Array || data instanceof Int16Array || data instanceof Uint16Array) return new Int32Array(length);
  if (data instanceof Uint32Array) {
    const large = data.findIndex((value) => value > 0x7fffffff);
    if (large >= 0)
      throw new DtypeError(
        `fromNdarray: element ${large} of the Uint32Array is ${data[large]}, which int32 does not hold; convert the data`,
      );
    return new Int32Array(length);
  }
  throw new DtypeError(
    `fromNdarray: data of type ${(data as object)?.constructor?.name ?? typeof data} is not supported; use a typed array of at most 32-bit integers, or floats`,
  );
}
