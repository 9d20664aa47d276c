/** Which lines a kernel transforms, and where their points lie. */
import { u32, type UniformValue } from "../../program.ts";
import { fineRoots } from "./tables.ts";

/**
 * One step of a transform longer than a workgroup holds. Its lines are numbered (o, b, a, i), i fastest. Point j of a line is point
 * j * inputStep + a * inputShiftA of the transform's line o, which lies a * inputA + b * inputB elements further; result k is result
 * k * outputStep + a * outputShiftA + b * outputShiftB.
 */
export interface StepLayout {
  readonly sizeA: number;
  readonly sizeB: number;
  readonly inputA: number;
  readonly inputB: number;
  readonly inputShiftA: number;
  readonly inputStep: number;
  readonly outputShiftA: number;
  readonly outputShiftB: number;
  readonly outputStep: number;
}

/** Lines of [outer, length, inner] are numbered (o, i), or as `step` says. */
export interface LineLayout {
  readonly count: number;
  readonly step?: StepLayout;
}

/** Marks lines past the last one in a tile. */
const noLine = "0xffffffffu";

export function lineUniforms({ count, step }: LineLayout, inputOuter: number, outputOuter: number): Record<string, UniformValue> {
  const uniforms: Record<string, UniformValue> = { lineCount: u32(count), inputOuter: u32(inputOuter), outputOuter: u32(outputOuter) };
  if (step !== undefined) for (const [name, value] of Object.entries(step)) uniforms[name] = u32(value as number);
  return uniforms;
}

/**
 * `findLine(number)`: base of input and output, shift of input and output; `loadLine(line, j)` and, unless the target is "half",
 * `storeLine(line, k, value)`, with the roots between two steps when `twiddle`.
 */
export function lineSource(steps: boolean, twiddle: boolean, stores: boolean): string {
  const find = steps
    ? `  let a = rest % uniforms.sizeA;
  rest /= uniforms.sizeA;
  let b = rest % uniforms.sizeB;
  rest /= uniforms.sizeB;
  return vec4<u32>(rest * uniforms.inputOuter + a * uniforms.inputA + b * uniforms.inputB + i, rest * uniforms.outputOuter + i,
    a * uniforms.inputShiftA, a * uniforms.outputShiftA + b * uniforms.outputShiftB);`
    : "  return vec4<u32>(rest * uniforms.inputOuter + i, rest * uniforms.outputOuter + i, 0u, 0u);";
  const point = steps ? "j * uniforms.inputStep + line.z" : "j";
  const result = steps ? "k * uniforms.outputStep + line.w" : "k";
  return `fn findLine(number: u32) -> vec4<u32> {
  if (number >= uniforms.lineCount) { return vec4<u32>(${noLine}); }
  var rest = number / uniforms.inner;
  let i = number - rest * uniforms.inner;
${find}
}
fn loadLine(line: vec4<u32>, j: u32) -> vec2<f32> {
  if (line.x == ${noLine}) { return vec2<f32>(); }
  return loadPoint(line.x, ${point});
}
${
  stores
    ? `fn storeLine(line: vec4<u32>, k: u32, value: vec2<f32>) {
  if (line.x == ${noLine}) { return; }
${
  twiddle
    ? `  let turn = k * line.z;
  let root = multiply(stepRoots[turn % ${fineRoots}u], stepRoots[${fineRoots}u + turn / ${fineRoots}u]);
  storePoint(line.y, ${result}, multiply(value, root));`
    : `  storePoint(line.y, ${result}, value);`
}
}
`
    : ""
}`;
}

/** Stores frequencies 0 … points / 2 and their opposites from workgroup memory; `at(k)` names point k of line `t`. */
export function splitLoop(lanes: string, tileLines: string, line: string, at: (k: string) => string): string {
  return `  let pairs = uniforms.points / 2u + 1u;
  for (var e = lane; e < pairs * ${tileLines}; e += ${lanes}) {
    let across = uniforms.storeAcross != 0u;
    let t = select(e / pairs, e % ${tileLines}, across);
    let k = select(e % pairs, e / ${tileLines}, across);
    let line = ${line};
    if (line.x != ${noLine}) {
      let opposite = select(uniforms.points - k, 0u, k == 0u);
      splitReal(line.y, k, finishPoint(k, ${at("k")}), finishPoint(opposite, ${at("opposite")}));
    }
  }`;
}
