/**
 * A WGSL kernel of one's own in place of a built-in one, validated against the reference before it is used; and a wrong one, refused.
 * Needs a GPU, or a software adapter, and in Node the package "webgpu". Run: node examples/webgpu-kernel.ts
 */
import { rmsNorm, tensor } from "@frugal/tensor-core";
import { f32, KernelValidationError, read, u32, webgpu, write, type WgslKernel } from "@frugal/tensor-core/webgpu";

const device = await webgpu();
console.log(`adapter: ${device.adapter.description || device.adapter.device}`);

/** One workgroup a row; each of its 64 invocations sums every 64th element, then all add up through workgroup memory. */
const code = `
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  let start = row * uniforms.columns;
  var sum = 0.0;
  for (var i = lane; i < uniforms.columns; i += 64u) {
    let x = input[uniforms.inputOffset + start + i];
    sum += x * x;
  }
  partial[lane] = sum;
  workgroupBarrier();
  for (var width = 32u; width > 0u; width /= 2u) {
    if (lane < width) { partial[lane] += partial[lane + width]; }
    workgroupBarrier();
  }
  let scale = 1.0 / sqrt(partial[0] / f32(uniforms.columns) + uniforms.epsilon);
  if (lane == 0u) { rstd[uniforms.rstdOffset + row] = scale; }
  for (var i = lane; i < uniforms.columns; i += 64u) {
    let x = input[uniforms.inputOffset + start + i];
    output[uniforms.outputOffset + start + i] = x * scale * weight[uniforms.weightOffset + i];
  }
}
`;

const kernel: WgslKernel<"rmsNorm"> = {
  kernel: "rmsNorm",
  name: "row-a-workgroup",
  // The built-in goes on computing the rest.
  supports: ({ weight, rows }) => weight !== undefined && rows <= 65_535,
  bindings: ({ input, weight, output, rstd }) => ({ input: read(input), weight: read(weight!), output: write(output), rstd: write(rstd) }),
  uniforms: ({ columns, epsilon }) => ({ columns: u32(columns), epsilon: f32(epsilon) }),
  workgroups: ({ rows }) => [rows],
  code,
};

const { report, undo } = await device.registerKernel(kernel, { measure: true });
const { milliseconds, builtInMilliseconds } = report.timing!;
console.log(`${report.cases} cases right, largest error ${(100 * report.largestErrorShare).toFixed(0)} % of what is allowed`);
console.log(`largest case: ${milliseconds.toFixed(2)} ms, built-in ${builtInMilliseconds.toFixed(2)} ms`);

const x = tensor([[3, 4]], { device: "webgpu" });
const weight = tensor([1, 10], { device: "webgpu" });
console.log("rmsNorm([3, 4]) =", await rmsNorm(x, { weight }).data());
console.log("pipelines:", device.pipelines().map(({ label }) => label).join(", "));
undo();

try {
  await device.registerKernel({ ...kernel, name: "forgets-a-barrier", code: code.replaceAll("workgroupBarrier();", "") });
} catch (error) {
  if (!(error instanceof KernelValidationError)) throw error;
  console.log(`refused (${error.reason}): ${error.message.split("\n")[0]}`);
}
