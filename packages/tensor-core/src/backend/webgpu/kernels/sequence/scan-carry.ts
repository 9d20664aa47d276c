/**
 * The middle of a scan in chunks: chunks have been walked through from zero states, all at once; here their results are chained, so that
 * each chunk learns the state it really starts with.
 */
import type { TensorView } from "../../../backend.ts";
import { entryPoint, read, u32, workgroupGrid, write } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";

const workgroupSize = 64;

/** Chunks whose loads are under way together. */
const lookAhead = 8;

/** log2(e): rates are kept for base 2, which is what hardware computes. */
export const log2OfE = "1.4426950408889634";

/** One direction of a chunked scan. */
export interface Carry {
  /**
   * [batches, chunks, any number of planes, channels]. Plane `stateSize` holds each chunk's sum of step sizes d, by which a state decays
   * through the chunk: exp(A Σ d). Planes `firstPlane` … hold what each chunk ends with when it starts from zero; what it does start with
   * replaces that.
   */
  readonly chunkStates: TensorView;
  readonly firstPlane: number;
  readonly planes: number;
  readonly chunks: number;
  readonly batches: number;
  readonly channels: number;
  readonly stateSize: number;
  /** From the last chunk to the first. */
  readonly reverse: boolean;
  /** A, [all channels, stateSize]. */
  readonly stateMatrix: TensorView;
  /** [all batches, all channels, stateSize]: what the first chunk starts with (absent = zeros), and what the last one ends with. */
  readonly start: TensorView | undefined;
  readonly end: TensorView | undefined;
  /** The part of all batches and channels at hand. */
  readonly batchStart: number;
  readonly channelStart: number;
  readonly allChannels: number;
}

/** Chains chunks, one thread a state. Without chunks `end` becomes `start`. */
export function carryStates(runtime: WebGpuRuntime, carry: Carry): void {
  const { chunkStates, stateMatrix, start, end, batches, channels, stateSize } = carry;
  const count = batches * channels * stateSize;
  const ahead = Array.from({ length: lookAhead }, (_, i) => i);
  runtime.launch({
    name: "selectiveScan carry",
    variant: end === undefined ? "" : "end",
    bindings: {
      chunkStates: write(chunkStates),
      stateMatrix: read(stateMatrix),
      // Not read when absent.
      start: read(start ?? stateMatrix),
      ...(end && { end: write(end) }),
    },
    uniforms: {
      count: u32(count),
      channels: u32(channels),
      stateSize: u32(stateSize),
      chunks: u32(carry.chunks),
      chunkStride: u32(carry.planes * channels),
      firstPlane: u32(carry.firstPlane),
      reverse: u32(Number(carry.reverse)),
      hasStart: u32(Number(start !== undefined)),
      batchStart: u32(carry.batchStart),
      channelStart: u32(carry.channelStart),
      allChannels: u32(carry.allChannels),
    },
    workgroups: workgroupGrid(Math.ceil(count / workgroupSize)),
    code: () =>
      entryPoint(
        workgroupSize,
        `  if (index >= uniforms.count) { return; }
  let column = index % uniforms.channels;
  let rest = index / uniforms.channels;
  let n = rest % uniforms.stateSize;
  let row = rest / uniforms.stateSize;
  let channel = uniforms.channelStart + column;
  let place = ((uniforms.batchStart + row) * uniforms.allChannels + channel) * uniforms.stateSize + n;
  let rate = ${log2OfE} * stateMatrix[uniforms.stateMatrixOffset + channel * uniforms.stateSize + n];
  let local = uniforms.chunkStatesOffset + row * uniforms.chunks * uniforms.chunkStride + column;
  let plane = (uniforms.firstPlane + n) * uniforms.channels;
  let sumPlane = uniforms.stateSize * uniforms.channels;
  var state = 0.0;
  if (uniforms.hasStart != 0u) { state = start[uniforms.startOffset + place]; }
  for (var k = 0u; k < uniforms.chunks; k += ${lookAhead}u) {
    let last = uniforms.chunks - 1u;
${ahead
  .map(
    (i) => `    let chunk${i} = min(k + ${i}u, last);
    let place${i} = local + select(chunk${i}, last - chunk${i}, uniforms.reverse != 0u) * uniforms.chunkStride;
    let ending${i} = chunkStates[place${i} + plane];
    let decay${i} = exp2(rate * chunkStates[place${i} + sumPlane]);`,
  )
  .join("\n")}
${ahead
  .map(
    (i) => `    if (k + ${i}u < uniforms.chunks) {
      chunkStates[place${i} + plane] = state;
      state = decay${i} * state + ending${i};
    }`,
  )
  .join("\n")}
  }
${end === undefined ? "" : "  end[uniforms.endOffset + place] = state;"}`,
      ),
  });
}
