import type { ErrorScopes } from "./error-scopes.ts";
import { GpuCommandError } from "./errors.ts";
import { assembleShader, type Aliases, type KernelLaunch } from "./program.ts";
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
  readonly layoutId: number;
  /** Not launched yet, and not known to be good. */
  isNew: boolean;
  /** Set when it turns out not to compile. */
  failure: Error | undefined;
}

interface Layout {
  readonly id: number;
  readonly group: GPUBindGroupLayout;
  readonly pipeline: GPUPipelineLayout;
}

/** What was compiled, and how long the calls took on the CPU (compilation may go on in the driver). */
export interface PipelineStatistics {
  compiled: number;
  compileMilliseconds: number;
}

/**
 * Pipelines by their text. A pipeline is always looked up by the text that the kernel would compile
 * now, so that a stale or foreign record of `warmUp` can cost time but never change a result.
 */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #scopes: ErrorScopes;
  readonly #byText = new Map<string, Pipeline>();
  readonly #layouts = new Map<string, Layout>();
  readonly #records = new Map<string, PipelineRecord>();
  readonly statistics: PipelineStatistics = { compiled: 0, compileMilliseconds: 0 };
  #nextId = 0;

  constructor(device: GPUDevice, scopes: ErrorScopes) {
    this.#device = device;
    this.#scopes = scopes;
  }

  /** The pipeline of a launch, compiled unless one of the same text is there. Calls the kernel's `code`: remember the answer. */
  get(launch: KernelLaunch, aliases: Aliases, layout: string): Pipeline {
    const label = launch.variant ? `${launch.name} ${launch.variant}` : launch.name;
    const record = { label, shader: assembleShader(launch, aliases), layout };
    const text = textKey(record);
    const pipeline = this.#byText.get(text) ?? this.#compile(record);
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
    const wanted = new Map<string, PipelineRecord>();
    for (const record of records) if (!this.#byText.has(textKey(record))) wanted.set(textKey(record), record);
    await Promise.all(
      [...wanted].map(async ([text, record]) => {
        try {
          if (!/^[rw]{0,8}$/.test(record.layout)) throw new GpuCommandError(`"${record.layout}" is not the access of up to 8 arrays`);
          // Its own scopes: what is wrong with a record must not count as an error of the commands being recorded.
          const { layout, module } = this.#scopes.watch(
            () => ({ layout: this.#layout(record.layout), module: this.#module(record) }),
            () => undefined,
          );
          const resource = await this.#device.createComputePipelineAsync(descriptor(record, layout, module));
          if (!this.#byText.has(text)) this.#add(record, layout, resource, false);
        } catch {
          failed++;
        }
      }),
    );
    return { compiled: wanted.size - failed, failed };
  }

  #compile(record: PipelineRecord): Pipeline {
    const start = performance.now();
    let module: GPUShaderModule | undefined;
    const pipeline: Pipeline = this.#scopes.watch(
      () => {
        const layout = this.#layout(record.layout);
        module = this.#module(record);
        return this.#add(record, layout, this.#device.createComputePipeline(descriptor(record, layout, module)), true);
      },
      async (error) => {
        const messages = await compilerMessages(error, module);
        pipeline.failure = new GpuCommandError(`kernel "${record.label}" does not compile: ${error.message}${messages}`);
      },
    );
    this.statistics.compileMilliseconds += performance.now() - start;
    return pipeline;
  }

  #add(record: PipelineRecord, layout: Layout, resource: GPUComputePipeline, isNew: boolean): Pipeline {
    const { label } = record;
    const pipeline = { id: this.#nextId++, label, resource, bindGroupLayout: layout.group, layoutId: layout.id, isNew, failure: undefined };
    this.#byText.set(textKey(record), pipeline);
    this.statistics.compiled++;
    return pipeline;
  }

  #module({ label, shader }: PipelineRecord): GPUShaderModule {
    return this.#device.createShaderModule({ label, code: shader });
  }

  #layout(access: string): Layout {
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
      layout = { id: this.#layouts.size, group, pipeline: this.#device.createPipelineLayout({ bindGroupLayouts: [group] }) };
      this.#layouts.set(access, layout);
    }
    return layout;
  }
}

const textKey = ({ shader, layout }: PipelineRecord): string => `${layout}\n${shader}`;

function descriptor({ label }: PipelineRecord, layout: Layout, module: GPUShaderModule): GPUComputePipelineDescriptor {
  return { label, layout: layout.pipeline, compute: { module, entryPoint: "main" } };
}

/** What the compiler says, where the error does not repeat it. */
async function compilerMessages(error: Error, module: GPUShaderModule | undefined): Promise<string> {
  try {
    const { messages } = (await module?.getCompilationInfo()) ?? { messages: [] };
    const missing = messages.filter(({ type, message }) => type === "error" && !error.message.includes(message));
    return missing.map(({ message, lineNum, linePos }) => `\n${lineNum}:${linePos} ${message}`).join("");
  } catch {
    // The device is lost.
    return "";
  }
}
