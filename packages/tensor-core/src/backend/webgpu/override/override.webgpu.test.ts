import { afterAll, beforeAll, describe, expect, it } from "vitest";
import "../../../index.ts";
import type { KernelName } from "../../backend.ts";
import { tensor } from "../../../ops/creation.ts";
import { rmsNorm, softmax } from "../../../ops/normalization.ts";
import type { Tensor } from "../../../tensor/tensor.ts";
import { laneGpu } from "../../../testing/webgpu-lane.ts";
import { sizeOf } from "../../../tensor/shape.ts";
import {
  entryPoint,
  f32,
  isAligned,
  isContiguousView,
  KernelValidationError,
  read,
  u32,
  webgpu,
  workgroupGrid,
  write,
  type WebGpuDevice,
  type WgslKernel,
  type WgslKernelCommon,
  type WgslKernelLaunch,
} from "../index.ts";

/** One invocation a row: slow and plain. */
const rmsNormCode = (mean: string, place = "uniforms.inputOffset + row * uniforms.columns"): string => `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.x;
  if (row >= uniforms.rows) { return; }
  let start = ${place};
  var sum = 0.0;
  for (var i = 0u; i < uniforms.columns; i++) { let x = input[start + i]; sum += x * x; }
  let scale = 1.0 / sqrt(${mean} + uniforms.epsilon);
  rstd[uniforms.rstdOffset + row] = scale;
  for (var i = 0u; i < uniforms.columns; i++) {
    output[uniforms.outputOffset + row * uniforms.columns + i] = input[start + i] * scale * weight[uniforms.weightOffset + i];
  }
}
`;

const rmsNormKernel = {
  kernel: "rmsNorm",
  name: "plain rms",
  supports: ({ columns, weight }) => columns % 4 === 0 && weight !== undefined,
  bindings: ({ input, weight, output, rstd }) => ({ input: read(input), weight: read(weight!), output: write(output), rstd: write(rstd) }),
  uniforms: ({ rows, columns, epsilon }) => ({ rows: u32(rows), columns: u32(columns), epsilon: f32(epsilon) }),
  workgroups: ({ rows }) => [Math.ceil(rows / 64)],
  code: rmsNormCode("sum / f32(uniforms.columns)"),
} satisfies WgslKernel<"rmsNorm">;

/** Contiguous float32 addition, and `body` where it stores. */
function additionKernel(store: string, extra: Partial<WgslKernelCommon<"binary"> & WgslKernelLaunch<"binary">> = {}): WgslKernel<"binary"> {
  return {
    kernel: "binary",
    name: "addition",
    supports: ({ operation, a, b }) => operation === "add" && a.dtype === "float32" && isContiguousView(a) && isContiguousView(b),
    bindings: ({ a, b, output }) => ({ a: read(a), b: read(b), output: write(output) }),
    uniforms: ({ output }) => ({ count: u32(sizeOf(output.shape)) }),
    workgroups: ({ output }) => workgroupGrid(Math.ceil(sizeOf(output.shape) / 64)),
    code: entryPoint(64, store),
    ...extra,
  };
}

const add = `
  if (index >= uniforms.count) { return; }
  output[uniforms.outputOffset + index] = a[uniforms.aOffset + index] + b[uniforms.bOffset + index];`;

describe("WGSL kernels of users", () => {
  let device: WebGpuDevice;
  beforeAll(async () => {
    device = await webgpu({ gpu: await laneGpu() });
  });
  afterAll(() => device.destroy());

  const labels = (): string[] => device.pipelines().map(({ label }) => label);
  const refusalOf = async <Name extends KernelName>(definition: WgslKernel<Name>): Promise<KernelValidationError> => {
    const error = await device.registerKernel(definition).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(KernelValidationError);
    return error as KernelValidationError;
  };

  it("uses a right kernel where it is supported, and the built-in elsewhere", async () => {
    const values = (shape: number[]): Tensor<"webgpu"> =>
      tensor(Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i)), shape, { device: "webgpu" });
    const x = (columns: number): Tensor<"webgpu"> => values([3, columns]);
    const weight = (columns: number): Tensor<"webgpu"> => values([columns]);
    const before = await rmsNorm(x(8), { weight: weight(8) }).data();
    const { report, undo } = await device.registerKernel(rmsNormKernel, { measure: true });
    expect(report.cases).toBeGreaterThanOrEqual(48);
    expect(report.largestErrorShare).toBeLessThan(1);
    expect(report.largestCaseElements).toBeGreaterThan(1000);
    expect(report.timing!.milliseconds).toBeGreaterThan(0);
    expect(report.timing!.builtInMilliseconds).toBeGreaterThan(0);
    const launchesOf = async (columns: number): Promise<ArrayLike<number>> => rmsNorm(x(columns), { weight: weight(columns) }).data();
    const after = await launchesOf(8);
    expect(labels()).toContain("rmsNorm/plain rms");
    for (const [i, value] of before.entries()) expect(after[i]).toBeCloseTo(value, 4);
    expect(await launchesOf(7)).toHaveLength(21);
    undo();
    undo();
    expect(await rmsNorm(x(8), { weight: weight(8) }).data()).toEqual(before);
  });

  it("counts launches of the kernel in use, latest first, and undoes in any order", async () => {
    const seen: string[] = [];
    const spied = (name: string): WgslKernel<"binary"> =>
      additionKernel(add, {
        name,
        uniforms: ({ output }) => {
          seen.push(name);
          return { count: u32(sizeOf(output.shape)) };
        },
      });
    const first = await device.registerKernel(spied("first"), { generatedCases: 8 });
    const second = await device.registerKernel(spied("second"), { generatedCases: 8 });
    const sum = async (): Promise<string[]> => {
      seen.length = 0;
      const a = tensor([1, 2, 3], { device: "webgpu" });
      expect([...(await a.add(a).data())]).toEqual([2, 4, 6]);
      return seen.splice(0);
    };
    expect(await sum()).toEqual(["second"]);
    first.undo();
    expect(await sum()).toEqual(["second"]);
    second.undo();
    expect(await sum()).toEqual([]);
  });

  it("lets a later kernel of the same name have another text", async () => {
    const a = tensor([1, 2, 3], { device: "webgpu" });
    const { undo } = await device.registerKernel(additionKernel(add, { name: "renewed" }), { generatedCases: 8 });
    expect([...(await a.add(a).data())]).toEqual([2, 4, 6]);
    undo();
    const flipped = add.replace(
      "a[uniforms.aOffset + index] + b[uniforms.bOffset + index]",
      "b[uniforms.bOffset + index] + a[uniforms.aOffset + index]",
    );
    const again = await device.registerKernel(additionKernel(flipped, { name: "renewed" }), { generatedCases: 8 });
    expect([...(await a.add(a).data())]).toEqual([2, 4, 6]);
    expect(labels().filter((label) => label.startsWith("binary/renewed"))).toEqual(["binary/renewed", "binary/renewed (2)"]);
    again.undo();
  });

  it("takes a kernel of vectors, chosen by alignment", async () => {
    const report = await device.validateKernel({
      kernel: "binary",
      name: "vectors",
      supports: ({ operation, a, b, output }) =>
        operation === "multiply" &&
        a.dtype === "float32" &&
        [a, b, output].every((view) => isContiguousView(view) && isAligned(view, 4)) &&
        sizeOf(a.shape) % 4 === 0,
      bindings: ({ a, b, output }) => ({ a: read(a, "vec4<f32>"), b: read(b, "vec4<f32>"), output: write(output, "vec4<f32>") }),
      uniforms: ({ output }) => ({ count: u32(sizeOf(output.shape) / 4) }),
      workgroups: ({ output }) => workgroupGrid(Math.ceil(sizeOf(output.shape) / 256)),
      code: entryPoint(64, add.replace("] + b", "] * b")),
    });
    expect(report.cases).toBeGreaterThanOrEqual(48);
    expect(report.pipelines).toBe(1);
  });

  it("takes a softmax of two launches with a temporary between them", async () => {
    const kernel: WgslKernel<"softmax"> = {
      kernel: "softmax",
      name: "two launches",
      supports: ({ mask, logarithm }) => mask === undefined && !logarithm,
      record({ input, output, rows, columns, scale }, recorder) {
        const maxima = recorder.temporary("float32", [rows]);
        const uniforms = { rows: u32(rows), columns: u32(columns), scale: f32(scale) };
        const workgroups = workgroupGrid(Math.ceil(rows / 64));
        recorder.launch({
          bindings: { input: read(input), maxima: write(maxima) },
          uniforms,
          workgroups,
          code: entryPoint(
            64,
            `  if (index >= uniforms.rows) { return; }
  var bits = 0xff800000u;
  var largest = bitcast<f32>(bits);
  var isNaN = false;
  for (var i = 0u; i < uniforms.columns; i++) {
    let x = uniforms.scale * input[uniforms.inputOffset + index * uniforms.columns + i];
    isNaN = isNaN || (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
    largest = max(largest, x);
  }
  maxima[uniforms.maximaOffset + index] = largest;
  if (isNaN) { maxima[uniforms.maximaOffset + index] = bitcast<f32>(bits | 0x7fc00000u); }`,
          ),
        });
        recorder.launch({
          bindings: { input: read(input), maxima: read(maxima), output: write(output) },
          uniforms,
          workgroups,
          code: entryPoint(
            64,
            `  if (index >= uniforms.rows) { return; }
  let largest = maxima[uniforms.maximaOffset + index];
  let kind = bitcast<u32>(largest);
  let isBad = (kind & 0x7fffffffu) > 0x7f800000u || kind == 0x7f800000u;
  let isEmpty = kind == 0xff800000u;
  let start = index * uniforms.columns;
  var sum = 0.0;
  for (var i = 0u; i < uniforms.columns; i++) {
    let value = exp(uniforms.scale * input[uniforms.inputOffset + start + i] - largest);
    sum += value;
    output[uniforms.outputOffset + start + i] = value;
  }
  for (var i = 0u; i < uniforms.columns; i++) {
    var value = bitcast<u32>(output[uniforms.outputOffset + start + i] / sum);
    if (isEmpty) { value = 0u; }
    if (isBad) { value = 0x7fc00000u | (uniforms.columns >> 31u); }
    output[uniforms.outputOffset + start + i] = bitcast<f32>(value);
  }`,
          ),
        });
      },
    };
    const { report, undo } = await device.registerKernel(kernel);
    expect(report.pipelines).toBe(2);
    const probabilities = await softmax(tensor([[1, 2, 3]], { device: "webgpu" })).data();
    expect([...probabilities].reduce((sum, value) => sum + value)).toBeCloseTo(1, 6);
    expect(labels()).toContain("softmax/two launches launch 2");
    undo();
  });

  it("takes a matrix product with shared memory", async () => {
    const tile = 8;
    const report = await device.validateKernel({
      kernel: "matmul",
      name: "tiles",
      supports: ({ a, b, bias, activation, accumulate }) =>
        !("format" in b) &&
        b.dtype === "float32" &&
        a.shape.length === 2 &&
        isContiguousView(a) &&
        isContiguousView(b) &&
        !(bias || activation || accumulate),
      bindings: ({ a, b, output }) => {
        if ("format" in b) throw new TypeError("not supported");
        return { a: read(a), b: read(b), output: write(output) };
      },
      uniforms: ({ a, output }) => ({ rows: u32(output.shape[0]!), columns: u32(output.shape[1]!), inner: u32(a.shape[1]!) }),
      workgroups: ({ output }) => [Math.ceil(output.shape[1]! / tile), Math.ceil(output.shape[0]! / tile)],
      code: `
var<workgroup> left: array<array<f32, ${tile}>, ${tile}>;
var<workgroup> right: array<array<f32, ${tile}>, ${tile}>;
@compute @workgroup_size(${tile}, ${tile})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  var sum = 0.0;
  for (var start = 0u; start < uniforms.inner; start += ${tile}u) {
    let k = start + local.x;
    let j = start + local.y;
    left[local.y][local.x] = 0.0;
    right[local.y][local.x] = 0.0;
    if (id.y < uniforms.rows && k < uniforms.inner) { left[local.y][local.x] = a[uniforms.aOffset + id.y * uniforms.inner + k]; }
    if (id.x < uniforms.columns && j < uniforms.inner) { right[local.y][local.x] = b[uniforms.bOffset + j * uniforms.columns + id.x]; }
    workgroupBarrier();
    for (var i = 0u; i < ${tile}u; i++) { sum += left[local.y][i] * right[i][local.x]; }
    workgroupBarrier();
  }
  if (id.y < uniforms.rows && id.x < uniforms.columns) { output[uniforms.outputOffset + id.y * uniforms.columns + id.x] = sum; }
}`,
    });
    expect(report.largestError).toBeGreaterThan(0);
    expect(report.cases).toBeGreaterThanOrEqual(48);
  });

  it("refuses what does not compile, with lines of the author's own code", async () => {
    const error = await refusalOf(additionKernel("  let x = undeclared;"));
    expect(error.reason).toBe("compile");
    expect(error.messages[0]).toMatchObject({ type: "error", line: 6, source: "  let x = undeclared;" });
    expect(error.message).toMatch(/6:\d+ error: .*undeclared/);
  });

  it("refuses what WebGPU does not run", async () => {
    expect((await refusalOf(additionKernel("", { code: "@compute @workgroup_size(4096) fn main() {}" }))).reason).toBe("refused");
    expect((await refusalOf(additionKernel("", { code: "@compute @workgroup_size(1) fn other() {}" }))).reason).toBe("refused");
    const grid = await refusalOf(additionKernel(add, { workgroups: () => [70_000] }));
    expect(grid).toMatchObject({ reason: "definition", message: expect.stringContaining("workgroupGrid") as string });
  });

  it("refuses wrong results, and shows a small case", async () => {
    const offByOne = await refusalOf(additionKernel(add.replace("uniforms.count", "uniforms.count / 2u * 2u")));
    expect(offByOne).toMatchObject({ reason: "wrong", kernel: "binary", kernelName: "addition" });
    expect(offByOne.mismatch).toMatchObject({ tensor: "output", actual: NaN });
    expect(offByOne.case).toMatch(/operation: "add"/);
    const forgotten = await refusalOf(additionKernel(add.replace("uniforms.aOffset + ", "")));
    expect(forgotten.reason).toBe("wrong");
    const noOutputOffset = await refusalOf(additionKernel(add.replace("uniforms.outputOffset + ", "")));
    expect(["outside", "wrong"]).toContain(noOutputOffset.reason);
    const integers = await refusalOf({ ...additionKernel(add), supports: ({ operation }) => operation === "add" });
    expect(["threw", "compile", "refused", "wrong"]).toContain(integers.reason);
  });

  it("refuses what misses NaN and infinities", async () => {
    const error = await refusalOf(additionKernel(add.replace("= a[", "= clamp(a[").replace("+ b[", ", -1e38, 1e38) + b[")));
    expect(error.reason).toBe("wrong");
    expect(Number.isFinite(error.mismatch!.expected)).toBe(false);
  });

  it("refuses writes outside of the outputs", async () => {
    const past = await refusalOf(additionKernel(add.replace("index >= uniforms.count", "index > uniforms.count")));
    expect(past).toMatchObject({ reason: "outside", mismatch: { kind: "outside", tensor: "output" } });
    const unguarded = await refusalOf(additionKernel(add.replace("if (index >= uniforms.count) { return; }", "")));
    expect(unguarded.reason).toBe("outside");
    const input = await refusalOf(
      additionKernel(`${add}\n  b[uniforms.bOffset + index] = 0.0;`, {
        bindings: ({ a, b, output }) => ({ a: read(a), b: write(b), output: write(output) }),
      }),
    );
    expect(input).toMatchObject({ reason: "outside", mismatch: { kind: "input", tensor: "b", index: expect.any(Array) as number[] } });
  });

  it("refuses a race within a workgroup", async () => {
    const error = await refusalOf({
      ...rmsNormKernel,
      code: `
var<workgroup> partial: array<f32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  let start = uniforms.inputOffset + row * uniforms.columns;
  var sum = 0.0;
  for (var i = lane; i < uniforms.columns; i += 64u) { let x = input[start + i]; sum += x * x; }
  partial[lane] = sum;
  // A barrier is missing here.
  sum = 0.0;
  for (var i = 0u; i < 64u; i++) { sum += partial[i]; }
  let scale = 1.0 / sqrt(sum / f32(uniforms.columns) + uniforms.epsilon);
  rstd[uniforms.rstdOffset + row] = scale;
  for (var i = lane; i < uniforms.columns; i += 64u) {
    output[uniforms.outputOffset + row * uniforms.columns + i] = input[start + i] * scale * weight[uniforms.weightOffset + i];
  }
}`,
      workgroups: ({ rows }) => [rows],
    });
    expect(["wrong", "nondeterministic"]).toContain(error.reason);
  });

  it("refuses what differs from run to run", async () => {
    let call = 0;
    const error = await refusalOf({
      ...rmsNormKernel,
      uniforms: (parameters) => ({ ...rmsNormKernel.uniforms(parameters), epsilon: f32(parameters.epsilon * (1 + 1e-5 * (call++ % 2))) }),
    });
    expect(error.reason).toBe("nondeterministic");
  });

  it("refuses what it cannot check, and definitions that make no sense", async () => {
    const unchecked = await refusalOf({ ...rmsNormKernel, supports: ({ columns }) => columns === 4096 });
    expect(unchecked).toMatchObject({ reason: "unchecked", message: expect.stringContaining('option "cases"') as string });
    const throwing = await refusalOf({ ...rmsNormKernel, supports: ({ columns }) => columns > 4 });
    expect(throwing).toMatchObject({ reason: "threw", cause: expect.any(TypeError) as Error });
    const fraction = await refusalOf(additionKernel(add, { uniforms: ({ output }) => ({ count: u32(sizeOf(output.shape) + 0.5) }) }));
    expect(fraction).toMatchObject({ reason: "definition", message: expect.stringContaining("not of u32") as string });
    let drawn = 0;
    const changing = await refusalOf(additionKernel(add, { code: () => `${entryPoint(64, add)}// ${drawn++}`, variant: () => "one" }));
    expect(changing).toMatchObject({ reason: "definition", message: expect.stringContaining("variant()") as string });
    await expect(device.registerKernel({ ...rmsNormKernel, kernel: "rmsNrm" as "rmsNorm" })).rejects.toThrow("there is no kernel");
  });

  it("leaves the device as it was", async () => {
    const a = tensor([1, 2, 3], { device: "webgpu" });
    expect([...(await a.add(a).data())]).toEqual([2, 4, 6]);
    expect(labels().some((label) => label.startsWith("binary/addition"))).toBe(false);
  });
});
