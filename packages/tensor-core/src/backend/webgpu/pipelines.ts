import type { KernelLaunch } from "./program.ts";
import { assembleShader, type Aliases } from "./program.ts";
import { shaderStageCompute } from "./gpu-constants.ts";

/** A shader and the access of its bindings: all that a pipeline is compiled from. */
export interface PipelineRecord {
  readonly label: string;
  readonly shader: string;
  /** One letter a storage binding: r = read-only, w = read and write. */
  readonly layout: string;
}

/** A compiled pipeline with the layout of its bind groups. */
export interface Pipeline {
  readonly id: number;
  readonly label: string;
  readonly resource: GPUComputePipeline;
  readonly bindGroupLayout: GPUBindGroupLayout;
  /** Same for all pipelines that can use each other's bind groups. */
  readonly layoutId: string;
}

/** What was compiled, and how long the calls took on the CPU (compilation may go on in the driver). */
export interface PipelineStatistics {
  compiled: number;
  compileMilliseconds: number;
}

/**
 * Pipelines by key (kernel, variant, types) and by their text. A pipeline is always looked up by the text that the kernel would compile
 * now, so that a stale or foreign record of `warmUp` can cost time but never change a result.
 */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #byKey = new Map<string, Pipeline>();
  readonly #byText = new Map<string, Pipeline>();
  readonly #layouts = new Map<string, { readonly group: GPUBindGroupLayout; readonly pipeline: GPUPipelineLayout }>();
  readonly #records = new Map<string, PipelineRecord>();
  readonly statistics: PipelineStatistics = { compiled: 0, compileMilliseconds: 0 };
  #nextId = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** The pipeline of a launch, compiled at its first use. `key` must tell apart all texts that the launch can have. */
  get(key: string, launch: KernelLaunch, aliases: Aliases, layout: string): Pipeline {
    let pipeline = this.#byKey.get(key);
    if (pipeline !== undefined) return pipeline;
    const record = { label: launch.variant ? `${launch.name} ${launch.variant}` : launch.name, shader: assembleShader(launch, aliases), layout };
    const text = textKey(record);
    pipeline = this.#byText.get(text) ?? this.#compile(record);
    this.#byKey.set(key, pipeline);
    this.#records.set(text, record);
    return pipeline;
  }

  /** All pipelines used so far, to be compiled ahead of need in another run. */
  records(): readonly PipelineRecord[] {
    return [...this.#records.values()];
  }

  /** Compiles in parallel, without blocking. Records that do not compile here (another adapter, an older release) are left out. */
  async warmUp(records: readonly PipelineRecord[]): Promise<{ readonly compiled: number; readonly failed: number }> {
    let failed = 0;
    const wanted = records.filter((record) => !this.#byText.has(textKey(record)));
    await Promise.all(
      wanted.map(async (record) => {
        try {
          const resource = await this.#device.createComputePipelineAsync(this.#descriptor(record));
          this.#add(record, resource);
        } catch {
          failed++;
        }
      }),
    );
    return { compiled: wanted.length - failed, failed };
  }

  #compile(record: PipelineRecord): Pipeline {
    const start = performance.now();
    const pipeline = this.#add(record, this.#device.createComputePipeline(this.#descriptor(record)));
    this.statistics.compileMilliseconds += performance.now() - start;
    return pipeline;
  }

  #add(record: PipelineRecord, resource: GPUComputePipeline): Pipeline {
    const pipeline = { id: this.#nextId++, label: record.label, resource, bindGroupLayout: this.#layout(record.layout).group, layoutId: record.layout };
    this.#byText.set(textKey(record), pipeline);
    this.statistics.compiled++;
    return pipeline;
  }

  #descriptor({ label, shader, layout }: PipelineRecord): GPUComputePipelineDescriptor {
    const module = this.#device.createShaderModule({ label, code: shader });
    return { label, layout: this.#layout(layout).pipeline, compute: { module, entryPoint: "main" } };
  }

  #layout(access: string): { readonly group: GPUBindGroupLayout; readonly pipeline: GPUPipelineLayout } {
    let layout = this.#layouts.get(access);
    if (layout === undefined) {
      const uniform: GPUBindGroupLayoutEntry = {
        binding: 0,
        visibility: shaderStageCompute,
        buffer: { type: "uniform", hasDynamicOffset: true },
      };
      const storage = [...access].map(
        (letter, i): GPUBindGroupLayoutEntry => ({
          binding: i + 1,
          visibility: shaderStageCompute,
          buffer: { type: letter === "r" ? "read-only-storage" : "storage" },
        }),
      );
      const group = this.#device.createBindGroupLayout({ entries: [uniform, ...storage] });
      layout = { group, pipeline: this.#device.createPipelineLayout({ bindGroupLayouts: [group] }) };
      this.#layouts.set(access, layout);
    }
    return layout;
  }
}

const textKey = ({ shader, layout }: PipelineRecord): string => `${layout}\n${shader}`;
