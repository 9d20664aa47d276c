import type { DeviceName } from "../backend/backend.ts";
import { backendOf } from "../backend/registry.ts";
import { allocate } from "../ops/dispatch.ts";
import { checkShape, sizeOf, type Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { threefry2x32 } from "./threefry.ts";

/** A position in a random stream; serialise it to resume. */
export interface GeneratorState {
  readonly key: readonly [number, number];
  readonly counter: number;
}

/** Options of draws. */
export interface DrawOptions<Device extends DeviceName> {
  /** Default "cpu". */
  readonly device?: Device;
}

/**
 * Counter-based random numbers (Threefry-2x32, Salmon et al. 2011): the same seed gives the same stream on every device and for any number of threads. Each draw takes
 * the next counters; `split` gives independent streams.
 */
export class Generator {
  #key: readonly [number, number];
  #counter = 0;

  /** @param seed any safe integer */
  constructor(seed: number) {
    if (!Number.isSafeInteger(seed)) throw new RangeError(`Generator: seed ${seed} is no safe integer`);
    this.#key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
  }

  get state(): GeneratorState {
    return { key: this.#key, counter: this.#counter };
  }

  set state(state: GeneratorState) {
    this.#key = [state.key[0] >>> 0, state.key[1] >>> 0];
    this.#counter = state.counter;
  }

  /** An independent generator for `stream`, the same for the same key and stream. */
  split(stream: number): Generator {
    const child = new Generator(0);
    // The all-ones counter half keeps derived keys apart from the words of ordinary draws.
    child.state = { key: this.#block(stream >>> 0, 0xffffffff), counter: 0 };
    return child;
  }

  /** Uniform float32 numbers in [low, high). */
  uniform<Device extends DeviceName = "cpu">(shape: Shape, low: number = 0, high: number = 1, options: DrawOptions<Device> = {}): Tensor<Device> {
    return this.#draw("uniform", shape, [low, high], options);
  }

  /** Normal float32 numbers. */
  normal<Device extends DeviceName = "cpu">(shape: Shape, mean: number = 0, standardDeviation: number = 1, options: DrawOptions<Device> = {}): Tensor<Device> {
    return this.#draw("normal", shape, [mean, standardDeviation], options);
  }

  /** 32 random bits an element, as int32. */
  bits<Device extends DeviceName = "cpu">(shape: Shape, options: DrawOptions<Device> = {}): Tensor<Device> {
    return this.#draw("bits", shape, [0, 0], options);
  }

  /** One number in [0, 1) on the host. */
  next(): number {
    const [word] = this.#block(this.#counter >>> 0, Math.floor(this.#counter / 2 ** 32));
    this.#counter++;
    return (word >>> 8) / 2 ** 24;
  }

  #block(low: number, high: number): readonly [number, number] {
    const words = new Uint32Array(2);
    threefry2x32(this.#key[0], this.#key[1], low, high, words);
    return [words[0]!, words[1]!];
  }

  #draw<Device extends DeviceName>(
    distribution: "uniform" | "normal" | "bits", shape: Shape, parameters: readonly [number, number], { device }: DrawOptions<Device>,
  ): Tensor<Device> {
    checkShape(distribution, shape);
    const backend = backendOf(device ?? "cpu");
    const output = allocate<Device>(backend, distribution === "bits" ? "int32" : "float32", shape);
    backend.kernels.random({ distribution, key: this.#key, counter: this.#counter, parameters, output });
    this.#counter += Math.ceil(sizeOf(shape) / 2);
    return output;
  }
}
