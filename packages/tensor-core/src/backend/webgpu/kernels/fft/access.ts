/**
 * How kernels read the points of a line and write its results: complex arrays, or the packing of real ones fused into the transform.
 *
 * All transforms are forward ones. An inverse exchanges real and imaginary parts on the way in and on the way out; the kinds that only
 * inverses use ("half", "hermitian", "real" and "realPart" targets) do that themselves.
 */
import { u32, type KernelBinding, type UniformValue } from "../../program.ts";

/**
 * complex: two arrays. pairs: one array of (re, im). product: pairs times `spectrum`, parts exchanged. real: z[j] = x[2j] + i x[2j+1].
 * plain: reals as they are. half: the half-length spectrum that belongs to the non-negative frequencies of an even number of reals.
 * hermitian: the whole spectrum from the non-negative frequencies of an odd number of reals.
 */
export type SourceKind = "complex" | "pairs" | "product" | "real" | "plain" | "half" | "hermitian";

/**
 * complex, pairs, real: as for sources. realPart: the reals of an inverse. bins: the first `bins` frequencies. half: frequencies of an even
 * number of reals, taken apart from the half-length transform.
 */
export type TargetKind = "complex" | "pairs" | "real" | "realPart" | "bins" | "half";

/** Where points come from. */
export interface Source {
  readonly kind: SourceKind;
  readonly bindings: Readonly<Record<string, KernelBinding>>;
  /** Elements of the arrays from one line to the next along `outer`. */
  readonly outerStride: number;
  /** Bluestein: points are multiplied by it, and zero from its length on. */
  readonly chirp?: KernelBinding;
}

/** Where results go. */
export interface Target {
  readonly kind: TargetKind;
  readonly bindings: Readonly<Record<string, KernelBinding>>;
  readonly outerStride: number;
  /** Bluestein: results (parts exchanged) are multiplied by it, and none is written from its length on. */
  readonly chirp?: KernelBinding;
}

/** Numbers that the access functions read. */
export interface AccessNumbers {
  /** Elements between neighbours along a line: the size of the axes behind it. */
  readonly inner: number;
  /** Points of the complex transform asked for (half the reals for "real", "half"); Bluestein's padding not counted. */
  readonly points: number;
  /** Frequencies stored of a real signal. */
  readonly bins: number;
  readonly scale: number;
}

export function accessUniforms({ inner, points, bins, scale }: AccessNumbers): Record<string, UniformValue> {
  return { inner: u32(inner), points: u32(points), bins: u32(bins), scale: { type: "f32", value: scale } };
}

export function accessBindings(source: Source, target: Target): Record<string, KernelBinding> {
  const chirp = source.chirp ?? target.chirp;
  return { ...source.bindings, ...target.bindings, ...(chirp && { chirp }) };
}

/** Part of a pipeline's variant. */
export function accessVariant(source: Source, target: Target): string {
  return `${source.kind}${source.chirp ? "*chirp" : ""} ${target.kind}${target.chirp ? "*chirp" : ""}`;
}

/** `multiply` of complex numbers. */
export const multiplySource: string = `fn multiply(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  return vec2<f32>(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}
`;

const sources: Readonly<Record<SourceKind, string>> = {
  complex: `let at = base + j * uniforms.inner;
  let value = vec2<f32>(inputReal[uniforms.inputRealOffset + at], inputImaginary[uniforms.inputImaginaryOffset + at]);`,
  pairs: "let value = sourcePairs[uniforms.sourcePairsOffset + base + j * uniforms.inner];",
  product: "let value = multiply(sourcePairs[uniforms.sourcePairsOffset + base + j * uniforms.inner], spectrum[j]).yx;",
  real: `let at = uniforms.inputOffset + base + 2u * j * uniforms.inner;
  let value = vec2<f32>(input[at], input[at + uniforms.inner]);`,
  plain: "let value = vec2<f32>(input[uniforms.inputOffset + base + j * uniforms.inner], 0.0);",
  half: `let at = base + j * uniforms.inner;
  let opposite = base + (uniforms.points - j) * uniforms.inner;
  var a = vec2<f32>(inputReal[uniforms.inputRealOffset + at], inputImaginary[uniforms.inputImaginaryOffset + at]);
  var b = vec2<f32>(inputReal[uniforms.inputRealOffset + opposite], -inputImaginary[uniforms.inputImaginaryOffset + opposite]);
  if (j == 0u) {
    a.y = 0.0;
    b.y = 0.0;
  }
  let root = halfRoots[j];
  let odd = multiply(a - b, vec2<f32>(root.x, -root.y));
  let value = vec2<f32>(a.y + b.y + odd.x, a.x + b.x - odd.y);`,
  hermitian: `let mirrored = j >= uniforms.bins;
  let at = base + select(j, uniforms.points - j, mirrored) * uniforms.inner;
  var part = inputImaginary[uniforms.inputImaginaryOffset + at];
  if (j == 0u) { part = 0.0; }
  let value = vec2<f32>(select(part, -part, mirrored), inputReal[uniforms.inputRealOffset + at]);`,
};

const targets: Readonly<Record<Exclude<TargetKind, "half">, string>> = {
  complex: `let at = base + k * uniforms.inner;
  outputReal[uniforms.outputRealOffset + at] = value.x;
  outputImaginary[uniforms.outputImaginaryOffset + at] = value.y;`,
  pairs: "targetPairs[uniforms.targetPairsOffset + base + k * uniforms.inner] = value;",
  real: `let at = uniforms.outputOffset + base + 2u * k * uniforms.inner;
  output[at] = value.y;
  output[at + uniforms.inner] = value.x;`,
  realPart: "output[uniforms.outputOffset + base + k * uniforms.inner] = value.y;",
  bins: `if (k >= uniforms.bins) { return; }
  let at = base + k * uniforms.inner;
  outputReal[uniforms.outputRealOffset + at] = value.x;
  outputImaginary[uniforms.outputImaginaryOffset + at] = value.y;`,
};

/**
 * `splitReal(base, k, a, b)` stores frequencies k and points - k of a real signal from the half-length transform at k (a) and at points - k
 * (b, at 0 for k = 0). Needs `halfRoots`.
 */
export const splitRealSource: string = `fn splitReal(base: u32, k: u32, a: vec2<f32>, b: vec2<f32>) {
  let even = 0.5 * vec2<f32>(a.x + b.x, a.y - b.y);
  let odd = multiply(0.5 * vec2<f32>(a.y + b.y, b.x - a.x), halfRoots[k]);
  let low = (even + odd) * uniforms.scale;
  let high = (even - odd) * uniforms.scale;
  let at = base + k * uniforms.inner;
  let opposite = base + (uniforms.points - k) * uniforms.inner;
  outputReal[uniforms.outputRealOffset + at] = low.x;
  outputImaginary[uniforms.outputImaginaryOffset + at] = low.y;
  outputReal[uniforms.outputRealOffset + opposite] = high.x;
  outputImaginary[uniforms.outputImaginaryOffset + opposite] = -high.y;
}
`;

/**
 * `multiply`, `loadPoint(base, j)` of the source, and of the target `finishPoint(k, value)` and `storePoint(base, k, value)`, or
 * `splitReal` for "half", whose points meet in workgroup memory first.
 */
export function accessSource(source: Source, target: Target): string {
  const load = `fn loadPoint(base: u32, j: u32) -> vec2<f32> {
${source.chirp ? "  if (j >= uniforms.points) { return vec2<f32>(); }\n" : ""}  ${sources[source.kind]}
  return ${source.chirp ? "multiply(value, chirp[j])" : "value"};
}
`;
  const finish = `fn finishPoint(k: u32, value: vec2<f32>) -> vec2<f32> {
  return ${target.chirp ? "multiply(value.yx, chirp[k])" : "value"};
}
`;
  const store =
    target.kind === "half"
      ? splitRealSource
      : `fn storePoint(base: u32, k: u32, result: vec2<f32>) {
${target.chirp ? "  if (k >= uniforms.points) { return; }\n" : ""}  let value = finishPoint(k, result) * uniforms.scale;
  ${targets[target.kind]}
}
`;
  return multiplySource + load + finish + store;
}
