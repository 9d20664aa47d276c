import type { Backend, DeviceName } from "../backend/backend.ts";
import { backendOf } from "../backend/registry.ts";
import { noGrad, record, recording } from "../autograd/tape.ts";
import { isFloating, itemSize, type Dtype } from "../tensor/dtype.ts";
import type { Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { allocate, allocateLike, release, shareView } from "./dispatch.ts";

/** A tensor of one value with the shape, dtype and device of something else. */
export function fillLike<Device extends DeviceName = DeviceName>(
  like: { readonly shape: Shape; readonly dtype: Dtype; readonly backend: Backend },
  value: number,
): Tensor<Device> {
  const output = allocate<Device>(like.backend, like.dtype, like.shape);
  like.backend.kernels.fill({ output, value });
  return output;
}

/** A second handle on the same memory, with the identity as its gradient. */
export function share<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  const output = shareView(input, input.shape, input.strides);
  if (recording.tape !== undefined) record("view", [input], output, [], ([gradient]) => [gradient]);
  return output;
}

/** For operations: the input itself when it is contiguous, else a copy that is; `release` it afterwards. */
export function asContiguous<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return input.isContiguous ? input : clone(input);
}

/** For operations: the input itself when it is of `dtype`, else a conversion; `release` it afterwards. */
export function asDtype<Device extends DeviceName>(input: Tensor<Device>, dtype: Dtype): Tensor<Device> {
  if (input.dtype === dtype) return input;
  const output = allocateLike(input, input.shape, dtype);
  input.storage.backend.kernels.copy({ input, output });
  if (recording.tape !== undefined && isFloating(dtype) && isFloating(input.dtype)) {
    const source = input.dtype;
    record("cast", [input], output, [], ([gradient]) => [asDtype(gradient!, source)]);
  }
  return output;
}

/**
 * What kernels of contiguous fields take: the input itself when it is contiguous and of `dtype`, else one copy; `release` it afterwards.
 */
export function prepare<Device extends DeviceName>(input: Tensor<Device>, dtype: Dtype = "float32"): Tensor<Device> {
  return asContiguous(asDtype(input, dtype));
}

/** The elements row-major without gaps: a copy, or a second handle on memory where they lie so already. */
export function contiguous<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return input.isContiguous ? share(input) : clone(input);
}

/** A contiguous copy. */
export function clone<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  const output = allocateLike(input);
  input.storage.backend.kernels.copy({ input, output });
  if (recording.tape !== undefined) record("clone", [input], output, [], ([gradient]) => [gradient]);
  return output;
}

/**
 * Converts to another dtype (a second handle on the same memory when it has it already). Float to integer truncates and saturates; to bool:
 * not zero. @throws DtypeError
 */
export function cast<Device extends DeviceName>(input: Tensor<Device>, dtype: Dtype): Tensor<Device> {
  itemSize(dtype); // names a dtype that is none
  return input.dtype === dtype ? share(input) : asDtype(input, dtype);
}

/**
 * The tensor on another device (a second handle on the same memory when it is there already). Moving from "webgpu" has to wait for it, so
 * this is asynchronous; gradients do not cross devices.
 */
export async function to<Target extends DeviceName>(input: Tensor, device: Target): Promise<Tensor<Target>> {
  if (input.device === device) return share(input) as Tensor<DeviceName> as Tensor<Target>;
  const target = backendOf(device);
  const source = noGrad(() => asContiguous(input));
  const size = itemSize(input.dtype);
  let bytes: Uint8Array;
  try {
    bytes = await source.storage.backend.read(source.buffer, source.offset * size, source.size * size);
  } finally {
    release(source, input);
  }
  const output = allocate<Target>(target, input.dtype, input.shape);
  target.write(output.buffer, 0, bytes);
  return output;
}
