import { OutOfMemoryError } from "../../errors.ts";
import { GpuCommandError } from "./errors.ts";

/** The part of a device that reports errors. */
export type ErrorReports = Pick<GPUDevice, "pushErrorScope" | "popErrorScope">;

/** Everything but the loss of the device; popped in reverse order. */
const filters = ["internal", "out-of-memory", "validation"] as const;

/**
 * Errors of WebGPU arrive later and elsewhere than the calls that caused them. Scopes tell which: one around each batch of commands, and
 * one around each resource made meanwhile, so that a resource that the driver refused is known by itself.
 */
export class ErrorScopes {
  readonly #device: ErrorReports;
  #verdicts: Promise<void>[] = [];

  constructor(device: ErrorReports) {
    this.#device = device;
  }

  open(): void {
    for (const filter of filters) this.#device.pushErrorScope(filter);
  }

  /** The first error since the matching `open`; never rejects. */
  close(): Promise<Error | undefined> {
    return firstError(filters.map(() => this.#device.popErrorScope()));
  }

  /** Makes a resource. `refused` is called, later, when the GPU did not; `takeVerdicts` waits for it. */
  watch<Resource>(make: () => Resource, refused: (error: Error) => void | Promise<void>): Resource {
    this.open();
    const resource = make();
    const error = this.close();
    this.#verdicts.push(error.then((reported) => (reported === undefined ? undefined : refused(reported))));
    return resource;
  }

  /** The verdicts on all resources made since the last call. */
  takeVerdicts(): readonly Promise<void>[] {
    const verdicts = this.#verdicts;
    if (verdicts.length > 0) this.#verdicts = [];
    return verdicts;
  }
}

async function firstError(scopes: readonly Promise<GPUError | null>[]): Promise<Error | undefined> {
  // After the loss of the device some implementations reject; the loss itself is reported elsewhere.
  const [validation, memory, internal] = await Promise.all(scopes.map((scope) => scope.catch(() => null)));
  if (memory) return outOfMemory(memory.message);
  if (validation) return new GpuCommandError(`the GPU refused a command: ${validation.message}`);
  if (internal) return new GpuCommandError(`the GPU failed in a command: ${internal.message}`);
  return undefined;
}

const outOfMemory = (message: string): OutOfMemoryError =>
  new OutOfMemoryError(`the GPU has no memory left: ${message}; free tensors, or use smaller batches`);

/** An error that no scope caught, with our types. */
export function uncapturedError(error: GPUError): Error {
  // Node has no such global.
  const isMemory = error.constructor.name === "GPUOutOfMemoryError";
  return isMemory ? outOfMemory(error.message) : new GpuCommandError(`the GPU reported an error: ${error.message}`);
}
