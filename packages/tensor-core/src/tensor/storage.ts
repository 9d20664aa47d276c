import type { Backend, DeviceBuffer } from "../backend/backend.ts";
import { unwatchMemory, watchMemory } from "./leaks.ts";

/**
 * Reference-counted device memory shared by a tensor and its views. `version` counts in-place writes, so that a backward pass can tell that
 * a value
 * it saved is no longer the one it saw.
 */
export class Storage {
  readonly backend: Backend;
  readonly buffer: DeviceBuffer;
  version = 0;
  #references = 1;

  constructor(backend: Backend, byteLength: number) {
    this.backend = backend;
    this.buffer = backend.allocate(byteLength);
    watchMemory(this, backend.name, byteLength);
  }

  /** Whether more than one tensor uses this memory. */
  get shared(): boolean {
    return this.#references > 1;
  }

  retain(): this {
    this.#references++;
    return this;
  }

  release(): void {
    if (--this.#references !== 0) return;
    unwatchMemory(this);
    this.backend.free(this.buffer);
  }
}
