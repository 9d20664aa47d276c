/**
 * Products by matrix units, which no adapter here has: the shader with the units replaced by loops computes the right products, the shader
 * itself is valid for Dawn, and nobody who does not ask for the units gets any of it.
 */
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import { laneGpu } from "../../../testing/webgpu-lane.ts";
import { contiguousStrides } from "../../../tensor/shape.ts";
import type { Dtype } from "../../../tensor/dtype.ts";
import type { TensorView } from "../../backend.ts";
import { createWebGpuBackend, type WebGpuBackend } from "../backend.ts";
import { openDevice } from "../device.ts";
import { assembleShader, type KernelLaunch } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { webgpu } from "../webgpu.ts";
import { machineOf, runMatmul } from "./matmul.ts";
import { unitsOf, usableUnits, type MatrixDialect, type SubgroupMatrixConfig, type SubgroupMatrixUnit } from "./matmul/subgroup-matrix.ts";
import { enableSubgroupMatrix } from "./matmul/subgroup-matrix-trial.ts";

/**
 * The units as loops of plain WGSL. Operands stay in workgroup memory, a matrix is its place there; every invocation holds 16 neighbours of
 * a result, so that a subgroup must have a sixteenth as many invocations as a result has elements.
 */
const emulated: MatrixDialect = {
  name: "emulated",
  enables: [],
  parameters: "",
  subgroup: ({ subgroupSize }) => `lane / ${subgroupSize}u`,
  declarations: ({ n, k, subgroupSize }, strides) => `alias Result = mat4x4<f32>;
fn multiply(left: u32, right: u32, sum: Result, lane: u32) -> Result {
  let first = lane % ${subgroupSize}u * 16u;
  var result = sum;
  for (var i = 0u; i < ${k}u; i++) {
    let place = right + i * ${strides.b}u + first % ${n}u;
    let factor = f32(tileA[left + first / ${n}u * ${strides.a}u + i]);
    for (var j = 0u; j < 16u; j++) { result[j / 4u][j % 4u] += factor * f32(tileB[place + j]); }
  }
  return result;
}
fn store(place: u32, sum: Result, lane: u32) {
  for (var i = 0u; i < 16u; i++) { results[place + lane % ${subgroupSize}u * 16u + i] = sum[i / 4u][i % 4u]; }
}
`,
  loadLeft: (place) => place,
  loadRight: (place) => place,
  multiplyAccumulate: (left, right, sum) => `multiply(${left}, ${right}, ${sum}, lane)`,
  store: (place, sum) => `store(${place}, ${sum}, lane)`,
};
/** A result of 16 × 32. */
const emulatedSize = 32;

const config = (M: number, N: number, K: number, componentType: "f16" | "f32" = "f32", resultComponentType = "f32"): SubgroupMatrixConfig => ({
  componentType,
  resultComponentType,
  M,
  N,
  K,
});

/** A device that says it has units. */
function pretend(backend: WebGpuBackend, subgroupMatrixConfigs: readonly SubgroupMatrixConfig[], subgroupMinSize = emulatedSize, subgroupMaxSize = emulatedSize): void {
  Object.assign(backend.runtime, { features: { ...backend.runtime.features, subgroupMatrix: true } });
  Object.defineProperty(backend.runtime.device, "adapterInfo", { value: { subgroupMatrixConfigs, subgroupMinSize, subgroupMaxSize } });
}

/** Dawn's device that computes nothing, with the experimental feature. */
async function nullGpu(): Promise<GPU> {
  const dawn = (await import(/* @vite-ignore */ pathToFileURL(process.env["FRUGAL_WEBGPU_MODULE"]!).href)) as { create(options: string[]): GPU };
  return dawn.create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
}

describe("products by subgroup matrices", () => {
  let backend: WebGpuBackend | undefined;
  afterEach(() => {
    backend?.destroy();
    backend = undefined;
  });

  it("are off unless asked for, and refused where the adapter has no units", async () => {
    const usual = await webgpu({ gpu: await laneGpu() });
    expect(usual.subgroupMatrix).toBe("off");
    usual.destroy();
    const asked = await webgpu({ gpu: await laneGpu(), subgroupMatrix: true });
    expect(asked.subgroupMatrix).toMatch(/^refused: .*allow_unsafe_apis/);
    asked.destroy();
  });

  it("are right in every bit with loops in place of the units, of unequal sides", async () => {
    backend = await laneBackend();
    expect(machineOf(backend.runtime).subgroupMatrix).toBeUndefined();
    pretend(backend, [config(16, 32, 16)]);
    expect(await enableSubgroupMatrix(backend, emulated)).toBe("validated");
    expect(machineOf(backend.runtime).subgroupMatrix).toEqual({ f32: { component: "f32", m: 16, n: 32, k: 16, subgroupSize: emulatedSize } });
    expect(backend.memory().allocations).toBe(0);
  });

  it("are refused when a number is wrong", async () => {
    // Computes nothing.
    backend = createWebGpuBackend((await openDevice({ gpu: await nullGpu() })).device);
    pretend(backend, [config(16, 16, 16)]);
    expect(await enableSubgroupMatrix(backend)).toMatch(/^refused: f32: element \[0, \d+\] of a trial product is \S+ instead of -?\d+$/);
    expect(unitsOf(backend.runtime)).toBeUndefined();
  });

  it("are refused when the shader does not compile, and leave the device as it was", async () => {
    backend = await laneBackend();
    pretend(backend, [config(16, 16, 16)]);
    // Without the feature, the extension is an error.
    expect(await enableSubgroupMatrix(backend)).toMatch(/^refused: f32: kernel .* does not compile/);
    await backend.synchronize();
  });

  it("need a known shape, and one size of all subgroups", async () => {
    const limits = { workgroupInvocations: 256, workgroupMemory: 16_384 };
    const configs = [config(8, 8, 8), config(16, 16, 16, "f16"), config(16, 8, 16, "f16"), config(16, 16, 16, "f16", "f16")];
    const one = { minimum: 32, maximum: 32 };
    expect(usableUnits(configs, one, limits)).toEqual({
      f16: { component: "f16", m: 16, n: 16, k: 16, subgroupSize: 32 },
      f32: { component: "f32", m: 8, n: 8, k: 8, subgroupSize: 32 },
    });
    expect(usableUnits(configs, { minimum: 16, maximum: 32 }, limits)).toEqual({});
    expect(usableUnits(configs, { minimum: 128, maximum: 128 }, limits)).toEqual({});
    expect(usableUnits([config(12, 8, 8), config(8, 8, 64), config(32, 64, 8), config(8, 8, 0)], one, limits)).toEqual({});
    backend = await laneBackend();
    pretend(backend, [config(16, 16, 16, "f16", "f16")], 16, 32);
    expect(await enableSubgroupMatrix(backend)).toMatch(/^refused: no shape to float32 .*\[.*\], in subgroups of 16 to 32$/);
  });

  it("are valid WGSL for every unit and layout", async () => {
    const { device } = await openDevice({ gpu: await nullGpu() });
    const opened = (backend = createWebGpuBackend(device));
    expect(opened.runtime.features).toMatchObject({ f16: true, subgroupMatrix: true });
    const launches = new Map<string, KernelLaunch>();
    const recorder = { device, features: opened.runtime.features, limits: opened.runtime.limits } as unknown as WebGpuRuntime;
    Object.assign(recorder, { launch: (launch: KernelLaunch) => void launches.set(`${launch.name} ${launch.variant}`, launch) });
    const units: SubgroupMatrixUnit[] = [
      { component: "f16", m: 16, n: 16, k: 16, subgroupSize: 32 },
      { component: "f16", m: 16, n: 8, k: 16, subgroupSize: 32 },
      { component: "f16", m: 8, n: 16, k: 16, subgroupSize: 64 },
      { component: "f32", m: 8, n: 8, k: 8, subgroupSize: 32 },
    ];
    for (const unit of units) {
      for (const a of layouts("float32")) {
        for (const b of layouts(unit.component === "f16" ? "float16" : "float32")) {
          const output = view("float32", [a.shape[0]!, b.shape[1]!], contiguousStrides([a.shape[0]!, b.shape[1]!]));
          for (const activation of ["gelu", undefined] as const) {
            runMatmul(recorder, { a, b, output, activation }, () => ({ kind: "subgroupMatrix", unit, splits: 1 }));
          }
        }
      }
    }
    expect(launches.size).toBe(units.length * 9 * 2);
    for (const [name, launch] of launches) {
      device.pushErrorScope("validation");
      const module = device.createShaderModule({ code: assembleShader(launch, new Map()) });
      device.createComputePipeline({ layout: "auto", compute: { module } });
      const error = await device.popErrorScope();
      const { messages } = await module.getCompilationInfo();
      expect([name, error?.message, messages.map(({ message }) => message)]).toEqual([name, undefined, []]);
    }
  });
});

function view(dtype: Dtype, shape: readonly number[], strides: readonly number[]): TensorView {
  return { buffer: { byteLength: 0 }, dtype, shape, strides, offset: 0 };
}

/** Along k, along the other axis and along none. */
const layouts = (dtype: Dtype): TensorView[] => [view(dtype, [64, 64], [64, 1]), view(dtype, [64, 64], [1, 64]), view(dtype, [64, 64], [65, 1])];
