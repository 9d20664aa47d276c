/** Measuring which tiles of the matrix product are fastest on an adapter. Never required: without a table, rules of thumb choose. */
import { DeviceError } from "../../errors.ts";
import { itemSize, type Dtype } from "../../tensor/dtype.ts";
import { contiguousStrides, sizeOf } from "../../tensor/shape.ts";
import type { KernelArguments, TensorView } from "../backend.ts";
import type { WebGpuBackend } from "./backend.ts";
import type { LaunchTimer } from "./command-queue.ts";
import { bufferUsage, mapModeRead } from "./gpu-constants.ts";
import { runMatmul } from "./kernels/matmul.ts";
import { planTiles, possibleTiles, shapeClasses, shapeOf, type ShapeClass, type TunedTiles } from "./kernels/matmul/choose.ts";
import type { OperandFormat } from "./kernels/matmul/problem.ts";
import { tileNames, type TileName } from "./kernels/matmul/tiles.ts";
import { setTunedTiles } from "./kernels/matmul/tuned-tiles.ts";

/** The fastest tiles of an adapter: what `autotune` finds. Plain JSON. */
export interface MatmulTuning {
  readonly version: 1;
  /** See `adapterName`. */
  readonly adapter: string;
  readonly tiles: TunedTiles;
}

/** Size of the product that stands for a class: m × k × n. */
export type TuningShape = readonly [m: number, k: number, n: number];

/** What to measure. */
export interface AutotuneOptions {
  /** Kinds of the right operand; default float32 and float16. Quantised ones have groups of 32. */
  readonly formats?: readonly OperandFormat[] | undefined;
  /** Products to measure, by class; default 192, 512, 1024 and 2048 cubed. A class given undefined is left out. */
  readonly shapes?: Readonly<Partial<Record<ShapeClass, TuningShape | undefined>>> | undefined;
  /** Timed runs of each tile, of which the median counts; default 7. */
  readonly repetitions?: number | undefined;
  /** Whether the backend uses the result from now on; default true. */
  readonly apply?: boolean | undefined;
}

/** One measured tile. */
export interface TileMeasurement {
  readonly format: OperandFormat;
  readonly shapeClass: ShapeClass;
  readonly tile: TileName;
  /** Median time of one product. */
  readonly milliseconds: number;
}

const usualShapes: Readonly<Record<ShapeClass, TuningShape>> = {
  small: [192, 192, 192],
  medium: [512, 512, 512],
  large: [1024, 1024, 1024],
  huge: [2048, 2048, 2048],
};

/** Names an adapter by all it says of itself: the key of tuning tables. */
export function adapterName({ device }: { readonly device: GPUDevice }): string {
  // Older browsers do not tell.
  const info = device.adapterInfo as GPUAdapterInfo | undefined;
  return [info?.vendor, info?.architecture, info?.device, info?.description].filter(Boolean).join(" ") || "unknown adapter";
}

/**
 * Measures the tiles that the adapter can run on a few products (seconds on a GPU), by GPU timestamps where the adapter has them and else
 * by the clock. Tiles differ in speed alone: results agree within the tolerance of a changed order of sums.
 * @throws DeviceLostError @throws OutOfMemoryError
 */
export async function autotune(
  backend: WebGpuBackend,
  { formats = ["float32", "float16"], shapes = usualShapes, repetitions = 7, apply = true }: AutotuneOptions = {},
): Promise<{ readonly tuning: MatmulTuning; readonly measurements: readonly TileMeasurement[] }> {
  const measurements: TileMeasurement[] = [];
  const tiles: Partial<Record<OperandFormat, Partial<Record<ShapeClass, TileName>>>> = {};
  const stopwatch = new Stopwatch(backend);
  try {
    for (const format of formats) {
      const fastest: Partial<Record<ShapeClass, TileName>> = {};
      for (const shapeClass of shapeClasses) {
        const shape = shapes[shapeClass];
        if (shape === undefined) continue;
        const results = await measureTiles(backend, stopwatch, format, shapeClass, shape, repetitions);
        measurements.push(...results);
        fastest[shapeClass] = results.reduce((best, result) => (result.milliseconds < best.milliseconds ? result : best)).tile;
      }
      tiles[format] = fastest;
    }
  } finally {
    stopwatch.destroy();
  }
  const tuning: MatmulTuning = { version: 1, adapter: adapterName(backend.runtime), tiles };
  if (apply) applyTuning(backend, tuning);
  return { tuning, measurements };
}

/**
 * Lets a backend's products use a table; undefined goes back to the rules of thumb.
 * @throws DeviceError for the table of another adapter
 */
export function applyTuning({ runtime }: WebGpuBackend, tuning: MatmulTuning | undefined): void {
  const adapter = adapterName(runtime);
  if (tuning !== undefined && tuning.adapter !== adapter) {
    throw new DeviceError(`the tuning table is for the adapter "${tuning.adapter}", this is "${adapter}"; run autotune here`);
  }
  setTunedTiles(runtime, tuning?.tiles);
}

const operandFormats: readonly OperandFormat[] = ["float32", "float16", "int8", "uint4"];

/** Longest name of an adapter that is taken for one. */
const maximumAdapterName = 1024;

/**
 * Checks a table that comes from outside (JSON of a file, or of a browser's storage).
 * @throws DeviceError that says what is wrong
 */
export function parseTuning(value: unknown): MatmulTuning {
  const fail = (problem: string): never => {
    throw new DeviceError(`not a tuning table of this release: ${problem}; run autotune again`);
  };
  if (!isRecord(value)) return fail(`it is ${value === null ? "null" : typeof value}, not an object`);
  if (value["version"] !== 1) fail(`version is ${JSON.stringify(value["version"])?.slice(0, 40)}, not 1`);
  const { adapter, tiles: given } = value;
  if (typeof adapter !== "string" || adapter.length > maximumAdapterName) {
    return fail(`adapter is no string of at most ${maximumAdapterName} characters`);
  }
  if (!isRecord(given)) return fail("tiles is not an object");
  const tiles: Partial<Record<OperandFormat, Partial<Record<ShapeClass, TileName>>>> = {};
  for (const [format, classes] of Object.entries(given)) {
    if (!isOneOf(operandFormats, format)) return fail(`tiles has the unknown format "${format.slice(0, 40)}"`);
    if (!isRecord(classes)) return fail(`tiles.${format} is not an object`);
    const row: Partial<Record<ShapeClass, TileName>> = {};
    for (const [shapeClass, tile] of Object.entries(classes)) {
      if (!isOneOf(shapeClasses, shapeClass)) return fail(`tiles.${format} has the unknown class "${shapeClass.slice(0, 40)}"`);
      if (!isOneOf(tileNames, tile)) return fail(`tiles.${format}.${shapeClass} is no tile`);
      row[shapeClass] = tile;
    }
    tiles[format] = row;
  }
  return { version: 1, adapter, tiles };
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

function isOneOf<Name extends string>(names: readonly Name[], value: unknown): value is Name {
  return (names as readonly unknown[]).includes(value);
}

async function measureTiles(
  backend: WebGpuBackend,
  stopwatch: Stopwatch,
  format: OperandFormat,
  shapeClass: ShapeClass,
  shape: TuningShape,
  repetitions: number,
): Promise<TileMeasurement[]> {
  const { call, free } = exampleProduct(backend, format, shape);
  try {
    const results: TileMeasurement[] = [];
    for (const tile of possibleTiles(backend.runtime.limits)) {
      const run = (): void => runMatmul(backend.runtime, call, (problem) => planTiles(tile, shapeOf(problem)));
      run();
      await backend.synchronize();
      const times: number[] = [];
      for (let i = 0; i < repetitions; i++) times.push(await stopwatch.time(run));
      times.sort((x, y) => x - y);
      results.push({ format, shapeClass, tile, milliseconds: times[times.length >> 1]! });
    }
    return results;
  } finally {
    free();
  }
}

/** A product x · wᵀ with values that are no special case for the hardware. */
function exampleProduct(
  backend: WebGpuBackend,
  format: OperandFormat,
  [m, k, n]: TuningShape,
): { readonly call: KernelArguments["matmul"]; readonly free: () => void } {
  const views: TensorView[] = [];
  const make = (dtype: Dtype, shape: readonly number[], strides: readonly number[] = contiguousStrides(shape)): TensorView => {
    const view = { buffer: backend.allocate(sizeOf(shape) * itemSize(dtype)), dtype, shape, strides, offset: 0 };
    views.push(view);
    const bytes = new Uint8Array(view.buffer.byteLength);
    if (dtype === "float32") new Float32Array(bytes.buffer).forEach((_, i, all) => (all[i] = ((i * 7919) % 1021) / 1021 - 0.5));
    // Any bits are small float16 numbers as long as the upper byte is below 0x3c.
    else bytes.forEach((_, i, all) => (all[i] = (i * 7919) % 60));
    backend.write(view.buffer, 0, bytes);
    return view;
  };
  const groupSize = 32;
  const weight = (): KernelArguments["matmul"]["b"] => {
    if (format === "float32" || format === "float16") return make(format, [k, n], [1, k]);
    const values = format === "int8" ? make("int8", [n, k]) : make("uint8", [n, k / 2]);
    return { format, shape: [n, k], groupSize, values, scales: make("float32", [n, k / groupSize]) };
  };
  const call = { a: make("float32", [m, k]), b: weight(), output: make("float32", [m, n]) };
  return { call, free: () => views.forEach(({ buffer }) => backend.free(buffer)) };
}

/** Launches that one measurement takes at most: a product, the sum of its splits, and some to spare. */
const timedLaunches = 8;

/** Times work on the GPU, by timestamps of its launches where there are any. */
class Stopwatch {
  readonly #backend: WebGpuBackend;
  readonly #timer: TimestampTimer | undefined;

  constructor(backend: WebGpuBackend) {
    this.#backend = backend;
    const { features, queue, device } = backend.runtime;
    // A timer of somebody else (a profile) is not disturbed.
    if (features.timestamps && queue.timer === undefined) this.#timer = new TimestampTimer(device);
  }

  /** Milliseconds. */
  async time(run: () => void): Promise<number> {
    const { queue } = this.#backend.runtime;
    const start = performance.now();
    if (this.#timer !== undefined) queue.timer = this.#timer;
    try {
      run();
      await this.#backend.synchronize();
    } finally {
      if (this.#timer !== undefined) queue.timer = undefined;
    }
    const elapsed = performance.now() - start;
    const measured = await this.#timer?.take();
    // Browsers round timestamps: nothing measured is no measurement.
    return measured === undefined || measured === 0 ? elapsed : measured;
  }

  destroy(): void {
    this.#timer?.destroy();
  }
}

class TimestampTimer implements LaunchTimer {
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #readable: GPUBuffer;
  #used = 0;

  constructor(device: GPUDevice) {
    const size = timedLaunches * 16;
    this.#queries = device.createQuerySet({ type: "timestamp", count: timedLaunches * 2 });
    this.#resolved = device.createBuffer({ size, usage: bufferUsage.queryResolve | bufferUsage.copySource });
    this.#readable = device.createBuffer({ size, usage: bufferUsage.mapRead | bufferUsage.copyDestination });
  }

  next(): GPUComputePassTimestampWrites | undefined {
    if (this.#used === timedLaunches) return undefined;
    const first = 2 * this.#used++;
    return { querySet: this.#queries, beginningOfPassWriteIndex: first, endOfPassWriteIndex: first + 1 };
  }

  resolve(encoder: GPUCommandEncoder): void {
    if (this.#used === 0) return;
    encoder.resolveQuerySet(this.#queries, 0, this.#used * 2, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#readable, 0, this.#used * 16);
  }

  submitted(): void {}

  /** Milliseconds of all launches since the last call. */
  async take(): Promise<number> {
    if (this.#used === 0) return 0;
    await this.#readable.mapAsync(mapModeRead);
    const stamps = new BigUint64Array(this.#readable.getMappedRange(0, this.#used * 16).slice(0));
    this.#readable.unmap();
    let nanoseconds = 0;
    for (let i = 0; i < this.#used; i++) nanoseconds += Math.max(0, Number(stamps[2 * i + 1]! - stamps[2 * i]!));
    this.#used = 0;
    return nanoseconds / 1e6;
  }

  destroy(): void {
    this.#queries.destroy();
    this.#resolved.destroy();
    this.#readable.destroy();
  }
}
