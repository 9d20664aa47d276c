import { DeviceError } from "../../errors.ts";
import { installBackend } from "../registry.ts";
import {
  adapterName,
  applyTuning,
  autotune,
  parseTuning,
  type AutotuneOptions,
  type MatmulTuning,
  type TileMeasurement,
} from "./autotune.ts";
import { loadTuning, saveTuning } from "./autotune-storage.ts";
import { createWebGpuBackend, type WebGpuBackend } from "./backend.ts";
import type { KernelName } from "../backend.ts";
import { isNode, openDevice, type DeviceRequest } from "./device.ts";
import type { DeviceLostError } from "./errors.ts";
import type { WgslKernel } from "./override/kernel.ts";
import { KernelOverrides, type RegisteredKernel } from "./override/register.ts";
import type { KernelReport, WgslValidationOptions } from "./override/report.ts";
import type { PipelineRecord } from "./pipelines.ts";
import { profile, type Profiled } from "./profile.ts";
import { enableSubgroupMatrix, type SubgroupMatrixState } from "./kernels/matmul/subgroup-matrix-trial.ts";
import type { RuntimeFeatures, RuntimeLimits } from "./runtime.ts";

/** How to open the device "webgpu". */
export interface WebGpuOptions extends DeviceRequest {
  /** A table of `autotune` for this adapter, parsed from JSON; default: in Node the saved one, if any. null uses none. */
  readonly tuning?: unknown;
  /**
   * Lets matrix products use the GPU's matrix units where the adapter offers them to WebGPU (`chromium-experimental-subgroup-matrix`: Chrome
   * with --enable-unsafe-webgpu, Dawn for Node with `allow_unsafe_apis`); default false. With it, a product with a float16 right operand
   * rounds its float32 left operand to float16 first: 11 significant bits instead of 24, and infinity beyond 65504. Sums stay float32, and
   * so do products with float32 and quantised operands, which use matrix units only where those take float32. Experimental: this release
   * was not tested on hardware that has the feature, so units are used only after a trial product was right in every bit; see
   * `WebGpuDevice.subgroupMatrix`.
   */
  readonly subgroupMatrix?: boolean | undefined;
}

/** What the adapter says of itself. */
export interface AdapterDescription {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  /** It computes on the CPU. Results are right, but device "cpu" is faster. */
  readonly isSoftware: boolean;
}

/** What the device has done since it was opened. */
export interface WebGpuStatistics {
  /** Kernels launched, after fusion. */
  readonly launches: number;
  /** Command buffers submitted. */
  readonly submissions: number;
  readonly pipelinesCompiled: number;
  /** Time that compiling held up the program; drivers may go on in the background. */
  readonly compileMilliseconds: number;
}

/** The open device "webgpu". */
export interface WebGpuDevice {
  readonly adapter: AdapterDescription;
  readonly features: RuntimeFeatures;
  readonly limits: RuntimeLimits;
  /** Whether matrix products use matrix units: "off" unless asked for, "refused: …" says why they cannot. */
  readonly subgroupMatrix: SubgroupMatrixState;
  /** Resolves when the device is lost, by the driver or by `destroy`. */
  readonly lost: Promise<DeviceLostError>;
  statistics(): WebGpuStatistics;
  /** The pipelines used so far, as JSON-able records for `warmUp` in another run. */
  pipelines(): readonly PipelineRecord[];
  /**
   * Compiles pipelines ahead of need, in parallel. Records never change results: a kernel uses one only when its text is what the kernel
   * would compile now.
   * @throws DeviceLostError
   */
  warmUp(records: readonly PipelineRecord[]): Promise<{ readonly compiled: number; readonly failed: number }>;
  /**
   * Times the tiles of matrix products on this adapter and uses the fastest from now on; in Node also in later runs (`save`, default
   * true). Takes some seconds. Results stay the same within rounding; without a table, tiles are chosen by rule.
   */
  autotune(options?: AutotuneOptions & { readonly save?: boolean }): Promise<{
    readonly tuning: MatmulTuning;
    readonly measurements: readonly TileMeasurement[];
  }>;
  /**
   * Runs a function and times each kernel launched meanwhile on the GPU. Kernels run one by one then, so that the whole takes longer than
   * without.
   *
   * ```ts
   * const { profile } = await device.profile(() => model.forward(tokens));
   * console.log(profile.toTable());
   * await writeFile("trace.json", JSON.stringify(profile.toChromeTrace()));
   * ```
   * @throws DeviceError when the adapter has no timestamps (it says how to get them), or a profile is running already
   */
  profile<Result>(body: () => Result | Promise<Result>): Promise<Profiled<Result>>;
  /**
   * Puts a WGSL kernel of your own in place of a built-in one, for the arguments that it supports, once it has shown on a second device
   * that it computes what the reference computes (`KernelArguments` says what that is). Of several that support the same arguments the one
   * registered last runs. A kernel that fails is not installed, and nothing else changes; only a loop that does not end can still cost the
   * device, where the driver resets the whole card for it.
   *
   * ```ts
   * const { report, undo } = await device.registerKernel({
   *   kernel: "swiglu",
   *   name: "my-swiglu",
   *   bindings: ({ gate, up, output }) => ({ gate: read(gate), up: read(up), output: write(output) }),
   *   uniforms: ({ output }) => ({ count: u32(output.shape.reduce((product, size) => product * size, 1)) }),
   *   workgroups: ({ output }) => workgroupGrid(Math.ceil(output.shape.reduce((product, size) => product * size, 1) / 256)),
   *   code: entryPoint(256, `
   *     if (index >= uniforms.count) { return; }
   *     let x = gate[uniforms.gateOffset + index];
   *     output[uniforms.outputOffset + index] = x / (1 + exp(-x)) * up[uniforms.upOffset + index];`),
   * });
   * ```
   * @throws KernelValidationError that says what is wrong, and shows the smallest arguments found for it
   * @throws DeviceError when there is no kernel of that name, or no second device @throws DeviceLostError
   */
  registerKernel<Name extends KernelName>(
    definition: WgslKernel<Name>,
    options?: WgslValidationOptions<Name>,
  ): Promise<RegisteredKernel<Name>>;
  /** The trial of `registerKernel` alone. @throws KernelValidationError */
  validateKernel<Name extends KernelName>(definition: WgslKernel<Name>, options?: WgslValidationOptions<Name>): Promise<KernelReport<Name>>;
  /** Closes the device. Its tensors cannot be read any more; `webgpu()` opens a new one. */
  destroy(): void;
}

/** One call after another, so that two at once share a device. */
let opening: Promise<WebGpuDevice> | undefined;
let current: { readonly backend: WebGpuBackend; readonly device: WebGpuDevice } | undefined;

/**
 * Opens a GPU, so that tensors can be made on `{ device: "webgpu" }`. Needs no call of `destroy`: a program ends by itself. While a device
 * is open, a call without options returns it; after a loss it opens a new one.
 *
 * ```ts
 * const { adapter } = await webgpu();
 * const x = tensor([1, 2, 3], { device: "webgpu" });
 * console.log(adapter.description, await x.exp().data());
 * ```
 * @throws DeviceError when there is no WebGPU or no adapter (it says what to install), or options are given while a device is open
 */
export async function webgpu(options?: WebGpuOptions): Promise<WebGpuDevice> {
  while (opening !== undefined) await opening.catch(() => undefined);
  opening = open(options);
  try {
    return await opening;
  } finally {
    opening = undefined;
  }
}

async function open(options: WebGpuOptions | undefined): Promise<WebGpuDevice> {
  if (current !== undefined && current.backend.runtime.lost === undefined) {
    if (options !== undefined) {
      throw new DeviceError('webgpu: device "webgpu" is open already; destroy() it before opening another with options');
    }
    return current.device;
  }
  const { device, info, subgroups } = await openDevice(withoutMatrixUnits(options));
  const backend = createWebGpuBackend(device, { subgroups });
  const subgroupMatrix = options?.subgroupMatrix ? await enableSubgroupMatrix(backend) : "off";
  applyTuning(backend, await givenTuning(options?.tuning, adapterName(backend.runtime)));
  const { vendor = "", architecture = "", device: name = "", description = "" } = info;
  const overrides = new KernelOverrides(backend, async () => {
    const trial = await openDevice(withoutMatrixUnits(options));
    return createWebGpuBackend(trial.device, { subgroups: trial.subgroups });
  });
  const handle: WebGpuDevice = {
    adapter: { vendor, architecture, device: name, description, isSoftware: backend.runtime.isSoftware },
    features: backend.runtime.features,
    limits: backend.runtime.limits,
    subgroupMatrix,
    lost: backend.lost,
    statistics() {
      const { queue, pipelines } = backend.runtime;
      return {
        launches: queue.statistics.launches,
        submissions: queue.statistics.submissions,
        pipelinesCompiled: pipelines.statistics.compiled,
        compileMilliseconds: pipelines.statistics.compileMilliseconds,
      };
    },
    pipelines: () => backend.runtime.pipelines.records(),
    warmUp: async (records) => {
      backend.runtime.checkAlive();
      return backend.runtime.pipelines.warmUp(records);
    },
    async autotune({ save = true, ...settings } = {}) {
      const result = await autotune(backend, settings);
      if (save && isNode()) await saveTuning(result.tuning);
      return result;
    },
    profile: (body) => profile(backend.runtime, body),
    registerKernel: (definition, settings) => overrides.register(definition, settings),
    validateKernel: (definition, settings) => overrides.validate(definition, settings),
    destroy() {
      backend.destroy();
      if (current?.backend !== backend) return;
      current = undefined;
      installBackend("webgpu", undefined);
    },
  };
  current = { backend, device: handle };
  installBackend("webgpu", backend);
  return handle;
}

/** An experimental feature of the adapter is not even requested unless it is asked for. */
function withoutMatrixUnits(options: WebGpuOptions | undefined): DeviceRequest | undefined {
  if (options?.subgroupMatrix) return options;
  return { ...options, withoutFeatures: [...(options?.withoutFeatures ?? []), "chromium-experimental-subgroup-matrix"] };
}

/** The table that the caller gave, or the saved one. A damaged file costs speed alone, so it is reported and left aside. */
async function givenTuning(given: unknown, adapter: string): Promise<MatmulTuning | undefined> {
  if (given !== undefined) return given === null ? undefined : parseTuning(given);
  if (!isNode()) return undefined;
  try {
    return await loadTuning(adapter);
  } catch (error) {
    // oxlint-disable-next-line no-console -- the device works without the table, but its owner should know why it is slower
    console.warn(`webgpu: no tuning table is used: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}
