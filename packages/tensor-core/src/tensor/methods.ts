/** The methods of `Tensor`: each is the free function of the same name with the tensor as its first argument. */
import type { DeviceName, HostDeviceName } from "../backend/backend.ts";
import type { Dtype, TypedArray, TypedArrayOf } from "./dtype.ts";
import type { NestedArray, Tensor } from "./tensor.ts";
import type { Shape } from "./shape.ts";
import type { Operand } from "../ops/binary.ts";
import type { Axes, ReduceOptions } from "../ops/reduce.ts";
import type { Sorted } from "../ops/indexing.ts";
import type { SliceIndex } from "../ops/views.ts";
import type { SoftmaxOptions } from "../ops/normalization.ts";

export interface TensorMethods<Device extends DeviceName> {
  /** The elements in row-major order. float16 comes as float32; `dtype` converts on the way. */
  data(): Promise<TypedArray>;
  data<T extends Dtype>(dtype: T): Promise<TypedArrayOf[T]>;
  /** As `data`, at once. Only on devices whose memory the host reads. */
  dataSync(this: Tensor<HostDeviceName>): TypedArray;
  dataSync<T extends Dtype>(this: Tensor<HostDeviceName>, dtype: T): TypedArrayOf[T];
  /** The only element. @throws ShapeError when there are more */
  item(): Promise<number>;
  /** The elements as nested arrays. */
  toArray(): Promise<NestedArray>;
  /** On another device. */
  to<Target extends DeviceName>(device: Target): Promise<Tensor<Target>>;

  contiguous(): Tensor<Device>;
  clone(): Tensor<Device>;
  cast(dtype: Dtype): Tensor<Device>;

  reshape(shape: Shape): Tensor<Device>;
  flatten(): Tensor<Device>;
  permute(axes?: readonly number[]): Tensor<Device>;
  transpose(axis0?: number, axis1?: number): Tensor<Device>;
  expandDims(axis: number): Tensor<Device>;
  squeeze(axes?: number | readonly number[]): Tensor<Device>;
  broadcastTo(shape: Shape): Tensor<Device>;
  slice(...index: readonly SliceIndex[]): Tensor<Device>;
  split(sections: number | readonly number[], axis?: number): Tensor<Device>[];
  diagonal(): Tensor<Device>;
  flip(axis?: number): Tensor<Device>;
  pad(amounts: readonly (readonly [before: number, after: number])[], value?: number): Tensor<Device>;
  tile(repetitions: readonly number[]): Tensor<Device>;
  repeat(count: number, axis?: number): Tensor<Device>;
  unstack(axis?: number): Tensor<Device>[];
  tril(diagonal?: number): Tensor<Device>;
  triu(diagonal?: number): Tensor<Device>;
  /** In place: writes `value` into the part that `index` names. */
  assign(value: Tensor, ...index: readonly SliceIndex[]): void;
  negative(): Tensor<Device>;
  absolute(): Tensor<Device>;
  sign(): Tensor<Device>;
  exp(): Tensor<Device>;
  expm1(): Tensor<Device>;
  log(): Tensor<Device>;
  log1p(): Tensor<Device>;
  sqrt(): Tensor<Device>;
  rsqrt(): Tensor<Device>;
  reciprocal(): Tensor<Device>;
  square(): Tensor<Device>;
  sin(): Tensor<Device>;
  cos(): Tensor<Device>;
  tan(): Tensor<Device>;
  tanh(): Tensor<Device>;
  erf(): Tensor<Device>;
  sigmoid(): Tensor<Device>;
  relu(): Tensor<Device>;
  silu(): Tensor<Device>;
  gelu(): Tensor<Device>;
  geluTanh(): Tensor<Device>;
  softplus(): Tensor<Device>;
  floor(): Tensor<Device>;
  ceil(): Tensor<Device>;
  round(): Tensor<Device>;
  trunc(): Tensor<Device>;
  isNaN(): Tensor<Device>;
  isFinite(): Tensor<Device>;
  logicalNot(): Tensor<Device>;

  add<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  subtract<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  multiply<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  divide<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  power<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  maximum<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  minimum<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  remainder<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  atan2<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  equal<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  notEqual<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  less<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  lessEqual<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  greater<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  greaterEqual<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  logicalAnd<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  logicalOr<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  logicalXor<Other extends DeviceName>(other: Operand<Other>): Tensor<Device & Other>;
  clamp(low: number, high: number): Tensor<Device>;

  sum(axis?: Axes, options?: ReduceOptions): Tensor<Device>;
  mean(axis?: Axes, options?: ReduceOptions): Tensor<Device>;
  product(axis?: Axes, options?: ReduceOptions): Tensor<Device>;
  max(axis?: Axes, options?: ReduceOptions): Tensor<Device>;
  min(axis?: Axes, options?: ReduceOptions): Tensor<Device>;
  any(axis?: Axes, options?: ReduceOptions): Tensor<Device>;
  all(axis?: Axes, options?: ReduceOptions): Tensor<Device>;
  norm(axis?: Axes, options?: ReduceOptions): Tensor<Device>;
  logSumExp(axis?: Axes, options?: ReduceOptions): Tensor<Device>;
  variance(axis?: Axes, options?: ReduceOptions & { readonly correction?: number }): Tensor<Device>;
  standardDeviation(axis?: Axes, options?: ReduceOptions & { readonly correction?: number }): Tensor<Device>;
  argmax(axis?: number): Tensor<Device>;
  argmin(axis?: number): Tensor<Device>;
  cumsum(axis?: number, options?: { readonly reverse?: boolean }): Tensor<Device>;
  cumprod(axis?: number): Tensor<Device>;
  sort(options?: { readonly descending?: boolean }): Sorted<Device>;
  argsort(options?: { readonly descending?: boolean }): Tensor<Device>;
  topK(k: number, options?: { readonly largest?: boolean }): Sorted<Device>;
  take(indices: Tensor, axis?: number): Tensor<Device>;
  takeAlongAxis(indices: Tensor, axis?: number): Tensor<Device>;

  scatterAdd(indices: Tensor, updates: Tensor, axis?: number): Tensor<Device>;

  matmul<Other extends DeviceName>(other: Tensor<Other>): Tensor<Device & Other>;
  dot<Other extends DeviceName>(other: Tensor<Other>): Tensor<Device & Other>;
  outer<Other extends DeviceName>(other: Tensor<Other>): Tensor<Device & Other>;
  softmax(axis?: number, options?: SoftmaxOptions): Tensor<Device>;
  logSoftmax(axis?: number, options?: SoftmaxOptions): Tensor<Device>;
}
