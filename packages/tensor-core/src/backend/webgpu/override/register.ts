import type { KernelArguments, KernelName } from "../../backend.ts";
import { DeviceError } from "../../../errors.ts";
import { KernelValidationError } from "../../../validation/errors.ts";
import type { WebGpuBackend } from "../backend.ts";
import type { WgslKernel } from "./kernel.ts";
import { bindKernel } from "./recorder.ts";
import type { KernelReport, WgslValidationOptions } from "./report.ts";
import type { ValidatedKernel } from "./validate.ts";

/** A kernel in use. */
export interface RegisteredKernel<Name extends KernelName> {
  readonly report: KernelReport<Name>;
  /** Takes the kernel out of use, in whatever order; a second call does nothing. */
  undo(): void;
}

/** One kernel's overrides, those registered last first. */
interface Entry<Name extends KernelName> {
  supports(parameters: KernelArguments[Name]): boolean;
  run(parameters: KernelArguments[Name]): void;
}

/** Overrides of one device. */
export class KernelOverrides {
  readonly #backend: WebGpuBackend;
  readonly #open: () => Promise<WebGpuBackend>;
  readonly #entries = new Map<KernelName, Entry<never>[]>();
  readonly #revisions = new Map<string, number>();

  /** `open` gives a second device on the same adapter. */
  constructor(backend: WebGpuBackend, open: () => Promise<WebGpuBackend>) {
    this.#backend = backend;
    this.#open = open;
  }

  /** Tries a kernel. @throws KernelValidationError */
  async validate<Name extends KernelName>(
    definition: WgslKernel<Name>,
    options: WgslValidationOptions<Name> = {},
  ): Promise<KernelReport<Name>> {
    return (await this.#validate(definition, definition.name, options)).report;
  }

  /** Tries a kernel and puts it into use. @throws KernelValidationError @throws DeviceLostError */
  async register<Name extends KernelName>(
    definition: WgslKernel<Name>,
    options: WgslValidationOptions<Name> = {},
  ): Promise<RegisteredKernel<Name>> {
    const { kernel, name } = definition;
    const { runtime } = this.#backend;
    // Pipelines are remembered by label, so a later kernel of the same name needs another.
    const base = `${kernel}/${name}`;
    const revision = (this.#revisions.get(base) ?? 0) + 1;
    this.#revisions.set(base, revision);
    const label = revision === 1 ? base : `${base} (${revision})`;
    const { report, pipelines } = await this.#validate(definition, label, options);
    const { failed } = await runtime.pipelines.warmUp(pipelines);
    runtime.checkAlive();
    if (failed > 0) {
      throw new KernelValidationError(kernel, name, "refused", `${failed} of its pipelines do not compile on the device in use`);
    }
    const undo = this.#install(kernel, {
      supports: (parameters) => definition.supports?.(parameters, runtime) ?? true,
      run: bindKernel(definition, runtime, label),
    });
    return { report, undo };
  }

  async #validate<Name extends KernelName>(
    definition: WgslKernel<Name>,
    label: string,
    options: WgslValidationOptions<Name>,
  ): Promise<ValidatedKernel<Name>> {
    this.#backend.runtime.checkAlive();
    if (!Object.hasOwn(this.#backend.kernels, definition.kernel)) {
      const known = Object.keys(this.#backend.kernels).join(", ");
      throw new DeviceError(`there is no kernel "${String(definition.kernel)}"; the kernels are ${known}`);
    }
    const { validateOnOwnDevice } = await import("./validate.ts");
    return validateOnOwnDevice(this.#open, definition, label, options);
  }

  #install<Name extends KernelName>(kernel: Name, entry: Entry<Name>): () => void {
    const entries = this.#entriesOf(kernel);
    entries.unshift(entry);
    return () => {
      const at = entries.indexOf(entry);
      if (at >= 0) entries.splice(at, 1);
    };
  }

  /** The overrides of a kernel; the first time, also puts the choice between them and the built-in in its place. */
  #entriesOf<Name extends KernelName>(kernel: Name): Entry<Name>[] {
    const known = this.#entries.get(kernel) as Entry<Name>[] | undefined;
    if (known !== undefined) return known;
    const entries: Entry<Name>[] = [];
    this.#entries.set(kernel, entries as unknown as Entry<never>[]);
    const kernels = this.#backend.kernels as { [Key in Name]: (parameters: KernelArguments[Key]) => void };
    const builtIn = kernels[kernel];
    kernels[kernel] = (parameters) => {
      for (const entry of entries) {
        if (!entry.supports(parameters)) continue;
        entry.run(parameters);
        return;
      }
      builtIn(parameters);
    };
    return entries;
  }
}
