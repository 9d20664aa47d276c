import type { WebGpuDevice } from "@frugal/tensor-core/webgpu";
import { synchronize } from "@frugal/tensor-core";
import { median } from "../src/measure.ts";

/** How long to measure. */
export interface GpuEffort {
  readonly repeats: number;
  /** Of work that a repeat queues before it waits. */
  readonly seconds: number;
  readonly maximumCalls: number;
}

export const fullGpuEffort: GpuEffort = { repeats: 9, seconds: 0.1, maximumCalls: 1000 };
export const quickGpuEffort: GpuEffort = { repeats: 2, seconds: 0.02, maximumCalls: 5 };

/** Seconds of a call. */
export interface CallTiming {
  /** From recording to the end of all work, over many calls queued before the wait. */
  readonly wallSeconds: number;
  /** Kernels alone, by timestamps; null where the adapter has none, or gave nonsense. */
  readonly gpuSeconds: number | null;
  readonly launches: number;
  readonly submissions: number;
  /** The kernel with the largest share of the GPU time. */
  readonly slowestKernel: string | null;
}

/** Times calls that record work. */
export async function timeCalls(
  device: WebGpuDevice,
  run: () => void | Promise<void>,
  { repeats, seconds, maximumCalls }: GpuEffort,
): Promise<CallTiming> {
  const calls = async (count: number): Promise<number> => {
    const started = performance.now();
    for (let i = 0; i < count; i++) {
      const pending = run();
      // No turn of the event loop for calls that are synchronous.
      if (pending !== undefined) await pending;
    }
    await synchronize("webgpu");
    return (performance.now() - started) / 1000 / count;
  };
  // Compiles, tunes and fills the pool of buffers.
  await calls(2);
  const estimate = Math.min(await calls(1), await calls(1));
  const count = Math.max(1, Math.min(maximumCalls, Math.round(seconds / estimate)));
  await calls(count);
  const before = device.statistics();
  const walls: number[] = [];
  for (let i = 0; i < repeats; i++) walls.push(await calls(count));
  const after = device.statistics();
  const total = repeats * count;
  const common = {
    wallSeconds: median(walls),
    launches: (after.launches - before.launches) / total,
    submissions: (after.submissions - before.submissions) / total,
  };
  if (!device.features.timestamps) return { ...common, gpuSeconds: null, slowestKernel: null };
  const times: number[] = [];
  let slowestKernel: string | null = null;
  const profiled = Math.min(count, 50);
  for (let i = 0; i < Math.min(repeats, 3); i++) {
    const { profile } = await device.profile(async () => void (await calls(profiled)));
    if (profile.untimed > 0 || profile.unreliable > 0 || profile.gpuMicroseconds === 0) continue;
    times.push(profile.gpuMicroseconds / 1e6 / profiled);
    slowestKernel = profile.kernels[0]?.label ?? null;
  }
  return { ...common, gpuSeconds: times.length === 0 ? null : median(times), slowestKernel };
}
