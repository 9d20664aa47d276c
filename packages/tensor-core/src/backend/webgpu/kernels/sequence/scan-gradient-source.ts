/** The two walks of the selective scan's backward, in WGSL; `scan-gradient.ts` says what they are for. */
import { entryPoint } from "../../program.ts";
import type { TripCounts } from "../../trip-counts.ts";
import { mathSource } from "../../wgsl/math.ts";
import { log2OfE } from "./scan-carry.ts";

/** Channels of a workgroup, times of a tile, states that a thread holds at once. */
export const lanes: number = 64;
export const tileTimes: number = 8;
export const heldStates: number = 4;

/** Partial sums that a workgroup leaves of its channels: gradients of B and C for `heldStates` states at the times of a tile. */
export const tileSums: number = 2 * heldStates * tileTimes;

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
export function tileSource(trips: TripCounts): string {
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

export function gradientSource(trips: TripCounts): string {
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
