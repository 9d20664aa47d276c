import { createCpuBackend } from "./backend/cpu.ts";
import { registerBackend } from "./backend/registry.ts";
import { warnOfSecondCopy } from "./backend/second-copy.ts";
import "./ops/install-methods.ts";

registerBackend("cpu", createCpuBackend);
warnOfSecondCopy(import.meta.url);

export * from "./errors.ts";
export {
  float16BitsToFloat32,
  float32ToFloat16Bits,
  itemSize,
  promoteDtypes,
  type Dtype,
  type TypedArray,
  type TypedArrayOf,
} from "./tensor/dtype.ts";
export type { Shape } from "./tensor/shape.ts";
export { Tensor, type NestedArray } from "./tensor/tensor.ts";
export { QuantizedTensor, type QuantizedFormat } from "./tensor/quantized.ts";
export { setLeakReporting, type LeakReport } from "./tensor/leaks.ts";
export { dispose, keep, scope, tidy, type Scope } from "./tensor/scope.ts";
export type {
  Activation,
  Backend,
  DeviceBuffer,
  DeviceName,
  HostDeviceName,
  KernelArguments,
  KernelName,
  Kernels,
  MemoryUsage,
  QuantizedView,
  TensorView,
} from "./backend/backend.ts";
export { overrideKernel, registerBackend, type KernelOverride } from "./backend/registry.ts";
export { getThreads, setThreads } from "./backend/cpu.ts";
export { memory, synchronize } from "./backend/inspection.ts";

export { checkpoint } from "./autograd/checkpoint.ts";
export { customGradient, stopGradient, type CustomGradientResult, type OnDevice } from "./autograd/custom-gradient.ts";
export {
  grad,
  noGrad,
  valueAndGrad,
  vjp,
  type GradientOf,
  type GradOf,
  type TensorTree,
  type ValueAndGradOf,
  type VectorJacobianProduct,
} from "./autograd/gradients.ts";

export {
  arange,
  eye,
  full,
  fullLike,
  linspace,
  ones,
  onesLike,
  tensor,
  zeros,
  zerosLike,
  type TensorData,
  type TensorOptions,
} from "./ops/creation.ts";
export { cast, clone, contiguous, to } from "./ops/materialize.ts";
export {
  assign,
  broadcastTo,
  diagonal,
  expandDims,
  flatten,
  permute,
  reshape,
  slice,
  split,
  squeeze,
  transpose,
  type SliceIndex,
} from "./ops/views.ts";
export { concatenate, pad, repeat, stack, tile, unstack } from "./ops/join.ts";
export * from "./ops/unary.ts";
export { add, atan2, clamp, divide, maximum, minimum, multiply, power, remainder, subtract, type Operand } from "./ops/binary.ts";
export * from "./ops/compare.ts";
export * from "./ops/reduce.ts";
export * from "./ops/indexing.ts";
export { dot, linear, matmul, outer, type LinearOptions } from "./ops/matmul.ts";
export { einsum } from "./ops/einsum.ts";
export { tril, triu } from "./ops/triangle.ts";
export { dequantize, quantize } from "./ops/quantize.ts";
export * from "./ops/normalization.ts";
export * from "./ops/loss.ts";
export * from "./ops/attention.ts";
export * from "./ops/sequence.ts";
export * from "./ops/fourier.ts";

export { Dropout, Embedding, LayerNorm, Linear, RmsNorm, Sequential, type Layer, type LayerOptions } from "./nn/layers.ts";
export { kaimingUniform, xavierNormal } from "./nn/initialization.ts";
export { Module } from "./nn/module.ts";
export { Parameter } from "./nn/parameter.ts";
export { Generator, type DrawOptions, type GeneratorState } from "./random/random.ts";
export { AdamW, type AdamWSettings } from "./optim/adamw.ts";
export { clipByGlobalNorm, globalNorm, type ClippedGradients } from "./optim/clipping.ts";
export { Optimizer, type OptimizerState, type ParameterGroup } from "./optim/optimizer.ts";
export { Sgd, type SgdSettings } from "./optim/sgd.ts";
export { constantSchedule, cosineSchedule, linearSchedule, stepSchedule, type DecaySettings, type Schedule } from "./optim/schedules.ts";

export {
  RandomAccessError,
  readerFromBlob,
  readerFromBytes,
  readerFromFile,
  readerFromRange,
  type RandomAccessReader,
} from "./io/random-access.ts";
export * from "./io/safetensors.ts";
export * from "./random/threefry.ts";
