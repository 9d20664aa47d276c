/** What happens to sums before they are stored: bias, activation, accumulation; and the sum of the splits of k. */
import type { Activation, TensorView } from "../../../backend.ts";
import { entryPoint, isAligned, read, u32, workgroupGrid, write, type ElementType, type KernelBinding, type UniformValue } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { mathSource } from "../../wgsl/math.ts";
import type { MatmulProblem } from "./problem.ts";

const activationNumbers: Readonly<Record<Activation, number>> = { relu: 1, silu: 2, gelu: 3, geluTanh: 4 };

/** Where sums go: the output itself, or one part of a temporary for each split of k, with nothing applied. */
export interface Destination {
  readonly view: TensorView;
  /** Undefined for the parts of splits. */
  readonly epilogue: Pick<MatmulProblem, "bias" | "activation" | "accumulate"> | undefined;
}

/** Bindings `output` and `bias`. Without a bias `unused` is bound and not read. */
export function destinationBindings({ view, epilogue }: Destination, unused: TensorView, type: ElementType = "f32"): Record<string, KernelBinding> {
  return { output: write(view, type), bias: read(epilogue?.bias ?? unused, "f32") };
}

/** Uniforms of `epilogueSource`. */
export function destinationUniforms({ epilogue }: Destination): Record<string, UniformValue> {
  return {
    hasBias: u32(epilogue?.bias === undefined ? 0 : 1),
    accumulate: u32(epilogue?.accumulate ? 1 : 0),
    activation: u32(isActivated({ epilogue }) ? activationNumbers[epilogue!.activation!] : 0),
  };
}

/** Whether the shader needs the code of activations; which one it is, a uniform says. */
export function isActivated({ epilogue }: Pick<Destination, "epilogue">): boolean {
  return epilogue?.activation !== undefined;
}

/** `finish(sum, place, biasIndex)`: the sum with bias, or with what is stored already. */
export const epilogueSource = `fn finish(sum: f32, place: u32, biasIndex: u32) -> f32 {
  var result = sum;
  if (uniforms.accumulate != 0u) { result += output[place]; }
  if (uniforms.hasBias != 0u) { result += bias[uniforms.biasOffset + biasIndex]; }
  return result;
}
`;

/** Whether rows of the output can be stored four elements at a time. */
export function hasVectorRows(view: TensorView, n: number): boolean {
  return n % 4 === 0 && isAligned(view, 4);
}

/**
 * `storeQuad(start, row, column, sum)`: finishes and stores four neighbours of a row, as far as they exist. With `vectors` the output is an
 * array of vec4 (see `hasVectorRows`).
 */
export function storeQuadSource(vectors: boolean): string {
  if (vectors) {
    return `fn storeQuad(start: u32, row: u32, column: u32, sum: vec4<f32>) {
  if (row >= uniforms.m || column >= uniforms.n) { return; }
  let place = start + (row * uniforms.n + column) / 4u;
  var result = sum;
  if (uniforms.accumulate != 0u) { result += output[place]; }
  if (uniforms.hasBias != 0u) {
    let index = uniforms.biasOffset + column;
    result += vec4<f32>(bias[index], bias[index + 1u], bias[index + 2u], bias[index + 3u]);
  }
  output[place] = result;
}
`;
  }
  const store = (c: number): string =>
    `  if (column + ${c}u < uniforms.n) { output[place + ${c}u] = finish(sum.${"xyzw"[c]!}, place + ${c}u, column + ${c}u); }`;
  return `${epilogueSource}fn storeQuad(start: u32, row: u32, column: u32, sum: vec4<f32>) {
  if (row >= uniforms.m) { return; }
  let place = start + row * uniforms.n + column;
${[0, 1, 2, 3].map(store).join("\n")}
}
`;
}

/** `activate(x)`: the activation that the uniform names. One switch at run time saves four pipelines for every shader. */
export function activationSource(): string {
  return `${mathSource(["reluF32", "siluF32", "geluF32", "geluTanhF32"])}
fn activate(x: f32) -> f32 {
  switch (uniforms.activation) {
    case 1u: { return reluF32(x); }
    case 2u: { return siluF32(x); }
    case 3u: { return geluF32(x); }
    case 4u: { return geluTanhF32(x); }
    default: { return x; }
  }
}
`;
}

const workgroupSize = 256;

/** output (+)= activation(Σ parts[split] + bias), in the order of the splits. */
export function sumSplits(runtime: WebGpuRuntime, parts: TensorView, splits: number, problem: MatmulProblem): void {
  const { output, n } = problem;
  const count = output.shape.reduce((product, size) => product * size, 1);
  const destination: Destination = { view: output, epilogue: problem };
  const activated = isActivated(destination);
  runtime.launch({
    name: "matmul sum of splits",
    variant: activated ? "activation" : "",
    bindings: { parts: read(parts), ...destinationBindings(destination, parts) },
    uniforms: { count: u32(count), splits: u32(splits), columns: u32(n), ...destinationUniforms(destination) },
    workgroups: workgroupGrid(Math.ceil(count / workgroupSize)),
    work: { bytes: 4 * count * (splits + 1 + (problem.accumulate ? 1 : 0)), operations: count * splits },
    code: () =>
      epilogueSource +
      (activated ? activationSource() : "") +
      entryPoint(
        workgroupSize,
        `  if (index >= uniforms.count) { return; }
  var sum = 0.0;
  for (var split = 0u; split < uniforms.splits; split++) { sum += parts[uniforms.partsOffset + split * uniforms.count + index]; }
  let place = uniforms.outputOffset + index;
  let result = finish(sum, place, index % uniforms.columns);
  output[place] = ${activated ? "activate(result)" : "result"};`,
      ),
  });
}
