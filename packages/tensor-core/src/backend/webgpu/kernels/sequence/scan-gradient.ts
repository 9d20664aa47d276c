/**
 * Backward of the selective scan, in tiles of eight times, all tiles at once:
 *
 * 1. every tile is walked from zero: its state at the end, and what its outputs' gradients give to the state before it (`tileSource`);
 * 2. tiles are chained forwards and backwards (`scan-carry.ts`): each knows the state h it starts with, and the gradient λ it ends with;
 * 3. each tile is walked forwards and back with its eight states in registers (`gradientSource`); sums over channels, for B and C, are
 *    made in workgroup memory and leave one partial result for 64 channels; sums over time, for A and D, one for each tile;
 * 4. partial results are added up.
 *
 * What lies between the launches is an eighth of all states; the work is cut by batch and channels so that it stays within a budget.
 * The formulas are those of `reference/sequence.ts`.
 */
import type { KernelArguments, TensorView } from "../../../backend.ts";
import { entryPoint, read, u32, workgroupGrid, write, type UniformValue } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { mathSource } from "../../wgsl/math.ts";
import { tripCounts, type TripCounts } from "../attention/tile.ts";
import { sumByChannel } from "./channel-sums.ts";
import { carryStates, log2OfE } from "./scan-carry.ts";

/** Channels of a workgroup, times of a tile, states that a thread holds at once. */
const lanes = 64;
const tileTimes = 8;
const heldStates = 4;

/** Partial sums that a workgroup leaves of its channels: gradients of B and C for `heldStates` states at the times of a tile. */
const tileSums = 2 * heldStates * tileTimes;

/** Elements of intermediate results: 64 MiB, half of what every adapter binds. */
const scratchBudget = 2 ** 24;

type Gradient = KernelArguments["selectiveScanGradient"];

/** The batches and channels worked on together, and where their intermediate results lie in `scratch`. */
interface Slice {
  readonly batchStart: number;
  readonly batches: number;
  readonly channelStart: number;
  readonly channels: number;
  readonly tiles: number;
  readonly groups: number;
  /**
   * Planes of [channels] by batch and tile, then by number: state at the start and later the gradient of A (stateSize planes); sum of step
   * sizes, later the gradient of D (one plane); gradient of the state at the end (stateSize planes).
   */
  readonly planes: number;
  /** A in base 2 transposed, and D: [stateSize + 1, channels]. */
  readonly constantsBase: number;
  /** Partial gradients of B and C: [channels / 64, batches, tiles, groups, tileSums]. */
  readonly partialBase: number;
  readonly elements: number;
}

function planSlice({ sequence, stateSize }: Gradient, part: Pick<Slice, "batchStart" | "batches" | "channelStart" | "channels">): Slice {
  const tiles = Math.ceil(sequence / tileTimes);
  const groups = Math.ceil(stateSize / heldStates);
  const planes = 2 * stateSize + 1;
  const constantsBase = part.batches * tiles * planes * part.channels;
  const partialBase = constantsBase + (stateSize + 1) * part.channels;
  const partials = Math.ceil(part.channels / lanes) * part.batches * tiles * groups * tileSums;
  return { ...part, tiles, groups, planes, constantsBase, partialBase, elements: partialBase + partials };
}

/** @see KernelArguments.selectiveScanGradient; `budget` is how many elements of intermediate results may exist at a time. */
export function selectiveScanGradient(runtime: WebGpuRuntime, parameters: Gradient, budget: number = scratchBudget): void {
  const { batch, channels } = parameters;
  const elementsOf = (batches: number, width: number): number =>
    planSlice(parameters, { batchStart: 0, batches, channelStart: 0, channels: width }).elements;
  let [batches, width] = [batch, channels];
  while (width > lanes && elementsOf(batches, width) > budget) width = Math.ceil(width / 2 / lanes) * lanes;
  while (batches > 1 && elementsOf(batches, width) > budget) batches = Math.ceil(batches / 2);
  const scratch = runtime.temporary("float32", [Math.max(1, elementsOf(batches, width))]);
  // Nothing in the batch still has gradients to overwrite with zeros.
  for (let batchStart = 0; batchStart < Math.max(1, batch); batchStart += Math.max(1, batches)) {
    for (let channelStart = 0; channelStart < channels; channelStart += width) {
      const part = {
        batchStart,
        batches: Math.min(batches, batch - batchStart),
        channelStart,
        channels: Math.min(width, channels - channelStart),
      };
      gradientOfSlice(runtime, parameters, planSlice(parameters, part), scratch);
    }
  }
  runtime.release(scratch);
}

function gradientOfSlice(runtime: WebGpuRuntime, parameters: Gradient, slice: Slice, scratch: TensorView): void {
  const { input, delta, stateMatrix, inputMatrix, outputMatrix, gradient, skip, sequence, stateSize } = parameters;
  const uniforms: Record<string, UniformValue> = {
    sequence: u32(sequence),
    allChannels: u32(parameters.channels),
    stateSize: u32(stateSize),
    deltaSoftplus: u32(Number(parameters.deltaSoftplus)),
    batchStart: u32(slice.batchStart),
    batches: u32(slice.batches),
    channelStart: u32(slice.channelStart),
    channels: u32(slice.channels),
    channelBlocks: u32(Math.ceil(slice.channels / lanes)),
    tiles: u32(slice.tiles),
    groups: u32(slice.groups),
    planes: u32(slice.planes),
    constantsBase: u32(slice.constantsBase),
    partialBase: u32(slice.partialBase),
  };
  const trips = tripCounts(runtime.isSoftware, { tileTimes, halfTimes: tileTimes / 2, heldStates });
  Object.assign(uniforms, trips.uniforms);
  const variant = trips.isUnrolled ? "unrolled" : "";
  const workgroups = workgroupGrid(slice.batches * slice.tiles * Math.ceil(slice.channels / lanes));
  runtime.launch({
    name: "selectiveScanGradient tiles",
    variant,
    bindings: {
      input: read(input),
      delta: read(delta),
      gradient: read(gradient),
      inputMatrix: read(inputMatrix),
      outputMatrix: read(outputMatrix),
      stateMatrix: read(stateMatrix),
      // Not read when absent.
      skip: read(skip ?? input),
      scratch: write(scratch),
    },
    uniforms: { ...uniforms, hasSkip: u32(Number(skip !== undefined)) },
    workgroups,
    code: () => tileSource(trips),
  });
  carrySlice(runtime, parameters, slice, scratch);
  runtime.launch({
    name: "selectiveScanGradient",
    variant,
    bindings: {
      input: read(input),
      delta: read(delta),
      gradient: read(gradient),
      inputMatrix: read(inputMatrix),
      outputMatrix: read(outputMatrix),
      scratch: write(scratch),
      inputGradient: write(parameters.inputGradient),
      deltaGradient: write(parameters.deltaGradient),
    },
    uniforms,
    workgroups,
    code: () => gradientSource(trips),
  });
  sumByChannel(runtime, {
    partials: scratch,
    rows: slice.batches * slice.tiles,
    rowStride: slice.planes * slice.channels,
    planes: stateSize,
    channels: slice.channels,
    matrix: parameters.stateMatrixGradient,
    vector: parameters.skipGradient,
    channelStart: slice.channelStart,
    accumulate: slice.batchStart > 0,
  });
  sumOverChannels(runtime, parameters, slice, scratch);
}

function carrySlice(runtime: WebGpuRuntime, parameters: Gradient, slice: Slice, scratch: TensorView): void {
  const { stateMatrix, initialState, finalStateGradient, initialStateGradient, stateSize } = parameters;
  const common = {
    chunkStates: scratch,
    planes: slice.planes,
    chunks: slice.tiles,
    batches: slice.batches,
    channels: slice.channels,
    stateSize,
    stateMatrix,
    batchStart: slice.batchStart,
    channelStart: slice.channelStart,
    allChannels: parameters.channels,
  };
  carryStates(runtime, { ...common, firstPlane: 0, reverse: false, start: initialState, end: undefined });
  carryStates(runtime, { ...common, firstPlane: stateSize + 1, reverse: true, start: finalStateGradient, end: initialStateGradient });
}

/** Adds the partial gradients of B and C of a slice; the first channels overwrite what is there. */
function sumOverChannels(runtime: WebGpuRuntime, parameters: Gradient, slice: Slice, scratch: TensorView): void {
  const { inputMatrixGradient, outputMatrixGradient, sequence, stateSize } = parameters;
  const count = slice.batches * slice.tiles * slice.groups * tileSums;
  runtime.launch({
    name: "selectiveScanGradient matrices",
    bindings: {
      scratch: read(scratch),
      inputMatrixGradient: write(inputMatrixGradient),
      outputMatrixGradient: write(outputMatrixGradient),
    },
    uniforms: {
      count: u32(count),
      rows: u32(Math.ceil(slice.channels / lanes)),
      partialBase: u32(slice.partialBase),
      batchStart: u32(slice.batchStart),
      tiles: u32(slice.tiles),
      groups: u32(slice.groups),
      sequence: u32(sequence),
      stateSize: u32(stateSize),
      accumulate: u32(Number(slice.channelStart > 0)),
    },
    workgroups: workgroupGrid(Math.ceil(count / lanes)),
    code: () =>
      entryPoint(
        lanes,
        `  if (index >= uniforms.count) { return; }
  // As \`addUp\` of the gradient's shader lays them out.
  let row = index % 32u;
  let group = index / ${tileSums}u;
  let tile = group / uniforms.groups;
  let n = (group % uniforms.groups) * ${heldStates}u + row % 4u;
  let time = (tile % uniforms.tiles) * ${tileTimes}u + select(4u, 0u, (index & 32u) != 0u) + (row / 4u) % 4u;
  if (n >= uniforms.stateSize || time >= uniforms.sequence) { return; }
  var total = 0.0;
  for (var i = 0u; i < uniforms.rows; i++) {
    total += scratch[uniforms.scratchOffset + uniforms.partialBase + i * uniforms.count + index];
  }
  let place = ((uniforms.batchStart + tile / uniforms.tiles) * uniforms.sequence + time) * uniforms.stateSize + n;
  if (row < 16u) {
    if (uniforms.accumulate != 0u) { total += outputMatrixGradient[uniforms.outputMatrixGradientOffset + place]; }
    outputMatrixGradient[uniforms.outputMatrixGradientOffset + place] = total;
  } else {
    if (uniforms.accumulate != 0u) { total += inputMatrixGradient[uniforms.inputMatrixGradientOffset + place]; }
    inputMatrixGradient[uniforms.inputMatrixGradientOffset + place] = total;
  }`,
      ),
  });
}

const states = (text: (i: number) => string): string => Array.from({ length: heldStates }, (_, i) => text(i)).join(", ");

/** Declarations of both walks. Loops over the tile have `trips`, which a GPU's compiler unrolls to keep arrays in registers. */
const tileFunctions = `
// Rows of B, then of C, at the times of the tile.
var<workgroup> matrices: array<vec4<f32>, ${2 * tileTimes}>;

fn inputMatrixAt(row: u32, n: u32) -> f32 {
  return select(0.0, inputMatrix[uniforms.inputMatrixOffset + row * uniforms.stateSize + n], n < uniforms.stateSize);
}

fn outputMatrixAt(row: u32, n: u32) -> f32 {
  return select(0.0, outputMatrix[uniforms.outputMatrixOffset + row * uniforms.stateSize + n], n < uniforms.stateSize);
}
`;

/**
 * Where a thread stands, and its tile of inputs x, step sizes d and gradients g. Past the end of the sequence or of the channels all are
 * 0, which changes neither states nor sums; addresses are clamped, so that all loads go out at once.
 */
const tileLoads = `  let group = workgroup / uniforms.channelBlocks;
  let column = (workgroup % uniforms.channelBlocks) * ${lanes}u + lane;
  let batch = group / uniforms.tiles;
  let tile = group % uniforms.tiles;
  if (batch >= uniforms.batches) { return; }
  let inside = column < uniforms.channels;
  let channel = uniforms.channelStart + min(column, uniforms.channels - 1u);
  let first = (uniforms.batchStart + batch) * uniforms.sequence + tile * ${tileTimes}u;
  let times = min(${tileTimes}u, uniforms.sequence - tile * ${tileTimes}u);
  let planesBase = uniforms.scratchOffset + group * uniforms.planes * uniforms.channels + column;
  var x: array<f32, ${tileTimes}>;
  var g: array<f32, ${tileTimes}>;
  var d: array<f32, ${tileTimes}>;
  for (var i = 0u; i < tileTimes; i++) {
    let place = (first + min(i, times - 1u)) * uniforms.allChannels + channel;
    let isGiven = inside && i < times;
    x[i] = select(0.0, input[uniforms.inputOffset + place], isGiven);
    g[i] = select(0.0, gradient[uniforms.gradientOffset + place], isGiven);
    d[i] = select(0.0, delta[uniforms.deltaOffset + place], isGiven);
  }
  if (uniforms.deltaSoftplus != 0u) {
    for (var i = 0u; i < tileTimes; i++) { d[i] = select(0.0, softplusF32(d[i]), inside && i < times); }
  }`;

/** Fetches B and C for the states from n on. */
const matrixLoads = `    workgroupBarrier();
    if (lane < ${2 * tileTimes}u) {
      let row = first + min(lane % ${tileTimes}u, times - 1u);
      if (lane < ${tileTimes}u) {
        matrices[lane] = vec4<f32>(${states((j) => `inputMatrixAt(row, n + ${j}u)`)});
      } else {
        matrices[lane] = vec4<f32>(${states((j) => `outputMatrixAt(row, n + ${j}u)`)});
      }
    }
    workgroupBarrier();`;

/** Every tile by itself. What g[t] gives to the state before the tile is g[t] C[t] decayed through all steps up to t. */
function tileSource(trips: TripCounts): string {
  return `${mathSource(["softplusF32"])}
${tileFunctions}
fn rateOf(channel: u32, n: u32) -> f32 {
  let rate = ${log2OfE} * stateMatrix[uniforms.stateMatrixOffset + channel * uniforms.stateSize + n];
  return select(0.0, rate, n < uniforms.stateSize);
}
${entryPoint(
  lanes,
  `${trips.code}
${tileLoads}
  let constants = uniforms.scratchOffset + uniforms.constantsBase + column;
  let keepsConstants = inside && group == 0u;
  for (var n = 0u; n < uniforms.stateSize; n += ${heldStates}u) {
${matrixLoads}
    let rate = vec4<f32>(${states((j) => `rateOf(channel, n + ${j}u)`)});
    var h = vec4<f32>();
    var decayed = vec4<f32>(1.0);
    var before = vec4<f32>();
    for (var i = 0u; i < tileTimes; i++) {
      let decay = exp2(d[i] * rate);
      h = decay * h + (d[i] * x[i]) * matrices[i];
      decayed *= decay;
      before += g[i] * decayed * matrices[${tileTimes}u + i];
    }
    for (var j = 0u; j < heldStates; j++) {
      if (inside && n + j < uniforms.stateSize) {
        scratch[planesBase + (n + j) * uniforms.channels] = h[j];
        scratch[planesBase + (uniforms.stateSize + 1u + n + j) * uniforms.channels] = before[j];
        if (keepsConstants) { scratch[constants + (n + j) * uniforms.channels] = rate[j]; }
      }
    }
  }
  if (inside) {
    var sum = 0.0;
    for (var i = 0u; i < tileTimes; i++) { sum += d[i]; }
    scratch[planesBase + uniforms.stateSize * uniforms.channels] = sum;
  }
  if (keepsConstants) {
    var skipWeight = 0.0;
    if (uniforms.hasSkip != 0u) { skipWeight = skip[uniforms.skipOffset + channel]; }
    scratch[constants + uniforms.stateSize * uniforms.channels] = skipWeight;
  }`,
)}`;
}

const ln2 = "0.6931471805599453";

const pairwise = (terms: readonly string[]): string =>
  terms.length === 1 ? terms[0]! : `(${pairwise(terms.slice(0, terms.length / 2))} + ${pairwise(terms.slice(terms.length / 2))})`;

/** Four steps back from step `last`, then their sums over channels. h is the state after step i, `later` what λ gets from later times. */
function backHalf(last: number, sumsStart: number): string {
  return `      for (var step = 0u; step < halfTimes; step++) {
        let i = ${last}u - step;
        let lambda = g[i] * matrices[${tileTimes}u + i] + later;
        let decaying = decay[i] * before[i];
        inputSums[i] += dot(lambda, matrices[i]);
        decaySums[i] += dot(lambda * rate, decaying);
        rateGradient += d[i] * lambda * decaying;
        terms[(3u - step) * ${lanes}u + lane] = g[i] * h;
        terms[(7u - step) * ${lanes}u + lane] = (d[i] * x[i]) * lambda;
        later = decay[i] * lambda;
        h = before[i];
      }
      workgroupBarrier();
      addUp(partials + ${sumsStart}u, lane);`;
}

function gradientSource(trips: TripCounts): string {
  return `${mathSource(["softplusF32", "sigmoidF32"])}
${tileFunctions}
// What each lane adds to the gradients of C at four times (rows 0 … 3) and of B (rows 4 … 7), and sums over eight lanes of it.
var<workgroup> terms: array<vec4<f32>, ${8 * lanes}>;
var<workgroup> sums: array<vec4<f32>, ${lanes}>;

// Sums of each row over the lanes, to be followed by a barrier before the rows are written again. The lanes that read together start at
// different places, or they would wait for one memory bank.
fn addUp(place: u32, lane: u32) {
  let from0 = lane * 8u;
  let turn = lane % 8u;
  sums[lane] = ${pairwise(Array.from({ length: 8 }, (_, i) => `terms[from0 + (turn + ${i}u) % 8u]`))};
  workgroupBarrier();
  if (lane < 32u) {
    let row = (lane / 4u) * 8u;
    let component = lane % 4u;
    scratch[place + lane] = ${pairwise(Array.from({ length: 8 }, (_, i) => `sums[row + ${i}u][component]`))};
  }
}

fn planeAt(base: u32, n: u32, inside: bool) -> f32 {
  return select(0.0, scratch[base + n * uniforms.channels], inside && n < uniforms.stateSize);
}
${entryPoint(
  lanes,
  `${trips.code}
${tileLoads}
  let constants = uniforms.scratchOffset + uniforms.constantsBase + column;
  let laterBase = planesBase + (uniforms.stateSize + 1u) * uniforms.channels;
  let blockPartials = ((workgroup % uniforms.channelBlocks) * uniforms.batches * uniforms.tiles + group) * uniforms.groups;
  var inputSums: array<f32, ${tileTimes}>;
  var decaySums: array<f32, ${tileTimes}>;
  for (var n = 0u; n < uniforms.stateSize; n += ${heldStates}u) {
${matrixLoads}
    let partials = uniforms.scratchOffset + uniforms.partialBase + (blockPartials + n / ${heldStates}u) * ${tileSums}u;
    let rate = vec4<f32>(${states((j) => `planeAt(constants, n + ${j}u, inside)`)});
    var h = vec4<f32>(${states((j) => `planeAt(planesBase, n + ${j}u, inside)`)});
    var later = vec4<f32>(${states((j) => `planeAt(laterBase, n + ${j}u, inside)`)});
    var rateGradient = vec4<f32>();
    var before: array<vec4<f32>, ${tileTimes}>;
    var decay: array<vec4<f32>, ${tileTimes}>;
    for (var i = 0u; i < tileTimes; i++) {
      before[i] = h;
      decay[i] = exp2(d[i] * rate);
      h = decay[i] * h + (d[i] * x[i]) * matrices[i];
    }
${backHalf(7, 0)}
${backHalf(3, 32)}
    for (var j = 0u; j < heldStates; j++) {
      if (inside && n + j < uniforms.stateSize) { scratch[planesBase + (n + j) * uniforms.channels] = rateGradient[j]; }
    }
  }
  if (!inside) { return; }
  let skipWeight = scratch[constants + uniforms.stateSize * uniforms.channels];
  var skipGradient = 0.0;
  for (var i = 0u; i < tileTimes; i++) {
    skipGradient += g[i] * x[i];
    if (i < times) {
      let place = (first + i) * uniforms.allChannels + channel;
      inputGradient[uniforms.inputGradientOffset + place] = skipWeight * g[i] + d[i] * inputSums[i];
      var slope = 1.0;
      if (uniforms.deltaSoftplus != 0u) { slope = sigmoidF32(delta[uniforms.deltaOffset + place]); }
      deltaGradient[uniforms.deltaGradientOffset + place] = (x[i] * inputSums[i] + ${ln2} * decaySums[i]) * slope;
    }
  }
  scratch[planesBase + uniforms.stateSize * uniforms.channels] = skipGradient;`,
)}`;
}
