import { entryPoint, u32, workgroupGrid } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { accessSource } from "./access.ts";
import { butterflySource } from "./butterfly.ts";
import { jobArguments, textOf, textVariant, type TransformJob, type TransformText } from "./job.ts";
import { lineSource, splitLoop } from "./lines.ts";

/** Radices with a butterfly in registers when there are butterflies at all; others are summed by definition. */
const butterflyRadices: readonly number[] = [8, 7, 5, 4, 3, 2];
/** Largest prime summed by definition. */
const largestPrime = 61;
const lanes = 128;
const mostLines = 64;
/** Points of one of two halves of workgroup memory: with the lines' descriptions they fill the 16 KiB of every adapter. */
const tilePoints = 960;
/** Longest line of the kernel. */
export const longestLoop: number = tilePoints;

/** Radices of the passes for the one kernel whose radices are numbers, not text; undefined when it does not take this one. */
export function loopRadices(length: number): readonly number[] | undefined {
  if (length > longestLoop) return undefined;
  const radices: number[] = [];
  let rest = length;
  for (const radix of [8, 4, 2, 3, 5, 7]) {
    while (rest % radix === 0) {
      radices.push(radix);
      rest /= radix;
    }
  }
  for (let prime = 11; rest > 1 && prime <= largestPrime; prime += 2) {
    while (rest % prime === 0) {
      radices.push(prime);
      rest /= prime;
    }
  }
  return rest === 1 ? radices : undefined;
}

/**
 * Records transforms of a length that `loopRadices` takes: one pipeline for all of them. Without butterflies every pass is a sum, which
 * takes more work and compiles many times faster.
 */
export function launchLoop(runtime: WebGpuRuntime, job: TransformJob, hasButterflies: boolean): void {
  const { length, lines } = job;
  const radices = loopRadices(length)!;
  const words = [0, 0];
  radices.forEach((radix, i) => (words[i >> 2]! |= radix << (8 * (i & 3))));
  const tileLines = Math.min(mostLines, Math.floor(tilePoints / length), lines.count);
  const text = textOf(job);
  const { bindings, uniforms } = jobArguments(runtime, job);
  runtime.launch({
    name: "fftLoop",
    variant: `${hasButterflies ? "butterflies " : ""}${textVariant(text)}`,
    bindings,
    uniforms: {
      ...uniforms,
      length: u32(length),
      tileLines: u32(tileLines),
      passCount: u32(radices.length),
      radicesLow: u32(words[0]! >>> 0),
      radicesHigh: u32(words[1]! >>> 0),
    },
    workgroups: workgroupGrid(Math.ceil(lines.count / tileLines)),
    code: () => loopSource(text, hasButterflies ? butterflyRadices : []),
  });
}

/** A pass of `radix` from one half of memory to the other; `before` as in the tile kernel. */
function passSource(radix: number): string {
  const points = Array.from({ length: radix }, (_, j) => `memory[at + ${j}u * count]`);
  const results = Array.from({ length: radix }, (_, k) => {
    const value = k === 0 ? "v[0]" : `multiply(v[${k}], roots[${k}u * turn])`;
    return `    memory[start + ${k}u * before] = ${value};`;
  });
  const type = `array<vec2<f32>, ${radix}>`;
  return `${butterflySource(radix)}
fn pass${radix}(lane: u32, half: u32, otherHalf: u32, before: u32) {
  let count = uniforms.length / ${radix}u;
  for (var e = lane; e < count * uniforms.tileLines; e += ${lanes}u) {
    let t = e / count;
    let b = e - t * count;
    let p = b / before;
    let turn = p * before;
    let at = half + t * uniforms.length + b;
    let start = otherHalf + t * uniforms.length + b - turn + turn * ${radix}u;
    let v = dft${radix}(${type}(${points.join(", ")}));
${results.join("\n")}
  }
}
`;
}

const sumPass = `fn passSum(lane: u32, half: u32, otherHalf: u32, before: u32, radix: u32) {
  let count = uniforms.length / radix;
  for (var e = lane; e < uniforms.length * uniforms.tileLines; e += ${lanes}u) {
    let t = e / uniforms.length;
    let k = (e - t * uniforms.length) / count;
    let b = e - t * uniforms.length - k * count;
    let turn = (b / before) * before;
    let at = half + t * uniforms.length + b;
    var sum = memory[at];
    var angle = 0u;
    for (var j = 1u; j < radix; j++) {
      angle += k * count;
      if (angle >= uniforms.length) { angle -= uniforms.length; }
      sum += multiply(memory[at + j * count], roots[angle]);
    }
    memory[otherHalf + t * uniforms.length + b - turn + turn * radix + k * before] = multiply(sum, roots[k * turn]);
  }
}
`;

function loopSource({ source, target, steps, twiddle, convolves }: TransformText, butterflies: readonly number[]): string {
  const isHalf = target.kind === "half";
  const store = isHalf
    ? splitLoop(`${lanes}u`, "uniforms.tileLines", "lines[t]", (k) => `memory[half + t * uniforms.length + ${k}]`)
    : `  for (var e = lane; e < total; e += ${lanes}u) {
    let across = uniforms.storeAcross != 0u;
    let t = select(e / uniforms.length, e % uniforms.tileLines, across);
    let k = select(e % uniforms.length, e / uniforms.tileLines, across);
    storeLine(lines[t], k, memory[half + t * uniforms.length + k]);
  }`;
  return `var<workgroup> memory: array<vec2<f32>, ${2 * tilePoints}>;
var<workgroup> lines: array<vec4<u32>, ${mostLines}>;
${accessSource(source, target)}
${lineSource(steps, twiddle, !isHalf)}
${butterflies.map((radix) => passSource(radix)).join("")}
${sumPass}
${entryPoint(
  lanes,
  `  if (lane < uniforms.tileLines) { lines[lane] = findLine(workgroup * uniforms.tileLines + lane); }
  workgroupBarrier();
  let total = uniforms.length * uniforms.tileLines;
  for (var e = lane; e < total; e += ${lanes}u) {
    let across = uniforms.loadAcross != 0u;
    let t = select(e / uniforms.length, e % uniforms.tileLines, across);
    let j = select(e % uniforms.length, e / uniforms.tileLines, across);
    memory[t * uniforms.length + j] = loadLine(lines[t], j);
  }
  workgroupBarrier();
  var half = 0u;
  for (var round = 0u; round < ${convolves ? 2 : 1}u; round++) {
    var before = 1u;
    for (var i = 0u; i < uniforms.passCount; i++) {
      let radix = (select(uniforms.radicesLow, uniforms.radicesHigh, i >= 4u) >> (8u * (i & 3u))) & 0xffu;
      let otherHalf = ${tilePoints}u - half;
      switch radix {
${butterflies.map((radix) => `        case ${radix}u: { pass${radix}(lane, half, otherHalf, before); }\n`).join("")}        default: { passSum(lane, half, otherHalf, before, radix); }
      }
      workgroupBarrier();
      half = otherHalf;
      before *= radix;
    }
${
  convolves
    ? `    if (round == 0u) {
      for (var e = lane; e < total; e += ${lanes}u) {
        memory[half + e] = multiply(memory[half + e], spectrum[e % uniforms.length]).yx;
      }
      workgroupBarrier();
    }`
    : ""
}
  }
${store}`,
)}`;
}
