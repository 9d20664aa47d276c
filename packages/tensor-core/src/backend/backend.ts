/**
 * The whole contract between operations and devices.
 *
 * `src/ops` checks shapes and dtypes, allocates outputs and calls one kernel; a backend only computes. Three rules hold for every kernel:
 *
 * 1. Outputs are allocated by the caller and never overlap inputs, except where a field is said to be updated in place.
 * 2. "contiguous" means row-major without gaps (the offset may be anything). Fields not said to be contiguous may have any strides, 0
 * included.
 * 3. Kernels compute in float32 (int32 for integer dtypes). float16, int8, uint8 and bool appear only where a field says so.
 *
 * Calls return at once: a device may queue the work, `read` waits for it. Nothing else is asynchronous.
 */
import type { Dtype } from "../tensor/dtype.ts";

/** A block of device memory. What it is made of is the backend's own affair. */
export interface DeviceBuffer {
  readonly byteLength: number;
}

/**
 * A strided window on device memory: all a kernel knows of a tensor. Offset and strides count elements. Tensors are views themselves, with
 * `buffer` as a getter, so a
 * view is never copied by spreading it.
 */
export interface TensorView {
  readonly buffer: DeviceBuffer;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

/**
 * A weight matrix [outputs, inputs] in groups along the inputs: `w = scale * q + minimum`. Used through its transpose in `matmul`.
 * `int8`: one signed byte a value. `uint4`: two values a byte, low nibble first.
 */
export interface QuantizedView {
  readonly format: "int8" | "uint4";
  readonly shape: readonly [outputs: number, inputs: number];
  readonly groupSize: number;
  /** int8 [outputs, inputs] or uint8 [outputs, inputs / 2], contiguous. */
  readonly values: TensorView;
  /** float32 [outputs, inputs / groupSize], contiguous. */
  readonly scales: TensorView;
  /** As `scales`; absent = 0. */
  readonly minimums?: TensorView | undefined;
}

/** Element-wise functions of one argument. */
export type UnaryOperation =
  | "negative"
  | "absolute"
  | "sign"
  | "exp"
  | "expm1"
  | "log"
  | "log1p"
  | "sqrt"
  | "rsqrt"
  | "reciprocal"
  | "square"
  | "sin"
  | "cos"
  | "tan"
  | "tanh"
  | "erf"
  | "sigmoid"
  | "relu"
  | "silu"
  | "gelu"
  | "geluTanh"
  | "softplus"
  | "floor"
  | "ceil"
  | "round"
  | "trunc";

/** Element-wise predicates: float32 or int32 in, bool out. */
export type UnaryPredicate = "isNaN" | "isFinite" | "logicalNot";

/** Element-wise functions of two arguments. `remainder` has the sign of the divisor (Python's `%`). */
export type BinaryOperation = "add" | "subtract" | "multiply" | "divide" | "power" | "maximum" | "minimum" | "remainder" | "atan2";

/** Comparisons and logic: float32, int32 or bool in, bool out. */
export type CompareOperation =
  "equal" | "notEqual" | "less" | "lessEqual" | "greater" | "greaterEqual" | "logicalAnd" | "logicalOr" | "logicalXor";

/** Reductions. `any` and `all` take and give bool; the others keep the dtype. */
export type ReduceOperation = "sum" | "mean" | "product" | "maximum" | "minimum" | "any" | "all";

/** Functions that `matmul` can apply to its output before storing it. */
export type Activation = "relu" | "silu" | "gelu" | "geluTanh";

/** Arguments of each kernel; the field comments give shapes. */
export interface KernelArguments {
  // — data movement —
  /** Every element of `output` (contiguous, any dtype) becomes `value`. */
  fill: { output: TensorView; value: number };
  /** output[i] = start + i * step; contiguous float32 or int32. */
  arange: { output: TensorView; start: number; step: number };
  /**
   * output = input, converted to the output's dtype (any to any; to a narrower integer saturates, float → integer truncates first). Same
   * shape, any strides on both sides.
   */
  copy: { input: TensorView; output: TensorView };
  /**
   * output[o, i, k] = input[o, indices[i], k]; input [outer, size, inner], output [outer, count, inner], contiguous, any dtype; indices
   * int32 [count], contiguous; an index outside [0, size) gives zeros.
   */
  gather: { input: TensorView; indices: TensorView; output: TensorView; outer: number; size: number; inner: number };
  /**
   * output[o, indices[i], k] += updates[o, i, k], in order of i; output [outer, size, inner] updated in place. float32 or int32. Indices
   * outside are skipped.
   */
  scatterAdd: { output: TensorView; indices: TensorView; updates: TensorView; outer: number; size: number; inner: number };
  /**
   * output[o, i, k] = input[o, indices[o, i, k], k] (NumPy take_along_axis): input [outer, size, inner], indices and output [outer, count,
   * inner]; contiguous, 4-byte dtypes; an index outside gives 0.
   */
  gatherElements: { input: TensorView; indices: TensorView; output: TensorView; outer: number; size: number; inner: number };
  /** The transpose of `gatherElements`: output[o, indices[o, i, k], k] += updates[o, i, k], in place, float32. */
  scatterElementsAdd: { output: TensorView; indices: TensorView; updates: TensorView; outer: number; size: number; inner: number };

  // — element-wise; output contiguous, inputs already broadcast to its shape (stride 0) —
  /** float32; `negative`, `absolute`, `sign`, `square`, `relu` int32 too. */
  unary: { operation: UnaryOperation; input: TensorView; output: TensorView };
  /**
   * result = gradient * operation'(input). All contiguous float32; `output` is the forward result, which some derivatives are cheaper from.
   */
  unaryGradient: { operation: UnaryOperation; gradient: TensorView; input: TensorView; output: TensorView; result: TensorView };
  predicate: { operation: UnaryPredicate; input: TensorView; output: TensorView };
  /** int32: arithmetic wraps, `divide` truncates, `divide` and `remainder` by 0 give 0, a negative power truncates 1 / aⁿ. */
  binary: { operation: BinaryOperation; a: TensorView; b: TensorView; output: TensorView };
  /** b is a number; `reversed` computes `scalar ∘ a`. */
  binaryScalar: { operation: BinaryOperation; a: TensorView; scalar: number; reversed: boolean; output: TensorView };
  compare: { operation: CompareOperation; a: TensorView; b: TensorView; output: TensorView };
  /** output = condition ? a : b; condition bool; a, b, output float32 or int32. */
  where: { condition: TensorView; a: TensorView; b: TensorView; output: TensorView };
  /** output += scale * input, in place: same shape, both contiguous float32. Gradient accumulation. */
  addScaled: { output: TensorView; input: TensorView; scale: number };

  // — reductions —
  /**
   * Reduces `axes` (sorted, non-negative) of input; output contiguous, reduced axes absent. Sums are blocked, in an order that depends on
   * the shape alone. The mean of nothing is NaN, its extremes ∓Infinity.
   */
  reduce: { operation: ReduceOperation; input: TensorView; axes: readonly number[]; output: TensorView };
  /**
   * Index of the first extreme along the middle axis: input contiguous [outer, size, inner] float32 or int32, output int32 [outer, inner].
   * NaN counts as extreme.
   */
  argReduce: { operation: "argmax" | "argmin"; input: TensorView; output: TensorView; outer: number; size: number; inner: number };
  /** Running sum or product along the middle axis of contiguous [outer, size, inner]. */
  cumulative: {
    operation: "sum" | "product";
    input: TensorView;
    output: TensorView;
    outer: number;
    size: number;
    inner: number;
    reverse: boolean;
  };
  /** Sorts rows, stably, NaN last in both directions; `indices` int32. Contiguous [rows, columns] float32 or int32. */
  sort: { input: TensorView; values: TensorView; indices: TensorView; rows: number; columns: number; descending: boolean };
  /** The k largest (or smallest) of each row, in order, ties by lower index; values and indices [rows, k]. */
  topK: { input: TensorView; values: TensorView; indices: TensorView; rows: number; columns: number; k: number; largest: boolean };

  // — linear algebra —
  /**
   * output = activation(a · b + bias), or output += a · b with `accumulate` (then no bias or activation).
   * a [...batch, m, k], b [...batch, k, n], same batch dims (broadcast by stride 0), any strides: transposes are free.
   * b may be float16, and a `QuantizedView` stands for its transpose [k = inputs, n = outputs] (no batch dims of its own).
   * output contiguous [...batch, m, n]; bias contiguous [n].
   */
  matmul: {
    a: TensorView;
    b: TensorView | QuantizedView;
    output: TensorView;
    bias?: TensorView | undefined;
    activation?: Activation | undefined;
    accumulate?: boolean | undefined;
  };

  // — rows: contiguous [rows, columns] float32 —
  /**
   * output = softmax(scale * input + mask) over the last axis; mask broadcast to the input's shape; a fully masked row (-Infinity) gives
   * zeros. `logarithm`: log-softmax, where such a row stays -Infinity.
   */
  softmax: {
    input: TensorView;
    output: TensorView;
    rows: number;
    columns: number;
    scale: number;
    mask?: TensorView | undefined;
    logarithm: boolean;
  };
  /** Gradient of `softmax` for `input`, from its output. */
  softmaxGradient: {
    gradient: TensorView;
    output: TensorView;
    result: TensorView;
    rows: number;
    columns: number;
    scale: number;
    logarithm: boolean;
  };
  /** output = (x - mean) * rstd * weight + bias; mean and rstd [rows] are stored for backward. Population variance. */
  layerNorm: {
    input: TensorView;
    weight?: TensorView | undefined;
    bias?: TensorView | undefined;
    epsilon: number;
    output: TensorView;
    mean: TensorView;
    rstd: TensorView;
    rows: number;
    columns: number;
  };
  layerNormGradient: {
    gradient: TensorView;
    input: TensorView;
    weight?: TensorView | undefined;
    mean: TensorView;
    rstd: TensorView;
    rows: number;
    columns: number;
    inputGradient: TensorView;
    weightGradient?: TensorView | undefined;
    biasGradient?: TensorView | undefined;
  };
  /** output = x * rstd * weight, rstd = 1 / sqrt(mean(x²) + epsilon). */
  rmsNorm: {
    input: TensorView;
    weight?: TensorView | undefined;
    epsilon: number;
    output: TensorView;
    rstd: TensorView;
    rows: number;
    columns: number;
  };
  rmsNormGradient: {
    gradient: TensorView;
    input: TensorView;
    weight?: TensorView | undefined;
    rstd: TensorView;
    rows: number;
    columns: number;
    inputGradient: TensorView;
    weightGradient?: TensorView | undefined;
  };
  /**
   * losses[r] = -(1 - s) log p[target] - s / columns Σ log p, p = softmax(logits[r]); 0 where target = ignoreIndex, NaN where it is no
   * column. targets int32 [rows].
   */
  crossEntropy: {
    logits: TensorView;
    targets: TensorView;
    losses: TensorView;
    logSumExp: TensorView;
    rows: number;
    columns: number;
    ignoreIndex: number;
    labelSmoothing: number;
  };
  /** result[r, c] = gradient[r] * ∂losses[r]/∂logits[r, c]. */
  crossEntropyGradient: {
    gradient: TensorView;
    logits: TensorView;
    targets: TensorView;
    logSumExp: TensorView;
    result: TensorView;
    rows: number;
    columns: number;
    ignoreIndex: number;
    labelSmoothing: number;
  };
  /** output = silu(gate) * up; all contiguous, same shape. */
  swiglu: { gate: TensorView; up: TensorView; output: TensorView };
  swigluGradient: { gradient: TensorView; gate: TensorView; up: TensorView; gateGradient: TensorView; upGradient: TensorView };
  /**
   * Rotates pairs of features by position. input and output contiguous [batch, sequence, heads, headDim]; cosine and sine contiguous
   * [positions, rotaryDim / 2]; token s of batch b stands at positions[s] (int32 [sequence]) or positionOffset + s. Pairs are (i, i +
   * rotaryDim / 2)
   * for layout "half" and (2i, 2i + 1) for "interleaved". Features past rotaryDim are copied. `inverse` rotates back (the gradient).
   */
  rotaryEmbedding: {
    input: TensorView;
    output: TensorView;
    cosine: TensorView;
    sine: TensorView;
    positions?: TensorView | undefined;
    positionOffset: number;
    layout: "half" | "interleaved";
    inverse: boolean;
  };
  /**
   * softmax(scale * q kᵀ + mask) v without storing the scores. query [batch, heads, queries, headDim], key and value [batch, keyHeads,
   * keys, headDim],
   * heads a multiple of keyHeads (grouped-query attention: head h reads key head floor(h * keyHeads / heads)); last axis contiguous, other
   * axes any strides, for output too.
   * causal: query i sees keys j <= i + queryOffset. mask is added, broadcast to [batch, heads, queries, keys]. A query that sees nothing
   * gives zeros.
   * logSumExp contiguous [batch, heads, queries].
   */
  attention: {
    query: TensorView;
    key: TensorView;
    value: TensorView;
    output: TensorView;
    logSumExp: TensorView;
    mask?: TensorView | undefined;
    scale: number;
    causal: boolean;
    queryOffset: number;
  };
  /** gradients have the shapes of their tensors and, like output, any strides but a contiguous last axis; they are overwritten. */
  attentionGradient: {
    gradient: TensorView;
    query: TensorView;
    key: TensorView;
    value: TensorView;
    output: TensorView;
    logSumExp: TensorView;
    mask?: TensorView | undefined;
    scale: number;
    causal: boolean;
    queryOffset: number;
    queryGradient: TensorView;
    keyGradient: TensorView;
    valueGradient: TensorView;
  };

  // — sequences: contiguous, channels last —
  /**
   * Depthwise causal convolution: output[b, t, c] = f(bias[c] + Σ_j weight[c, j] * x[b, t - width + 1 + j, c]); x before the sequence is
   * initialState [batch, width - 1, channels], or zeros. input [batch, sequence, channels], weight [channels, width]; f = SiLU with `silu`.
   */
  causalConv1d: {
    input: TensorView;
    weight: TensorView;
    bias?: TensorView | undefined;
    initialState?: TensorView | undefined;
    silu: boolean;
    output: TensorView;
    batch: number;
    sequence: number;
    channels: number;
    width: number;
  };
  causalConv1dGradient: {
    gradient: TensorView;
    input: TensorView;
    weight: TensorView;
    bias?: TensorView | undefined;
    initialState?: TensorView | undefined;
    silu: boolean;
    batch: number;
    sequence: number;
    channels: number;
    width: number;
    inputGradient: TensorView;
    weightGradient: TensorView;
    biasGradient?: TensorView | undefined;
    initialStateGradient?: TensorView | undefined;
  };
  /**
   * Mamba-1 selective scan (Gu & Dao 2023, eq. 2 with zero-order hold on A): d = deltaSoftplus ? softplus(delta) : delta,
   * h[t] = exp(d[t] A) h[t-1] + d[t] B[t] x[t],  y[t] = C[t]·h[t] + D x[t].
   * input and delta [batch, sequence, channels], stateMatrix A [channels, stateSize], inputMatrix B and outputMatrix C [batch, sequence,
   * stateSize],
   * skip D [channels], initialState and finalState [batch, channels, stateSize].
   */
  selectiveScan: {
    input: TensorView;
    delta: TensorView;
    stateMatrix: TensorView;
    inputMatrix: TensorView;
    outputMatrix: TensorView;
    skip?: TensorView | undefined;
    initialState?: TensorView | undefined;
    deltaSoftplus: boolean;
    output: TensorView;
    finalState: TensorView;
    batch: number;
    sequence: number;
    channels: number;
    stateSize: number;
  };
  /** Backward of `selectiveScan`; states are recomputed. finalStateGradient absent = zeros. All gradients are overwritten. */
  selectiveScanGradient: {
    gradient: TensorView;
    finalStateGradient?: TensorView | undefined;
    input: TensorView;
    delta: TensorView;
    stateMatrix: TensorView;
    inputMatrix: TensorView;
    outputMatrix: TensorView;
    skip?: TensorView | undefined;
    initialState?: TensorView | undefined;
    deltaSoftplus: boolean;
    batch: number;
    sequence: number;
    channels: number;
    stateSize: number;
    inputGradient: TensorView;
    deltaGradient: TensorView;
    stateMatrixGradient: TensorView;
    inputMatrixGradient: TensorView;
    outputMatrixGradient: TensorView;
    skipGradient?: TensorView | undefined;
    initialStateGradient?: TensorView | undefined;
  };

  // — Fourier transforms along the middle axis of contiguous float32 [outer, length, inner]; complex numbers as two arrays —
  /** Σ x[k] exp(∓2πi jk / length) * scale; any length. */
  fft: {
    inputReal: TensorView;
    inputImaginary: TensorView;
    outputReal: TensorView;
    outputImaginary: TensorView;
    outer: number;
    length: number;
    inner: number;
    inverse: boolean;
    scale: number;
  };
  /** Real input; the outputs hold the floor(length / 2) + 1 non-negative frequencies. */
  realFft: {
    input: TensorView;
    outputReal: TensorView;
    outputImaginary: TensorView;
    outer: number;
    length: number;
    inner: number;
    scale: number;
  };
  /**
   * Inverse of `realFft`: floor(length / 2) + 1 frequencies in, `length` reals out; imaginary parts of frequencies 0 and length / 2 are
   * ignored.
   */
  inverseRealFft: {
    inputReal: TensorView;
    inputImaginary: TensorView;
    output: TensorView;
    outer: number;
    length: number;
    inner: number;
    scale: number;
  };

  // — random numbers: Threefry-2x32 (20 rounds) of (key, counter), element i uses block counter + floor(i / 2), word i mod 2 —
  /**
   * uniform: low + (high - low) * (bits >>> 8) / 2²⁴, which may round to high (`Generator` limits it). normal: Box–Muller on the block's
   * two words, u1 = ((w0 >>> 8) + 1) / 2²⁴,
   * u2 = (w1 >>> 8) / 2²⁴, radius = sqrt(-2 ln u1): element i even takes radius * cos(2π u2), odd radius * sin(2π u2). bits: int32.
   */
  random: {
    distribution: "uniform" | "normal" | "bits";
    key: readonly [number, number];
    counter: number;
    /** uniform: low, high. normal: mean, standard deviation. */
    parameters: readonly [number, number];
    output: TensorView;
  };

  // — optimizers: in place, contiguous float32 of equal length —
  /**
   * Decoupled weight decay (Loshchilov & Hutter 2019). The gradient is multiplied by gradientScale first (clipping). corrections = 1 -
   * beta^step.
   */
  adamW: {
    parameter: TensorView;
    gradient: TensorView;
    firstMoment: TensorView;
    secondMoment: TensorView;
    learningRate: number;
    beta1: number;
    beta2: number;
    epsilon: number;
    weightDecay: number;
    correction1: number;
    correction2: number;
    gradientScale: number;
  };
  /**
   * v = momentum * v + (1 - dampening) * (scale * g + weightDecay * p); p -= learningRate * (nesterov ? g + momentum * v : v). PyTorch's
   * SGD; velocity absent when momentum = 0, and dampening ignored then.
   */
  sgd: {
    parameter: TensorView;
    gradient: TensorView;
    velocity?: TensorView | undefined;
    learningRate: number;
    momentum: number;
    dampening: number;
    weightDecay: number;
    nesterov: boolean;
    gradientScale: number;
  };
}

/** Names of all kernels. */
export type KernelName = keyof KernelArguments;

/** One function a kernel; a backend has them all. */
export type Kernels = { readonly [Name in KernelName]: (parameters: KernelArguments[Name]) => void };

/** What a device's heap holds. Bytes are those asked for; `reservedBytes` is what the device has set aside for them. */
export interface MemoryUsage {
  readonly allocatedBytes: number;
  readonly allocations: number;
  readonly reservedBytes: number;
  readonly peakBytes: number;
}

/** Devices that tensors can live on. */
export type DeviceName = "cpu" | "webgpu" | "reference";

/** Devices whose memory the host reads directly, so that `dataSync()` exists. */
export type HostDeviceName = "cpu" | "reference";

/** A device: memory and kernels. */
export interface Backend {
  readonly name: DeviceName;
  readonly kernels: Kernels;
  /** Uninitialised memory, 64-byte aligned. @throws OutOfMemoryError */
  allocate(byteLength: number): DeviceBuffer;
  /** Gives memory back to the pool. */
  free(buffer: DeviceBuffer): void;
  write(buffer: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void;
  /**
   * Waits for queued work and copies bytes out: those there at the time of the call, also when the buffer is written or freed while the
   * promise is pending.
   */
  read(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array>;
  /** Host devices only: copies bytes out at once. */
  readSync?(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Uint8Array;
  /** Host devices only: a window on the live memory, valid until the buffer is freed. */
  hostView?(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Uint8Array;
  /** Resolves when all queued work is done. */
  synchronize(): Promise<void>;
  memory(): MemoryUsage;
}
