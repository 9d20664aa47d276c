/**
 * The selective scan. A thread walks one channel through a chunk of time with up to 16 states in registers; more states take more walks.
 * Neighbouring threads have neighbouring channels and share B and C through workgroup memory. A sequence that leaves the device idle
 * otherwise is cut into chunks: one pass walks them from zero states, one chains them (`scan-carry.ts`), one walks them again for the output.
 */
import type { KernelArguments, TensorView } from "../../../backend.ts";
import { entryPoint, read, u32, workgroupGrid, write } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { mathSource } from "../../wgsl/math.ts";
import { carryStates, log2OfE } from "./scan-carry.ts";

/** Channels of a workgroup. */
const lanes = 64;

/** Times whose inputs are fetched together. */
const stagedTimes = 8;

/** Threads that keep a large device busy. */
const wantedThreads = 2 ** 16;
const shortestChunk = 32;
/** Chunks double the arithmetic, so a few are not worth it. */
const fewestChunks = 4;

function planChunks({ batch, sequence, channels }: Scan): { readonly chunks: number; readonly chunkLength: number } {
  const wanted = Math.floor(wantedThreads / Math.max(1, batch * channels));
  const length = Math.max(shortestChunk, Math.ceil(sequence / Math.max(1, wanted) / stagedTimes) * stagedTimes);
  const chunks = Math.ceil(sequence / length);
  return chunks < fewestChunks ? { chunks: Math.min(sequence, 1), chunkLength: sequence } : { chunks, chunkLength: length };
}

/** States that a thread holds at once. */
function heldStates(stateSize: number): number {
  return stateSize <= 4 ? 4 : stateSize <= 8 ? 8 : 16;
}

type Scan = KernelArguments["selectiveScan"];

/** @see KernelArguments.selectiveScan */
export function selectiveScan(runtime: WebGpuRuntime, scan: Scan): void {
  const { stateMatrix, initialState, finalState, batch, channels, stateSize } = scan;
  const { chunks, chunkLength } = planChunks(scan);
  const carry = (chunkStates: TensorView, count: number): void =>
    carryStates(runtime, {
      chunkStates,
      firstPlane: 0,
      planes: stateSize + 1,
      chunks: count,
      batches: batch,
      channels,
      stateSize,
      reverse: false,
      stateMatrix,
      start: initialState,
      end: finalState,
      batchStart: 0,
      channelStart: 0,
      allChannels: channels,
    });
  if (chunks > 1) {
    const planes = stateSize + 1;
    const chunkStates = runtime.temporary("float32", [batch, chunks, planes, channels]);
    const strides = { chunk: planes * channels, channel: 1, state: channels };
    walk(runtime, scan, { chunks, chunkLength, states: chunkStates, strides, startsFromStates: false, output: false });
    carry(chunkStates, chunks);
    walk(runtime, scan, { chunks, chunkLength, states: chunkStates, strides, startsFromStates: true, output: true });
    runtime.release(chunkStates);
    return;
  }
  // The walk updates the state in place, which leaves a binding for each of its other tensors.
  if (initialState !== undefined || chunks === 0) {
    const none = runtime.temporary("float32", [1]);
    carry(none, 0);
    runtime.release(none);
  }
  walk(runtime, scan, {
    chunks,
    chunkLength,
    states: finalState,
    strides: { chunk: channels * stateSize, channel: stateSize, state: 1 },
    startsFromStates: initialState !== undefined,
    output: true,
  });
}

interface Walk {
  readonly chunks: number;
  readonly chunkLength: number;
  /** The state of each chunk by batch, chunk, channel and number; then, without `output`, the chunk's sum of step sizes in plane `stateSize`. */
  readonly states: TensorView;
  readonly strides: { readonly chunk: number; readonly channel: number; readonly state: number };
  /** `states` holds what each chunk starts with. */
  readonly startsFromStates: boolean;
  /** Computes the output; otherwise only what each chunk ends with. */
  readonly output: boolean;
}

function walk(runtime: WebGpuRuntime, scan: Scan, plan: Walk): void {
  const { input, delta, stateMatrix, inputMatrix, outputMatrix, skip, batch, sequence, channels, stateSize } = scan;
  const held = heldStates(stateSize);
  runtime.launch({
    name: plan.output ? "selectiveScan" : "selectiveScan chunks",
    variant: String(held),
    bindings: {
      input: read(input),
      delta: read(delta),
      stateMatrix: read(stateMatrix),
      inputMatrix: read(inputMatrix),
      states: write(plan.states),
      // An absent skip is not read.
      ...(plan.output && { outputMatrix: read(outputMatrix), skip: read(skip ?? input), result: write(scan.output) }),
    },
    uniforms: {
      batch: u32(batch),
      sequence: u32(sequence),
      channels: u32(channels),
      stateSize: u32(stateSize),
      channelBlocks: u32(Math.ceil(channels / lanes)),
      chunks: u32(plan.chunks),
      chunkLength: u32(plan.chunkLength),
      chunkStride: u32(plan.strides.chunk),
      channelStride: u32(plan.strides.channel),
      stateStride: u32(plan.strides.state),
      startsFromStates: u32(Number(plan.startsFromStates)),
      keepsStates: u32(Number(!plan.output || plan.chunks === 1)),
      hasSkip: u32(Number(skip !== undefined)),
      deltaSoftplus: u32(Number(scan.deltaSoftplus)),
    },
    workgroups: workgroupGrid(batch * plan.chunks * Math.ceil(channels / lanes)),
    code: () => walkSource(held, plan.output),
  });
}

function walkSource(held: number, output: boolean): string {
  const quads = held / 4;
  const each = (text: (i: number) => string): string => Array.from({ length: quads }, (_, i) => text(i)).join("\n");
  const rowLoad = (matrix: string): string =>
    `vec4<f32>(${[0, 1, 2, 3].map((i) => `${matrix}At(row, n + ${i}u)`).join(", ")})`;
  const matrixAt = (matrix: string): string => `
fn ${matrix}At(row: u32, n: u32) -> f32 {
  if (n >= uniforms.stateSize) { return 0.0; }
  return ${matrix}[uniforms.${matrix}Offset + row * uniforms.stateSize + n];
}
`;
  return `${mathSource(["softplusF32"])}
// Rows of B, then of C, at the staged times; step sizes and inputs of each lane.
var<workgroup> matrices: array<vec4<f32>, ${(output ? 2 : 1) * stagedTimes * quads}>;
var<workgroup> staged: array<vec2<f32>, ${stagedTimes * lanes}>;
${matrixAt("inputMatrix")}${output ? matrixAt("outputMatrix") : ""}
fn rateOf(channel: u32, n: u32) -> f32 {
  if (n >= uniforms.stateSize || channel >= uniforms.channels) { return 0.0; }
  return ${log2OfE} * stateMatrix[uniforms.stateMatrixOffset + channel * uniforms.stateSize + n];
}

fn startOf(place: u32, channel: u32, n: u32) -> f32 {
  if (uniforms.startsFromStates == 0u || n >= uniforms.stateSize || channel >= uniforms.channels) { return 0.0; }
  return states[place + n * uniforms.stateStride];
}

fn keepState(place: u32, n: u32, value: f32) {
  if (n < uniforms.stateSize) { states[place + n * uniforms.stateStride] = value; }
}
${entryPoint(
  lanes,
  `  let group = workgroup / uniforms.channelBlocks;
  let channel = (workgroup % uniforms.channelBlocks) * ${lanes}u + lane;
  let batch = group / uniforms.chunks;
  if (batch >= uniforms.batch) { return; }
  let inside = channel < uniforms.channels;
  let start = (group % uniforms.chunks) * uniforms.chunkLength;
  let end = min(start + uniforms.chunkLength, uniforms.sequence);
  let statePlace = uniforms.statesOffset + group * uniforms.chunkStride + channel * uniforms.channelStride;
${output ? "  var skipWeight = 0.0;\n  if (uniforms.hasSkip != 0u && inside) { skipWeight = skip[uniforms.skipOffset + channel]; }" : ""}
  var first = 0u;
  loop {
${each((i) => `    let rate${i} = vec4<f32>(${[0, 1, 2, 3].map((j) => `rateOf(channel, first + ${4 * i + j}u)`).join(", ")});`)}
${each((i) => `    var h${i} = vec4<f32>(${[0, 1, 2, 3].map((j) => `startOf(statePlace, channel, first + ${4 * i + j}u)`).join(", ")});`)}
    var deltaSum = 0.0;
    for (var time = start; time < end; time += ${stagedTimes}u) {
      let count = min(${stagedTimes}u, end - time);
      workgroupBarrier();
      if (lane < ${(output ? 2 : 1) * stagedTimes * quads}u) {
        let row = batch * uniforms.sequence + min(time + (lane / ${quads}u) % ${stagedTimes}u, end - 1u);
        let n = first + 4u * (lane % ${quads}u);
${
  output
    ? `        if (lane < ${stagedTimes * quads}u) {
          matrices[lane] = ${rowLoad("inputMatrix")};
        } else {
          matrices[lane] = ${rowLoad("outputMatrix")};
        }`
    : `        matrices[lane] = ${rowLoad("inputMatrix")};`
}
      }
      for (var i = 0u; i < ${stagedTimes}u; i++) {
        var values = vec2<f32>();
        if (inside && i < count) {
          let place = (batch * uniforms.sequence + time + i) * uniforms.channels + channel;
          values = vec2<f32>(delta[uniforms.deltaOffset + place], input[uniforms.inputOffset + place]);
        }
        staged[i * ${lanes}u + lane] = values;
      }
      workgroupBarrier();
      for (var i = 0u; i < count; i++) {
        let values = staged[i * ${lanes}u + lane];
        var d = values.x;
        if (uniforms.deltaSoftplus != 0u && inside) { d = softplusF32(d); }
        let drive = d * values.y;
${each((i) => `        h${i} = exp2(d * rate${i}) * h${i} + drive * matrices[i * ${quads}u + ${i}u];`)}
${
  output
    ? `        var y = ${Array.from({ length: quads }, (_, i) => `dot(h${i}, matrices[${stagedTimes * quads}u + i * ${quads}u + ${i}u])`).join(" + ")};
        if (inside) {
          let place = uniforms.resultOffset + (batch * uniforms.sequence + time + i) * uniforms.channels + channel;
          if (first == 0u) { y += skipWeight * values.y; } else { y += result[place]; }
          result[place] = y;
        }`
    : "        deltaSum += d;"
}
      }
    }
    if (uniforms.keepsStates != 0u && inside) {
${each((i) => [0, 1, 2, 3].map((j) => `      keepState(statePlace, first + ${4 * i + j}u, h${i}[${j}]);`).join("\n"))}
${output ? "" : "      if (first == 0u) { states[statePlace + uniforms.stateSize * uniforms.stateStride] = deltaSum; }"}
    }
    first += ${held}u;
    if (first >= uniforms.stateSize) { break; }
  }`,
)}`;
}
