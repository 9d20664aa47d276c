import { once } from "node:events";
import { arch, cpus, loadavg, platform, totalmem } from "node:os";
import { Worker } from "node:worker_threads";
import { createProbes, flopsPerIteration } from "./probe-module.ts";

/** What the results were measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** GiB. */
  readonly memory: number;
  readonly platform: string;
  readonly node: string;
  readonly v8: string;
  /** Most that 128-bit multiplications and additions reach in WebAssembly on one thread, GF/s. */
  readonly simdPeak: number;
  /** Reading 256 MiB on one thread and on two, GB/s. */
  readonly bandwidth: readonly [number, number];
  /** Processes that wanted a core in the minute before; above the number of cores others disturb the measurement. */
  readonly load: number;
}

const round = (value: number): number => Number(value.toPrecision(3));

function measureSimdPeak(): number {
  const { arithmetic } = createProbes(1);
  const count = 500_000;
  for (let i = 0; i < 20; i++) arithmetic(count / 10);
  let best = 0;
  for (let i = 0; i < 30; i++) {
    const started = performance.now();
    arithmetic(count);
    best = Math.max(best, (count * flopsPerIteration) / ((performance.now() - started) / 1000) / 1e9);
  }
  return best;
}

async function measureBandwidth(threads: number): Promise<number> {
  const bytes = 2 ** 28 / threads;
  const workers = Array.from(
    { length: threads },
    () => new Worker(new URL("bandwidth-worker.ts", import.meta.url), { workerData: { bytes, passes: 2 } }),
  );
  const answers = async (): Promise<unknown[]> =>
    (await Promise.all(workers.map((worker) => once(worker, "message")))).map(([answer]) => answer as unknown);
  await answers();
  let best = 0;
  for (let i = 0; i < 5; i++) {
    const waiting = answers();
    for (const worker of workers) worker.postMessage("go");
    best = Math.max(
      best,
      ((await waiting) as number[]).reduce((total, rate) => total + rate, 0),
    );
  }
  await Promise.all(workers.map((worker) => worker.terminate()));
  return best;
}

/** Describes this machine and measures its limits: a second or two. */
export async function describeMachine(): Promise<Machine> {
  const load = round(loadavg()[0]!);
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memory: Math.round(totalmem() / 2 ** 30),
    platform: `${platform()} ${arch()}`,
    node: process.version,
    v8: process.versions.v8,
    simdPeak: round(measureSimdPeak()),
    bandwidth: [round(await measureBandwidth(1)), round(await measureBandwidth(2))],
    load,
  };
}
