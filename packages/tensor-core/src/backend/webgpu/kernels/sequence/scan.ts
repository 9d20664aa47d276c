/**
 * The selective scan. A thread walks one channel through a chunk of time with up to 16 states in registers; more states take more
 * launches. Neighbouring threads have neighbouring channels and share B and C through workgroup memory. A sequence that leaves the device
 * idle otherwise is cut into chunks: one pass walks them from zero states, one chains them (`scan-carry.ts`), and one walks them again for
 * the output.
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
  /** The state of each chunk by batch, chunk, channel and number; without `output` also its sum of step sizes, as number `stateSize`. */
  readonly states: TensorView;
  readonly strides: { readonly chunk: number; readonly channel: number; readonly state: number };
  /** `states` holds what each chunk starts with. */
  readonly startsFromStates: boolean;
  /** Computes the output; otherwise only what each chunk ends with. */
  readonly output: boolean;
}

function walk(runtime: WebGpuRuntime, scan: Scan, plan: Walk): void {
  const { stateSize } = scan;
  const held = heldStates(stateSize);
  // Without states there is still D x.
  for (let firstState = 0; firstState < Math.max(1, stateSize); firstState += held) {
    launchWalk(runtime, scan, plan, held, firstState);
  }
}

/** The walk for `held` states from one on; those after the first add to the output. */
function launchWalk(runtime: WebGpuRuntime, scan: Scan, plan: Walk, held: number, firstState: number): void {
  const { input, delta, stateMatrix, inputMatrix, outputMatrix, skip, batch, sequence, channels, stateSize } = scan;
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
      firstState: u32(firstState),
      channelBlocks: u32(Math.ceil(channels / lanes)),
      chunks: u32(plan.chunks),
      chunkLength: u32(plan.chunkLength),
      chunkStride: u32(plan.strides.chunk),
      channelStride: u32(plan.strides.channel),
      stateStride: u32(plan.strides.state),
      startsFromStates: u32(Number(plan.startsFromStates)),
      keepsStates: u32(Number(!plan.output || plan.chunks === 1)),
      hasSkip: u32(Number(skip !== undefined && firstState === 0)),
      deltaSoftplus: u32(Number(scan.deltaSoftplus)),
    },
    workgroups: workgroupGrid(batch * plan.chunks * Math.ceil(channels / lanes)),
    code: () => walkSource(held, plan.output),
  });
}

function walkSource(held: number, output: boolean): string {
  const quads = held / 4;
  const each = (text: (i: number) => string): string => Array.from({ length: quads }, (_, i) => text(i)).join("\n");
  const quad = (i: number, text: (n: string) => string): string =>
    `vec4<f32>(${[0, 1, 2, 3].map((j) => text(`uniforms.firstState + ${4 * i + j}u`)).join(", ")})`;
  const outputTerms = Array.from({ length: quads }, (_, i) => `dot(h${i}, matrices[${stagedTimes * quads}u + i * ${quads}u + ${i}u])`);
  const rowLoad = (matrix: string): string =>
    `vec4<f32>(${[0, 1, 2, 3].map((i) => `${matrix}At(row, n + ${i}u)`).join(", ")})`;
  const matrixAt = (matrix: string): string => `
fn ${matrix}At(row: u32, n: u32) -> f32 {
  return select(0.0, ${matrix}[uniforms.${matrix}Offset + row * uniforms.stateSize + n], n < uniforms.stateSize);
}
`;
  return `${mathSource(["softplusF32"])}
// Rows of B, then of C, at the staged times; step sizes and inputs of each lane.
var<workgroup> matrices: array<vec4<f32>, ${(output ? 2 : 1) * stagedTimes * quads}>;
var<workgroup> staged: array<vec2<f32>, ${stagedTimes * lanes}>;
${matrixAt("inputMatrix")}${output ? matrixAt("outputMatrix") : ""}
fn rateOf(channel: u32, n: u32) -> f32 {
  let rate = ${log2OfE} * stateMatrix[uniforms.stateMatrixOffset + channel * uniforms.stateSize + n];
  return select(0.0, rate, n < uniforms.stateSize && channel < uniforms.channels);
}

fn startOf(place: u32, channel: u32, n: u32) -> f32 {
  let state = states[place + n * uniforms.stateStride];
  return select(0.0, state, uniforms.startsFromStates != 0u && n < uniforms.stateSize && channel < uniforms.channels);
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
${
  output
    ? `  var skipWeight = 0.0;
  if (uniforms.hasSkip != 0u) { skipWeight = skip[uniforms.skipOffset + min(channel, uniforms.channels - 1u)]; }`
    : ""
}
${each((i) => `  let rate${i} = ${quad(i, (n) => `rateOf(channel, ${n})`)};`)}
${each((i) => `  var h${i} = ${quad(i, (n) => `startOf(statePlace, channel, ${n})`)};`)}
  var deltaSum = 0.0;
  for (var time = start; time < end; time += ${stagedTimes}u) {
    let count = min(${stagedTimes}u, end - time);
    let firstPlace = (batch * uniforms.sequence + time) * uniforms.channels + min(channel, uniforms.channels - 1u);
    workgroupBarrier();
    if (lane < ${(output ? 2 : 1) * stagedTimes * quads}u) {
      let row = batch * uniforms.sequence + min(time + (lane / ${quads}u) % ${stagedTimes}u, end - 1u);
      let n = uniforms.firstState + 4u * (lane % ${quads}u);
${
  output
    ? `      if (lane < ${stagedTimes * quads}u) {
        matrices[lane] = ${rowLoad("inputMatrix")};
      } else {
        matrices[lane] = ${rowLoad("outputMatrix")};
      }`
    : `      matrices[lane] = ${rowLoad("inputMatrix")};`
}
    }
    for (var i = 0u; i < ${stagedTimes}u; i++) {
      let place = firstPlace + min(i, count - 1u) * uniforms.channels;
      staged[i * ${lanes}u + lane] = vec2<f32>(delta[uniforms.deltaOffset + place], input[uniforms.inputOffset + place]);
    }
    workgroupBarrier();
    for (var i = 0u; i < count; i++) {
      let values = staged[i * ${lanes}u + lane];
      var d = values.x;
      if (uniforms.deltaSoftplus != 0u) { d = softplusF32(d); }
      let drive = d * values.y;
${each((i) => `      h${i} = exp2(d * rate${i}) * h${i} + drive * matrices[i * ${quads}u + ${i}u];`)}
${
  output
    ? `      let y = ${outputTerms.join(" + ")};
      staged[i * ${lanes}u + lane].x = skipWeight * values.y + y;`
    : "      deltaSum += d;"
}
    }
${
  output
    ? `    for (var i = 0u; i < ${stagedTimes}u; i++) {
      if (inside && i < count) {
        let place = uniforms.resultOffset + firstPlace + i * uniforms.channels;
        var y = staged[i * ${lanes}u + lane].x;
        if (uniforms.firstState > 0u) { y += result[place]; }
        result[place] = y;
      }
    }`
    : ""
}
  }
  if (uniforms.keepsStates != 0u && inside) {
    let kept = array<vec4<f32>, ${quads}>(${Array.from({ length: quads }, (_, i) => `h${i}`).join(", ")});
    for (var n = 0u; n < min(${held}u, uniforms.stateSize - uniforms.firstState); n++) {
      states[statePlace + (uniforms.firstState + n) * uniforms.stateStride] = kept[n / 4u][n % 4u];
    }
${output ? "" : "    states[statePlace + uniforms.stateSize * uniforms.stateStride] = deltaSum;"}
  }`,
)}`;
}
