/** `@frugal/tensor-core/interop`: tensors as ndarrays (optional peer dependency `ndarray`) and as nested typed arrays. */
export { fromNdarray, toNdarray, type NdarrayDtype } from "./ndarray.ts";
export type { DataName, Ndarray, NdarrayData, StridedData } from "./ndarray-types.ts";
export { fromNestedTypedArrays, toNestedTypedArrays, type NestedTypedArray } from "./nested.ts";
