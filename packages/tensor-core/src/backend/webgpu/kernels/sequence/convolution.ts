/**
 * Depthwise causal convolution. A thread computes four neighbouring times of one channel with the inputs in a sliding window; neighbouring
 * threads have neighbouring channels, so all loads but the weights' are coalesced.
 */
import type { KernelArguments, TensorView } from "../../../backend.ts";
import { entryPoint, i32, read, u32, workgroupGrid, write, type KernelBinding, type UniformValue } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { mathSource } from "../../wgsl/math.ts";
import { sumByChannel } from "./channel-sums.ts";

const workgroupSize = 64;

/** Times that one thread computes: the components of a vec4. */
const times = 4;

type Convolution = Pick<
  KernelArguments["causalConv1d"],
  "input" | "weight" | "bias" | "initialState" | "silu" | "batch" | "sequence" | "channels" | "width"
>;

/** Output of the convolution, or with a gradient what reaches the sums before SiLU. */
function convolve(runtime: WebGpuRuntime, convolution: Convolution, output: TensorView, gradient?: TensorView): void {
  const { input, weight, bias, batch, sequence, channels, width, silu } = convolution;
  const blocks = Math.ceil(sequence / times);
  runtime.launch({
    name: gradient === undefined ? "causalConv1d" : "causalConv1d sums' gradient",
    bindings: {
      input: read(input),
      weight: read(weight),
      // Tensors that are not given are not read; any other stands in, so that one pipeline serves all.
      bias: read(bias ?? input),
      ...historyBinding(convolution),
      output: write(output),
      ...(gradient && { gradient: read(gradient) }),
    },
    uniforms: {
      count: u32(batch * blocks * channels),
      blocks: u32(blocks),
      hasBias: u32(Number(bias !== undefined)),
      silu: u32(Number(silu)),
      ...historyUniforms(convolution),
      sequence: u32(sequence),
      channels: u32(channels),
      width: u32(width),
    },
    workgroups: workgroupGrid(Math.ceil((batch * blocks * channels) / workgroupSize)),
    code: () => {
      const value = gradient === undefined ? "siluF32(sums[i])" : "gradient[uniforms.gradientOffset + place] * siluDerivative(sums[i])";
      return `${mathSource([gradient === undefined ? "siluF32" : "siluDerivative"])}
${inputAt}
${entryPoint(
  workgroupSize,
  `  if (index >= uniforms.count) { return; }
  let channel = index % uniforms.channels;
  let rest = index / uniforms.channels;
  let row = rest / uniforms.blocks;
  let start = (rest % uniforms.blocks) * ${times}u;
  var time = i32(start) - i32(uniforms.width) + 1;
  var window = vec4<f32>(0.0, inputAt(row, time, channel), inputAt(row, time + 1, channel), inputAt(row, time + 2, channel));
  var sums = vec4<f32>();
  if (uniforms.hasBias != 0u) { sums = vec4<f32>(bias[uniforms.biasOffset + channel]); }
  for (var j = 0u; j < uniforms.width; j++) {
    window = vec4<f32>(window.yzw, inputAt(row, time + 3, channel));
    sums += weight[uniforms.weightOffset + channel * uniforms.width + j] * window;
    time++;
  }
  for (var i = 0u; i < min(${times}u, uniforms.sequence - start); i++) {
    let place = (row * uniforms.sequence + start + i) * uniforms.channels + channel;
    var value = sums[i];
    if (uniforms.silu != 0u) { value = ${value}; }
    output[uniforms.outputOffset + place] = value;
  }`,
)}`;
    },
  });
}

/** The inputs before the sequence. */
function historyBinding({ input, initialState, width }: Convolution): { readonly initialState: KernelBinding } {
  return { initialState: read((width > 1 ? initialState : undefined) ?? input) };
}

function historyUniforms({ initialState }: Convolution): { readonly hasInitialState: UniformValue } {
  return { hasInitialState: u32(Number(initialState !== undefined)) };
}

const inputAt = `
fn inputAt(row: u32, time: i32, channel: u32) -> f32 {
  if (time >= i32(uniforms.sequence)) { return 0.0; }
  if (time >= 0) {
    return input[uniforms.inputOffset + (row * uniforms.sequence + u32(time)) * uniforms.channels + channel];
  }
  if (uniforms.hasInitialState == 0u) { return 0.0; }
  let before = u32(time + i32(uniforms.width) - 1);
  return initialState[uniforms.initialStateOffset + (row * (uniforms.width - 1u) + before) * uniforms.channels + channel];
}
`;

/** @see KernelArguments.causalConv1d */
export function causalConv1d(runtime: WebGpuRuntime, parameters: KernelArguments["causalConv1d"]): void {
  convolve(runtime, parameters, parameters.output);
}

/** @see KernelArguments.causalConv1dGradient */
export function causalConv1dGradient(runtime: WebGpuRuntime, parameters: KernelArguments["causalConv1dGradient"]): void {
  const { gradient, input, silu } = parameters;
  const beforeSilu = silu ? runtime.temporary("float32", input.shape) : undefined;
  if (beforeSilu !== undefined) convolve(runtime, parameters, beforeSilu, gradient);
  inputGradients(runtime, parameters, beforeSilu ?? gradient);
  weightGradients(runtime, parameters, beforeSilu ?? gradient);
  runtime.release(beforeSilu);
}

type Gradient = KernelArguments["causalConv1dGradient"];

/** ∂L/∂x[t] = Σ_j weight[j] u[t + width - 1 - j]: a convolution forward in time. Its first results are for the initial state. */
function inputGradients(runtime: WebGpuRuntime, parameters: Gradient, sumGradient: TensorView): void {
  const { weight, inputGradient, initialStateGradient, batch, sequence, channels, width } = parameters;
  const before = initialStateGradient === undefined ? 0 : width - 1;
  const blocks = Math.ceil((sequence + before) / times);
  runtime.launch({
    name: "causalConv1d input gradient",
    variant: before === 0 ? "" : "state",
    bindings: {
      sumGradient: read(sumGradient),
      weight: read(weight),
      inputGradient: write(inputGradient),
      ...(before > 0 && { initialStateGradient: write(initialStateGradient!) }),
    },
    uniforms: {
      count: u32(batch * blocks * channels),
      blocks: u32(blocks),
      before: i32(before),
      sequence: i32(sequence),
      channels: u32(channels),
      width: u32(width),
    },
    workgroups: workgroupGrid(Math.ceil((batch * blocks * channels) / workgroupSize)),
    code: () => `
fn sumGradientAt(row: u32, time: i32, channel: u32) -> f32 {
  if (time < 0 || time >= uniforms.sequence) { return 0.0; }
  return sumGradient[uniforms.sumGradientOffset + (row * u32(uniforms.sequence) + u32(time)) * uniforms.channels + channel];
}
${entryPoint(
  workgroupSize,
  `  if (index >= uniforms.count) { return; }
  let channel = index % uniforms.channels;
  let rest = index / uniforms.channels;
  let row = rest / uniforms.blocks;
  let start = i32(rest % uniforms.blocks) * ${times} - uniforms.before;
  var time = start;
  var window = vec4<f32>(0.0, sumGradientAt(row, time, channel), sumGradientAt(row, time + 1, channel), 0.0);
  window.w = sumGradientAt(row, time + 2, channel);
  var sums = vec4<f32>();
  for (var j = uniforms.width; j > 0u; j--) {
    window = vec4<f32>(window.yzw, sumGradientAt(row, time + 3, channel));
    sums += weight[uniforms.weightOffset + channel * uniforms.width + j - 1u] * window;
    time++;
  }
  for (var i = 0; i < ${times}; i++) {
    let at = start + i;
    if (at >= 0 && at < uniforms.sequence) {
      let place = (row * u32(uniforms.sequence) + u32(at)) * uniforms.channels + channel;
      inputGradient[uniforms.inputGradientOffset + place] = sums[i];
    }${
      before === 0
        ? ""
        : `
    if (at < 0) {
      let place = (row * u32(uniforms.before) + u32(at + uniforms.before)) * uniforms.channels + channel;
      initialStateGradient[uniforms.initialStateGradientOffset + place] = sums[i];
    }`
    }
  }`,
)}`,
  });
}

/** Threads that keep a large device busy, times that are worth a thread, and the most rows of partial sums. */
const wantedThreads = 2 ** 16;
const shortestSegment = 32;
const maximumRows = 1024;

/** Sums over batch and time: each thread takes four taps of a channel through a segment of time, then the segments are added up. */
function weightGradients(runtime: WebGpuRuntime, parameters: Gradient, sumGradient: TensorView): void {
  const { input, weightGradient, biasGradient, batch, sequence, channels, width } = parameters;
  const tapBlocks = Math.ceil(width / 4);
  const wanted = Math.min(wantedThreads / (channels * tapBlocks), maximumRows) / batch;
  const length = Math.max(shortestSegment, Math.ceil(sequence / Math.max(1, Math.floor(wanted))));
  const segments = Math.ceil(sequence / length);
  const rows = batch * segments;
  const rowStride = (width + 1) * channels;
  const partials = runtime.temporary("float32", [rows, rowStride]);
  runtime.launch({
    name: "causalConv1d weight gradient",
    bindings: { sumGradient: read(sumGradient), input: read(input), ...historyBinding(parameters), partials: write(partials) },
    uniforms: {
      count: u32(rows * tapBlocks * channels),
      tapBlocks: u32(tapBlocks),
      segments: u32(segments),
      segmentLength: u32(length),
      ...historyUniforms(parameters),
      sequence: u32(sequence),
      channels: u32(channels),
      width: u32(width),
    },
    workgroups: workgroupGrid(Math.ceil((rows * tapBlocks * channels) / workgroupSize)),
    code: () => `${inputAt}
${entryPoint(
  workgroupSize,
  `  if (index >= uniforms.count) { return; }
  let channel = index % uniforms.channels;
  let rest = index / uniforms.channels;
  let tap = (rest % uniforms.tapBlocks) * 4u;
  let segment = rest / uniforms.tapBlocks;
  let row = segment / uniforms.segments;
  let start = (segment % uniforms.segments) * uniforms.segmentLength;
  let end = min(start + uniforms.segmentLength, uniforms.sequence);
  var time = i32(start + tap) - i32(uniforms.width) + 1;
  var window = vec4<f32>(0.0, inputAt(row, time, channel), inputAt(row, time + 1, channel), inputAt(row, time + 2, channel));
  var taps = vec4<f32>();
  var total = 0.0;
  for (var t = start; t < end; t++) {
    let u = sumGradient[uniforms.sumGradientOffset + (row * uniforms.sequence + t) * uniforms.channels + channel];
    window = vec4<f32>(window.yzw, inputAt(row, time + 3, channel));
    taps += u * window;
    total += u;
    time++;
  }
  let place = uniforms.partialsOffset + segment * (uniforms.width + 1u) * uniforms.channels + channel;
  for (var i = 0u; i < min(4u, uniforms.width - tap); i++) {
    partials[place + (tap + i) * uniforms.channels] = taps[i];
  }
  if (tap == 0u) { partials[place + uniforms.width * uniforms.channels] = total; }`,
)}`,
  });
  sumByChannel(runtime, {
    partials,
    rows,
    rowStride,
    planes: width,
    channels,
    matrix: weightGradient,
    vector: biasGradient,
    channelStart: 0,
    accumulate: false,
  });
  runtime.release(partials);
}
