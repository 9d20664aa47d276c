import type { KernelLaunch } from "./program.ts";
import { DeviceError } from "../../errors.ts";
import { bufferUsage } from "./gpu-constants.ts";

/** Bytes of one launch's uniform block: the alignment of dynamic offsets on every adapter. */
export const uniformBlockSize = 256;

/**
 * The uniform blocks of one batch. They are collected here and sent in one write before the batch is submitted: queue writes run in order
 * with submissions, so the next batch may use the same buffer.
 */
export class UniformArena {
  readonly buffer: GPUBuffer;
  readonly #capacity: number;
  readonly #bytes: ArrayBuffer;
  readonly #unsigned: Uint32Array;
  readonly #signed: Int32Array;
  readonly #floats: Float32Array;
  #used = 0;

  constructor(device: GPUDevice, blocks: number) {
    this.#capacity = blocks * uniformBlockSize;
    this.buffer = device.createBuffer({ size: this.#capacity, usage: bufferUsage.uniform | bufferUsage.copyDestination });
    this.#bytes = new ArrayBuffer(this.#capacity);
    this.#unsigned = new Uint32Array(this.#bytes);
    this.#signed = new Int32Array(this.#bytes);
    this.#floats = new Float32Array(this.#bytes);
  }

  /** Adds a launch's block; its offset. Fields lie as `assembleShader` declares them. */
  add(launch: KernelLaunch): number {
    const start = this.#used;
    let word = start / 4;
    for (const name in launch.bindings) this.#unsigned[word++] = launch.bindings[name]!.offset;
    for (const name in launch.uniforms) {
      const { type, value } = launch.uniforms[name]!;
      if (type === "f32") this.#floats[word++] = value;
      else if (type === "u32") this.#unsigned[word++] = value;
      else this.#signed[word++] = value;
    }
    if (word * 4 > start + uniformBlockSize) {
      throw new DeviceError(`internal: ${launch.name} has more than ${uniformBlockSize / 4} uniforms`);
    }
    this.#used = start + uniformBlockSize;
    return start;
  }

  /** Sends the blocks and starts anew. */
  send(queue: GPUQueue): void {
    if (this.#used > 0) queue.writeBuffer(this.buffer, 0, this.#bytes, 0, this.#used);
    this.#used = 0;
  }
}
