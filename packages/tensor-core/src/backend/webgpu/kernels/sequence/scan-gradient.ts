/**
 * Backward of the selective scan, in tiles of eight times, all tiles at once:
 *
 * 1. every tile is walked from zero: its state at the end, and what its outputs' gradients give to the state before it (`tileSource`);
 * 2. tiles are chained forwards and backwards (`scan-carry.ts`): each knows the state h it starts with, and the gradient λ it ends with;
 * 3. each tile is walked forwards and back with its eight states in registers (`gradientSource`); sums over channels, for B and C, are
 *    made in workgroup memory and leave one partial result for 64 channels; sums over time, for A and D, one for each tile;
 * 4. partial results are added up.
 *
 * What lies between the launches is an eighth of all states; the work is cut by batch and channels so that it stays within a budget. It is
 * not cut by time: one batch of 64 channels with 16 states takes 1.2 kB a step, so that sequences beyond some 110,000 steps end in an
 * `OutOfMemoryError` on adapters that bind 128 MiB.
 * The formulas are those of `reference/sequence.ts`.
 */
import type { KernelArguments, TensorView } from "../../../backend.ts";
import { entryPoint, read, u32, workgroupGrid, write, type UniformValue } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { tripCounts } from "../../trip-counts.ts";
import { sumByChannel } from "./channel-sums.ts";
import { carryStates } from "./scan-carry.ts";
import { gradientSource, heldStates, lanes, tileSource, tileSums, tileTimes } from "./scan-gradient-source.ts";

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
