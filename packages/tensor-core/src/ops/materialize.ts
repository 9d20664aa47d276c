import type { Backend, DeviceName } from "../backend/backend.ts";
import { backendOf } from "../backend/registry.ts";
import { noGrad, record, recording } from "../autograd/tape.ts";
import { isFloating, itemSize, type Dtype } from "../tensor/dtype.ts";
import type { Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { allocate, allocateLike, release } from "./dispatch.ts";

/** A tensor of one value with the shape, dtype and device of something else. */
export function fillLike(like: { readonly shape: Shape; readonly dtype: Dtype; readonly backend: Backend }, value: number): Tensor {
  const output = allocate(like.backend, like.dtype, like.shape);
  like.backend.kernels.fill({ output, value });
  return output;
}

/** The input itself when its elements lie row-major without gaps, else a copy that does. */
export function contiguous<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return input.isContiguous ? input : clone(input);
}

/** What kernels of contiguous fields take: the input itself when it is contiguous and of `dtype`, else one copy; `release` it afterwards. */
export function prepare<Device extends DeviceName>(input: Tensor<Device>, dtype: Dtype = "float32"): Tensor<Device> {
  return contiguous(cast(input, dtype));
}

/** A contiguous copy. */
export function clone<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  const output = allocateLike(input);
  input.storage.backend.kernels.copy({ input, output });
  if (recording.tape !== undefined) record("clone", [input], output, [], ([gradient]) => [gradient]);
  return output;
}

/** Converts to another dtype (the input itself when it has it already). Float to integer truncates and saturates; to bool: not zero. */
export function cast<Device extends DeviceName>(input: Tensor<Device>, dtype: Dtype): Tensor<Device> {
  if (input.dtype === dtype) return input;
  const output = allocateLike(input, input.shape, dtype);
  input.storage.backend.kernels.copy({ input, output });
  if (recording.tape !== undefined && isFloating(dtype) && isFloating(input.dtype)) {
    const source = input.dtype;
    record("cast", [input], output, [], ([gradient]) => [cast(gradient!, source)]);
  }
  return output;
}

/**
 * The tensor on another device (itself when it is there already). Moving from "webgpu" has to wait for it, so this is asynchronous; gradients do not cross devices.
 */
export async function to<Target extends DeviceName>(input: Tensor, device: Target): Promise<Tensor<Target>> {
  if (input.device === device) return input as unknown as Tensor<Target>;
  const target = backendOf(device);
  const source = noGrad(() => contiguous(input));
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
