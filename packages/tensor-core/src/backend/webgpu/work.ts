/** What launches move at the least, for profiles. */
import { itemSize } from "../../tensor/dtype.ts";
import type { TensorView } from "../backend.ts";

/** Bytes of the different elements of views: what is repeated along a broadcast axis is read once. */
export function bytesOf(views: readonly TensorView[]): number {
  let bytes = 0;
  for (const { dtype, shape, strides } of views) {
    let size = itemSize(dtype);
    for (let axis = 0; axis < shape.length; axis++) if (strides[axis] !== 0) size *= shape[axis]!;
    bytes += size;
  }
  return bytes;
}
