import type { DeviceName } from "../backend/backend.ts";
import { backendOf } from "../backend/registry.ts";
import { allocate, allocateLike } from "../ops/dispatch.ts";
import { checkShape, sizeOf, type Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { foldIn, randomKey, randomWord, type RandomKey } from "./threefry.ts";

/** A position in a random stream; serialise it to resume. */
export interface GeneratorState {
  readonly key: RandomKey;
  readonly counter: number;
}

/** Options of draws. */
export interface DrawOptions<Device extends DeviceName> {
  /** Default "cpu". */
  readonly device?: Device;
}

/**
 * Counter-based random numbers (Threefry-2x32, Salmon et al. 2011): the same seed gives the same stream on every device and for any number
 * of threads. Each draw takes
 * the next counters; `split` gives independent streams.
 */
export class Generator {
  #key: RandomKey;
  #counter = 0;

  /** @param seed any safe integer @throws RangeError for others */
  constructor(seed: number) {
    this.#key = randomKey(seed);
  }

  get state(): GeneratorState {
    return { key: this.#key, counter: this.#counter };
  }

  set state(state: GeneratorState) {
    this.#key = [state.key[0] >>> 0, state.key[1] >>> 0];
    this.#counter = state.counter;
  }

  /** An independent generator for `stream` (a safe integer), the same for the same key and stream. */
  split(stream: number): Generator {
    const child = new Generator(0);
    // Folded twice: a single fold gives the very words that drawing at that counter would.
    child.state = { key: foldIn(foldIn(this.#key, stream), stream), counter: 0 };
    return child;
  }

  /**
   * Uniform float32 numbers in [low, high): where float32 is so coarse that draws would round to `high`, they become the number below it.
   */
  uniform<Device extends DeviceName = "cpu">(
    shape: Shape,
    low: number = 0,
    high: number = 1,
    options: DrawOptions<Device> = {},
  ): Tensor<Device> {
    return this.#draw("uniform", shape, [low, high], options);
  }

  /** Normal float32 numbers. */
  normal<Device extends DeviceName = "cpu">(
    shape: Shape,
    mean: number = 0,
    standardDeviation: number = 1,
    options: DrawOptions<Device> = {},
  ): Tensor<Device> {
    return this.#draw("normal", shape, [mean, standardDeviation], options);
  }

  /** 32 random bits an element, as int32. */
  bits<Device extends DeviceName = "cpu">(shape: Shape, options: DrawOptions<Device> = {}): Tensor<Device> {
    return this.#draw("bits", shape, [0, 0], options);
  }

  /** One number in [0, 1) on the host. */
  next(): number {
    return (randomWord(this.#key, this.#counter++) >>> 8) / 2 ** 24;
  }

  #draw<Device extends DeviceName>(
    distribution: "uniform" | "normal" | "bits",
    shape: Shape,
    parameters: readonly [number, number],
    { device }: DrawOptions<Device>,
  ): Tensor<Device> {
    checkShape(distribution, shape);
    const backend = backendOf(device ?? "cpu");
    const output = allocate<Device>(backend, distribution === "bits" ? "int32" : "float32", shape);
    backend.kernels.random({ distribution, key: this.#key, counter: this.#counter, parameters, output });
    this.#counter += Math.ceil(sizeOf(shape) / 2);
    if (distribution !== "uniform" || !roundsUp(...parameters)) return output;
    const limited = allocateLike(output);
    backend.kernels.binaryScalar({ operation: "minimum", a: output, scalar: below(parameters[1]), reversed: false, output: limited });
    output.dispose();
    return limited;
  }
}

/** Whether the largest uniform draw comes out as `high`, by the steps of kernels that compute in float32 or in float64. */
function roundsUp(low: number, high: number): boolean {
  const { fround } = Math;
  const [from, to] = [fround(low), fround(high)];
  if (!(below(high) >= from)) return false;
  const steps = 2 ** 24 - 1;
  const narrow = fround(from + fround(fround(fround(to - from) * 2 ** -24) * steps));
  return Math.max(narrow, fround(low + (high - low) * steps * 2 ** -24)) >= to;
}

/** The float32 below the one that stands for a number. */
function below(value: number): number {
  const float = new Float32Array([value]);
  const bits = new Int32Array(float.buffer);
  if (float[0] === 0) bits[0] = 0x80000001 | 0;
  else bits[0]! += float[0]! > 0 ? -1 : 1;
  return float[0]!;
}
