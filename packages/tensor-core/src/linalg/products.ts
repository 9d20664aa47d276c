/** float32 matrix products of host arrays through `matmul`, and what keeps them fast. */
import { matmul } from "../ops/matmul.ts";
import { tensor } from "../ops/creation.ts";
import { noGrad } from "../autograd/tape.ts";
import { transpose } from "../ops/views.ts";
import { tidy } from "../tensor/scope.ts";
import { dataSync } from "../ops/reading.ts";
import type { HostDeviceName } from "../backend/backend.ts";

/** Where products are computed. */
export type ProductDevice = HostDeviceName;

/** Products of two entries this large are normal float32 numbers; processors take a hundred times as long over subnormal ones. */
const smallest = 2e-19;

/** The float32 nearest to an entry of a vector of length about 1, or 0 where it is far below the vector's rounding. */
export function normalOrZero(value: number): number {
  return value < smallest && value > -smallest ? 0 : value;
}

/** `a · b`, row-major; with `transposed`, `aᵀ · b`. */
export function multiplyHost(
  a: Float32Array,
  aShape: readonly [number, number],
  b: Float32Array,
  bShape: readonly [number, number],
  device: ProductDevice,
  transposed = false,
): Float32Array {
  return noGrad(() =>
    tidy(() => {
      const left = tensor(a, aShape, { device });
      return dataSync(matmul(transposed ? transpose(left) : left, tensor(b, bShape, { device })), "float32") as Float32Array;
    }),
  );
}
