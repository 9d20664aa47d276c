import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { DeviceError, TensorError } from "../../errors.ts";
import type { TensorView } from "../backend.ts";
import { createWasmBackend, type WasmBackend } from "./backend.ts";
import { Heap } from "./heap.ts";
import type { KernelExports } from "./kernels/kernel-exports.ts";
import { ThreadPool } from "./threads.ts";

const entry = new URL("../../index.ts", import.meta.url).href;

function place(backend: WasmBackend, shape: readonly number[], seed: number): TensorView {
  const size = shape.reduce((product, length) => product * length, 1);
  const buffer = backend.allocate(4 * size);
  let state = seed;
  const values = Float32Array.from({ length: size }, () => (state = (Math.imul(state, 1664525) + 1013904223) | 0) / 2 ** 31);
  backend.write(buffer, 0, new Uint8Array(values.buffer));
  return {
    buffer,
    dtype: "float32",
    shape,
    strides: shape.map((_, axis) => shape.slice(axis + 1).reduce((product, length) => product * length, 1)),
    offset: 0,
  };
}

function take(backend: WasmBackend, ...views: readonly TensorView[]): Uint8Array {
  const bytes = backend.readSync(views[0]!.buffer, 0, views[0]!.buffer.byteLength);
  for (const { buffer } of views) backend.free(buffer);
  return bytes;
}

/** A product, a sum over columns and exponentials, one after another: bits of each. */
function work(backend: WasmBackend, m: number, n: number, k: number, seed: number): Uint8Array[] {
  const [a, b, product] = [place(backend, [m, k], seed), place(backend, [k, n], seed + 1), place(backend, [m, n], 0)];
  backend.kernels.matmul({ a, b, output: product });
  const sums = place(backend, [n], 0);
  backend.kernels.reduce({ operation: "sum", input: product, axes: [0], output: sums });
  const powers = place(backend, [m, n], 0);
  backend.kernels.unary({ operation: "exp", input: product, output: powers });
  return [take(backend, product, a, b), take(backend, sums), take(backend, powers)];
}

/** Runs a program in a Node of its own. A pool that hangs is killed, and the test fails. */
function run(program: string): { status: number | null; output: string; milliseconds: number } {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
    encoding: "utf8",
    timeout: 25_000,
  });
  return {
    status,
    output: stdout.trim() + stderr.replace(/^.*(Warning|--trace).*$/gm, "").trim(),
    milliseconds: performance.now() - started,
  };
}

describe("results", () => {
  it("have the same bits as on one thread, job after job of any size", () => {
    const alone = createWasmBackend();
    alone.runtime.pool.setThreadCount(1);
    const together = createWasmBackend();
    const side = fc.integer({ min: 1, max: 180 });
    fc.assert(
      fc.property(side, side, side, fc.integer({ min: 2, max: 6 }), fc.nat(1e6), (m, n, k, threads, seed) => {
        together.runtime.pool.setThreadCount(threads);
        const expected = work(alone, m, n, k, seed);
        // Three times: workers may not have started at the first.
        for (let i = 0; i < 3; i++)
          work(together, m, n, k, seed).forEach((bytes, part) => expect(Buffer.compare(bytes, expected[part]!)).toBe(0));
      }),
      { numRuns: 40 },
    );
    together.runtime.pool.stop();
    expect(together.memory().allocations).toBe(0);
  });
});

describe("workers", () => {
  it("take part, so that the comparisons above compare something", { timeout: 60_000 }, async () => {
    const backend = createWasmBackend();
    const { pool } = backend.runtime;
    pool.setThreadCount(2);
    // They start by themselves while this thread is idle.
    for (let patience = 0; pool.activity.workerChunks === 0 && patience < 500; patience++) {
      work(backend, 200, 200, 200, 1);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(pool.activity.jobs).toBeGreaterThan(0);
    expect(pool.activity.workerChunks).toBeGreaterThan(0);
    pool.stop();
  });

  it("that may not start leave the work to this thread, with a warning", { timeout: 30_000 }, () => {
    const program = `import { getThreads, setThreads, ones, matmul } from ${JSON.stringify(entry)}; setThreads(2);
      for (let i = 0; i < 3; i++) matmul(ones([300, 300]), ones([300, 300])); console.log(matmul(ones([300, 300]), ones([300, 300])).dataSync()[7], getThreads());`;
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ["--permission", "--allow-fs-read=*", "--input-type=module", "--eval", program],
      { encoding: "utf8", timeout: 25_000 },
    );
    expect({ status, stdout: stdout.trim() }).toEqual({ status: 0, stdout: "300 1" });
    expect(stderr.match(/a worker could not start/g)).toHaveLength(1);
  });
});

describe("setThreadCount", () => {
  it("goes up and down, before, between and right after jobs", { timeout: 60_000 }, () => {
    const backend = createWasmBackend();
    const { pool } = backend.runtime;
    const expected = work(backend, 130, 120, 110, 1);
    const wrong: number[] = [];
    for (let round = 0; round < 60; round++) {
      pool.setThreadCount(1 + ((round * 7) % 5));
      if (round % 3 === 0) pool.stop();
      if (round % 4 !== 1)
        work(backend, 130, 120, 110, 1).forEach((bytes, part) => Buffer.compare(bytes, expected[part]!) !== 0 && wrong.push(round));
    }
    pool.stop();
    pool.stop();
    expect(wrong).toEqual([]);
  });

  it("wants a whole number from 1 to 32", () => {
    const { pool } = createWasmBackend().runtime;
    for (const count of [0, -1, 1.5, 33, NaN, Infinity]) expect(() => pool.setThreadCount(count)).toThrow(DeviceError);
  });
});

/**
 * (module (import "env" "memory" (memory 1 65536 shared)) (func (export "fill") (param f64 f64) unreachable)): a kernel that traps.
 */
const trappingModule = Uint8Array.of(
  0x00,
  0x61,
  0x73,
  0x6d,
  1,
  0,
  0,
  0,
  0x01,
  0x06,
  0x01,
  0x60,
  0x02,
  0x7c,
  0x7c,
  0x00,
  0x02,
  0x12,
  0x01,
  0x03,
  0x65,
  0x6e,
  0x76,
  0x06,
  0x6d,
  0x65,
  0x6d,
  0x6f,
  0x72,
  0x79,
  0x02,
  0x03,
  0x01,
  0x80,
  0x80,
  0x04,
  0x03,
  0x02,
  0x01,
  0x00,
  0x07,
  0x08,
  0x01,
  0x04,
  0x66,
  0x69,
  0x6c,
  0x6c,
  0x00,
  0x00,
  0x0a,
  0x05,
  0x01,
  0x03,
  0x00,
  0x00,
  0x0b,
);

describe("a kernel that fails", () => {
  const job = (pool: ThreadPool): void => pool.run("fill", [], 1000, 1, 1e9, 0);

  it("on a worker is a TensorError here, and the pool stays usable", { timeout: 60_000 }, () => {
    const heap = new Heap(256);
    let patience = Infinity;
    // This thread's part waits until the worker has tried its own.
    const fill = (): void => {
      const failed = new Int32Array(heap.memory.buffer, 1024, 64);
      while (Atomics.load(failed, 50) === 0 && performance.now() < patience);
    };
    const pool = new ThreadPool(heap, new WebAssembly.Module(trappingModule), { fill } as unknown as KernelExports);
    pool.setThreadCount(2);
    for (let i = 0; i < 3; i++) {
      patience = performance.now() + 15_000;
      expect(() => job(pool)).toThrow(TensorError);
      patience = performance.now() + 15_000;
      expect(() => job(pool)).toThrow(/kernel fill trapped on a worker thread/);
    }
    pool.setThreadCount(1);
    patience = 0;
    expect(() => job(pool)).not.toThrow();
  });

  it("on this thread throws its own error and ends the job", { timeout: 60_000 }, () => {
    let fails = true;
    const fill = (): void => {
      if (fails) throw new RangeError("here");
    };
    // The worker's kernel is that of a module whose function does nothing: (func (export "fill") (param f64 f64)).
    const idle = trappingModule.slice();
    idle[idle.length - 2] = 0x01;
    const pool = new ThreadPool(new Heap(256), new WebAssembly.Module(idle), { fill } as unknown as KernelExports);
    pool.setThreadCount(2);
    for (let i = 0; i < 20; i++) expect(() => job(pool)).toThrow(RangeError);
    fails = false;
    for (let i = 0; i < 20; i++) expect(() => job(pool)).not.toThrow();
    pool.stop();
  });
});

describe("where memory cannot be shared", () => {
  it("computes the same on one thread, also after the memory has grown", () => {
    const expected = work(createWasmBackend(), 130, 120, 110, 1);
    const { Memory } = WebAssembly;
    // A browser page that is not cross-origin isolated.
    vi.stubGlobal(
      "WebAssembly",
      Object.create(WebAssembly, {
        Memory: {
          value: class extends Memory {
            constructor(descriptor: WebAssembly.MemoryDescriptor) {
              if (descriptor.shared) throw new TypeError("shared memory is disabled");
              super(descriptor);
            }
          },
        },
      }),
    );
    try {
      const backend = createWasmBackend();
      expect(backend.runtime.heap.shared).toBe(false);
      backend.runtime.pool.setThreadCount(4);
      expect(backend.runtime.threadCount).toBe(1);
      const reserved = backend.memory().reservedBytes;
      backend.free(backend.allocate(reserved));
      expect(backend.memory().reservedBytes).toBeGreaterThan(reserved);
      work(backend, 130, 120, 110, 1).forEach((bytes, part) => expect(Buffer.compare(bytes, expected[part]!)).toBe(0));
    } finally {
      vi.unstubAllGlobals();
    }
  });
});

describe("processes with threads", () => {
  const product = `import { setThreads, ones, matmul } from ${JSON.stringify(entry)}; setThreads(3); const use = () => matmul(ones([300, 300]), ones([300, 300])).dataSync()[7];`;

  it.each([
    ["right after a job", `${product} console.log(use());`],
    ["after the workers fell asleep", `${product} console.log(use()); await new Promise((done) => setTimeout(done, 300)); use();`],
    ["before the workers started", `${product} use(); console.log(use()); process.exit(0);`],
    ["after threads were taken back", `${product} console.log(use()); setThreads(1); use(); setThreads(4); use();`],
  ])("end by themselves %s", { timeout: 30_000 }, (_, program) => {
    const { status, output, milliseconds } = run(program);
    expect({ status, output }).toEqual({ status: 0, output: "300" });
    expect(milliseconds).toBeLessThan(10_000);
  });

  it("can be worker threads themselves, several at once", { timeout: 30_000 }, () => {
    const inner = `${product} import { parentPort } from "node:worker_threads"; for (let i = 0; i < 20; i++) use(); parentPort.postMessage(use());`;
    const program = `import { Worker } from "node:worker_threads";
      const url = new URL("data:text/javascript," + encodeURIComponent(${JSON.stringify(inner)}));
      const results = await Promise.all([1, 2].map(() => new Promise((done, fail) => new Worker(url).once("message", done).once("error", fail))));
      console.log(results.join());`;
    const { status, output, milliseconds } = run(program);
    expect({ status, output }).toEqual({ status: 0, output: "300,300" });
    expect(milliseconds).toBeLessThan(20_000);
  });
});
