/** Runs WGSL expressions over arrays of operands, many expressions in one pipeline: software adapters compile slowly. For tests. */
import type { Dtype } from "../../../tensor/dtype.ts";
import { convertExpression, valueType } from "../elements.ts";
import type { WgslExpression } from "./expressions.ts";
import { mathSource } from "./math.ts";

/** A type of 32 bits. */
export type WgslType = "f32" | "i32" | "u32";

/** An expression of the operands `a`, `b` and `c`, as many as have a type. */
export interface SweepCase extends WgslExpression {
  readonly operands: readonly WgslType[];
}

/** The conversion of `a`. */
export function conversionCase(from: Dtype, to: Dtype): SweepCase {
  return { operands: [valueType(from)], ...convertExpression(from, to, "a") };
}

const names = ["a", "b", "c"] as const;
const workgroupSize = 64;

function shaderOf(cases: readonly SweepCase[]): string {
  const branches = cases.map(({ operands, expression }, index) => {
    const values = operands.map((type, i) => `let ${names[i]} = bitcast<${type}>(word${i});`).join(" ");
    return `    case ${index}u: { ${values} result = bitcast<u32>(${expression}); }`;
  });
  return `${mathSource(cases.flatMap(({ needs }) => needs))}

struct Parameters { count: u32, expression: u32 }
@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read> operands: array<u32>;
@group(0) @binding(2) var<storage, read_write> results: array<u32>;

@compute @workgroup_size(${workgroupSize})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let index = id.x;
  if (index >= parameters.count) { return; }
  let word0 = operands[index];
  let word1 = operands[parameters.count + index];
  let word2 = operands[2u * parameters.count + index];
  var result = 0u;
  switch parameters.expression {
${branches.join("\n")}
    default: {}
  }
  results[index] = result;
}
`;
}

/** Evaluates one of the cases; operands and results are bits. All operands have the same length. */
export type Sweep = (name: string, ...operands: readonly ArrayLike<number>[]) => Promise<Uint32Array>;

// Constants of the WebGPU specification.
const usage = { mapRead: 1, copySource: 4, copyDestination: 8, uniform: 64, storage: 128 };

function bitsOf(values: ArrayLike<number>): Uint32Array {
  const isTyped = values instanceof Float32Array || values instanceof Int32Array;
  if (isTyped) return new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint32Array.from(values, (value) => value >>> 0);
}

/** Compiles the cases into one pipeline. @throws Error with the compiler's messages */
export async function compileSweep(device: GPUDevice, cases: Readonly<Record<string, SweepCase>>): Promise<Sweep> {
  const places = Object.keys(cases);
  const module = device.createShaderModule({ code: shaderOf(Object.values(cases)) });
  const messages = (await module.getCompilationInfo()).messages.filter(({ type }) => type === "error");
  if (messages.length > 0) throw new Error(messages.map(({ lineNum, message }) => `${lineNum}: ${message}`).join("\n"));
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
  return async (name, ...operands) => {
    const expression = places.indexOf(name);
    if (expression < 0) throw new Error(`no case ${name}`);
    const count = operands[0]!.length;
    const words = new Uint32Array(3 * count);
    operands.forEach((values, i) => words.set(bitsOf(values), i * count));
    const parameters = device.createBuffer({ size: 8, usage: usage.uniform | usage.copyDestination });
    const input = device.createBuffer({ size: words.byteLength, usage: usage.storage | usage.copyDestination });
    const output = device.createBuffer({ size: 4 * count, usage: usage.storage | usage.copySource });
    const staging = device.createBuffer({ size: 4 * count, usage: usage.mapRead | usage.copyDestination });
    device.queue.writeBuffer(parameters, 0, Uint32Array.of(count, expression));
    device.queue.writeBuffer(input, 0, words);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    const entries = [parameters, input, output].map((buffer, binding) => ({ binding, resource: { buffer } }));
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(Math.ceil(count / workgroupSize));
    pass.end();
    encoder.copyBufferToBuffer(output, 0, staging, 0, 4 * count);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(1);
    const results = new Uint32Array(staging.getMappedRange().slice(0));
    for (const buffer of [parameters, input, output, staging]) buffer.destroy();
    return results;
  };
}
