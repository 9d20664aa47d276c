import { DeviceError } from "../../errors.ts";
import { chromeTrace, type ChromeTrace } from "./chrome-trace.ts";
import { LaunchProfiler, type ProfileRecording, type TimedLaunch } from "./launch-profiler.ts";
import type { WebGpuRuntime } from "./runtime.ts";

/** Time on the GPU of all launches of one kernel (one program: fused chains are told apart by what they compute). */
export interface KernelProfile {
  /** Name and variant. */
  readonly label: string;
  readonly launches: number;
  readonly totalMicroseconds: number;
  readonly meanMicroseconds: number;
  readonly medianMicroseconds: number;
  /** Fraction of the GPU time of all kernels. */
  readonly share: number;
  /** Where the kernel says what it moves. */
  readonly bytesPerSecond: number | undefined;
  /** Where the kernel says how many floating-point operations it needs. */
  readonly operationsPerSecond: number | undefined;
}

/**
 * Where GPU time went. Only kernels are timed: copies between buffers, writes from the host and reads happen outside of what WebGPU can
 * time.
 */
export interface GpuProfile {
  /** Longest total first. */
  readonly kernels: readonly KernelProfile[];
  readonly launches: number;
  /** Launches without a time: beyond 262,144 in one profile, or when timestamps do not come back as fast as launches are recorded. */
  readonly untimed: number;
  /** Launches that the driver gave no sensible timestamps for (an end before the beginning); left out of `kernels`. */
  readonly unreliable: number;
  /** Time in kernels. Some may have run at the same time. */
  readonly gpuMicroseconds: number;
  /** From the call until the GPU had done everything. */
  readonly wallMicroseconds: number;
  readonly submissions: number;
  /** Step of the timestamps. Browsers round to 65 or 100 µs unless told otherwise (chrome://flags/#enable-webgpu-developer-features). */
  readonly resolutionMicroseconds: number;
  /** Lines of text for people; the `limit` kernels that took longest (default 40). */
  toTable(limit?: number): string;
  /** For chrome://tracing and ui.perfetto.dev, after `JSON.stringify`: what GPU and CPU (recording, submitting) did over time. */
  toChromeTrace(): ChromeTrace;
}

/** What a function returned, and the profile of its run. */
export interface Profiled<Result> {
  readonly result: Result;
  readonly profile: GpuProfile;
}

/** Times the kernels that a function launches; see `WebGpuDevice.profile`. @throws DeviceError @throws DeviceLostError */
export async function profile<Result>(runtime: WebGpuRuntime, body: () => Result | Promise<Result>): Promise<Profiled<Result>> {
  const { queue } = runtime;
  runtime.checkAlive();
  if (!runtime.features.timestamps) {
    throw new DeviceError(
      'profile: this device has no "timestamp-query": the adapter does not offer it, or withoutFeatures leaves it out; Chrome 121+ and ' +
        "Safari 26+ offer it on most GPUs, exact values need chrome://flags/#enable-webgpu-developer-features",
    );
  }
  if (queue.timer !== undefined) throw new DeviceError("profile: a profile is running already on this device; wait for it first");
  const profiler = new LaunchProfiler(runtime.device);
  try {
    // What was asked for before is not part of it.
    await runtime.submit();
    if (queue.timer !== undefined) throw new DeviceError("profile: a profile is running already on this device; wait for it first");
    queue.timer = profiler;
    const start = performance.now();
    let result: Result;
    try {
      result = await body();
      runtime.deferred?.flush();
      await queue.drain();
    } finally {
      // Commands with timestamps must be gone before their queries are.
      void queue.submit();
      queue.timer = undefined;
    }
    const wallMicroseconds = (performance.now() - start) * 1000;
    const recording = await profiler.finish();
    runtime.checkAlive();
    return { result, profile: summarize(recording, wallMicroseconds) };
  } finally {
    profiler.destroy();
  }
}

/** The figures of a recording. */
export function summarize(recording: ProfileRecording, wallMicroseconds: number): GpuProfile {
  const reliable = recording.launches.filter(isReliable);
  const groups = new Map<string, TimedLaunch[]>();
  for (const launch of reliable) {
    const group = groups.get(launch.label);
    if (group === undefined) groups.set(launch.label, [launch]);
    else group.push(launch);
  }
  const gpuMicroseconds = reliable.reduce((sum, launch) => sum + durationOf(launch), 0);
  const kernels = [...groups].map(([label, launches]) => rowOf(label, launches, gpuMicroseconds));
  kernels.sort((a, b) => b.totalMicroseconds - a.totalMicroseconds);
  const summary = {
    kernels,
    launches: recording.launches.length + recording.untimed,
    untimed: recording.untimed,
    unreliable: recording.launches.length - reliable.length,
    gpuMicroseconds,
    wallMicroseconds,
    submissions: recording.submissions.length,
    resolutionMicroseconds: resolutionOf(reliable),
  };
  return {
    ...summary,
    toTable: (limit = 40) => table(summary, limit),
    toChromeTrace: () => chromeTrace({ ...recording, launches: reliable }),
  };
}

/** Drivers may reset their clock between the two timestamps, or give none. */
const isReliable = ({ begin, end }: TimedLaunch): boolean => begin > 0n && end >= begin;

/** In microseconds. */
const durationOf = ({ begin, end }: TimedLaunch): number => Number(end - begin) / 1000;

function rowOf(label: string, launches: readonly TimedLaunch[], all: number): KernelProfile {
  const durations = launches.map(durationOf).sort((a, b) => a - b);
  const total = durations.reduce((sum, duration) => sum + duration, 0);
  const middle = durations.length / 2;
  const rate = (amount: "bytes" | "operations"): number | undefined => {
    let sum = 0;
    for (const launch of launches) {
      const value = launch[amount];
      if (value === undefined) return undefined;
      sum += value;
    }
    return total > 0 ? sum / (total * 1e-6) : undefined;
  };
  return {
    label,
    launches: launches.length,
    totalMicroseconds: total,
    meanMicroseconds: total / launches.length,
    medianMicroseconds: (durations[Math.ceil(middle) - 1]! + durations[Math.floor(middle)]!) / 2,
    share: all > 0 ? total / all : 0,
    bytesPerSecond: rate("bytes"),
    operationsPerSecond: rate("operations"),
  };
}

/** The largest step that all timestamps are multiples of, in microseconds; 0 without any. */
function resolutionOf(launches: readonly TimedLaunch[]): number {
  let step = 0n;
  for (const { begin, end } of launches) for (const time of [begin, end]) step = greatestCommonDivisor(step, time);
  return Number(step) / 1000;
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}

type Summary = Omit<GpuProfile, "toTable" | "toChromeTrace">;

const widestLabel = 60;

function table(summary: Summary, limit: number): string {
  const { kernels, launches, submissions, gpuMicroseconds, wallMicroseconds, untimed, unreliable, resolutionMicroseconds } = summary;
  const hasBytes = kernels.some(({ bytesPerSecond }) => bytesPerSecond !== undefined);
  const hasOperations = kernels.some(({ operationsPerSecond }) => operationsPerSecond !== undefined);
  const giga = (value: number | undefined): string => (value === undefined ? "" : (value / 1e9).toFixed(1));
  const rateNames = [...(hasBytes ? ["GB/s"] : []), ...(hasOperations ? ["Gflop/s"] : [])];
  const rows = [["kernel", "launches", "total µs", "mean µs", "median µs", "share", ...rateNames]];
  for (const kernel of kernels.slice(0, limit)) {
    rows.push([
      kernel.label.length > widestLabel ? `${kernel.label.slice(0, widestLabel - 1)}…` : kernel.label,
      String(kernel.launches),
      kernel.totalMicroseconds.toFixed(1),
      kernel.meanMicroseconds.toFixed(1),
      kernel.medianMicroseconds.toFixed(1),
      `${(kernel.share * 100).toFixed(1)} %`,
      ...(hasBytes ? [giga(kernel.bytesPerSecond)] : []),
      ...(hasOperations ? [giga(kernel.operationsPerSecond)] : []),
    ]);
  }
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const aligned = (cell: string, column: number): string => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!));
  const lines = rows.map((row) => row.map(aligned).join("  "));
  if (kernels.length > limit) lines.push(`… and ${kernels.length - limit} more kernels`);
  const times = `${gpuMicroseconds.toFixed(1)} µs in kernels, ${wallMicroseconds.toFixed(1)} µs in all`;
  const [launchNoun, submissionNoun] = [launches === 1 ? "launch" : "launches", submissions === 1 ? "submission" : "submissions"];
  lines.push(`${launches} ${launchNoun} in ${submissions} ${submissionNoun}: ${times}`);
  if (untimed > 0) lines.push(`${untimed} launches were not timed`);
  if (unreliable > 0) lines.push(`${unreliable} launches had no sensible timestamps`);
  const resolution = resolutionMicroseconds.toFixed(1);
  if (resolutionMicroseconds >= 10) lines.push(`timestamps are rounded to ${resolution} µs: short kernels need many launches`);
  return lines.join("\n");
}
