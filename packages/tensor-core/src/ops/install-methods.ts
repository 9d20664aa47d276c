/** Makes the operations methods of `Tensor`. Imported once, by the package's entry. */
import { negative, absolute, sign, exp, expm1, log, log1p, sqrt, rsqrt, reciprocal, square, sin, cos, tan, tanh, erf, sigmoid, relu, silu, gelu, geluTanh, softplus, floor, ceil, round, trunc, isNaN, isFinite, logicalNot } from "./unary.ts";
import { add, subtract, multiply, divide, power, maximum, minimum, remainder, atan2, clamp } from "./binary.ts";
import { equal, notEqual, less, lessEqual, greater, greaterEqual, logicalAnd, logicalOr, logicalXor } from "./compare.ts";
import { sum, mean, product, max, min, any, all, norm, logSumExp, variance, standardDeviation, argmax, argmin, cumprod, cumsum } from "./reduce.ts";
import { sort, argsort, scatterAdd, topK, take, takeAlongAxis, flip } from "./indexing.ts";
import { pad, repeat, tile, unstack } from "./join.ts";
import { dot, matmul, outer } from "./matmul.ts";
import { tril, triu } from "./triangle.ts";
import { softmax, logSoftmax } from "./normalization.ts";
import { contiguous, clone, cast, to } from "./materialize.ts";
import { reshape, flatten, permute, transpose, expandDims, squeeze, broadcastTo, slice, split, diagonal, assign } from "./views.ts";
import { data, dataSync, item, toArray } from "./reading.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { TensorMethods } from "../tensor/methods.ts";
import type { DeviceName } from "../backend/backend.ts";

/** Functions whose first argument becomes `this`; the record's type makes sure that no declared method is missing. */
const methods: Readonly<Record<keyof TensorMethods<DeviceName>, unknown>> = {
  negative, absolute, sign, exp, expm1, log, log1p, sqrt, rsqrt, reciprocal, square, sin, cos, tan, tanh, erf, sigmoid, relu, silu, gelu,
  geluTanh, softplus, floor, ceil, round, trunc, isNaN, isFinite, logicalNot, add, subtract, multiply, divide, power, maximum, minimum,
  remainder, atan2, clamp, equal, notEqual, less, lessEqual, greater, greaterEqual, logicalAnd, logicalOr, logicalXor, sum, mean,
  product, max, min, any, all, norm, logSumExp, variance, standardDeviation, argmax, argmin, cumsum, sort, argsort, topK, take,
  takeAlongAxis, flip, matmul, softmax, logSoftmax, contiguous, clone, cast, to, reshape, flatten, permute, transpose, expandDims,
  squeeze, broadcastTo, slice, split, diagonal, assign, data, dataSync, item, toArray, cumprod,
  pad, tile, repeat, unstack, scatterAdd, dot, outer, tril, triu,
};

for (const [name, operation] of Object.entries(methods)) {
  Object.defineProperty(Tensor.prototype, name, {
    configurable: true,
    writable: true,
    value(this: Tensor, ...parameters: unknown[]): unknown {
      return (operation as (input: Tensor, ...parameters: unknown[]) => unknown)(this, ...parameters);
    },
  });
}
