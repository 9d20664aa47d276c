import type { ProfileRecording, TimedLaunch } from "./launch-profiler.ts";

/** One event of the Trace Event Format: a span (X, microseconds), or a name of a lane (M). */
export interface ChromeTraceEvent {
  readonly name: string;
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  readonly cat?: string;
  readonly ts?: number;
  readonly dur?: number;
  readonly args?: Readonly<Record<string, string | number>>;
}

/** A file of chrome://tracing and ui.perfetto.dev: the JSON object form of Google's "Trace Event Format". */
export interface ChromeTrace {
  readonly traceEvents: readonly ChromeTraceEvent[];
  readonly displayTimeUnit: "ms";
}

const processId = 1;
const cpuLane = 1;
const firstGpuLane = 2;

/**
 * A recording over time. The two clocks have nothing in common, so the GPU's is shifted such that no launch begins before its submission:
 * its spans are as early as they can have been.
 */
export function chromeTrace({ launches, submissions }: ProfileRecording): ChromeTrace {
  const origin = submissions[0]?.recorded ?? 0;
  const cpuTime = (milliseconds: number): number => (milliseconds - origin) * 1000;
  const events: ChromeTraceEvent[] = [];
  for (const { batch, recorded, start, end, launches: count } of submissions) {
    const args = { batch, launches: count };
    events.push(span("record", "cpu", cpuLane, cpuTime(recorded), cpuTime(start), args));
    events.push(span("submit", "cpu", cpuLane, cpuTime(start), cpuTime(end), args));
  }
  const sorted = launches.toSorted((a, b) => (a.begin < b.begin ? -1 : a.begin > b.begin ? 1 : 0));
  const base = sorted[0]?.begin ?? 0n;
  const gpuTime = (nanoseconds: bigint): number => Number(nanoseconds - base) / 1000;
  const shift = Math.max(0, ...firstOfBatches(sorted).map(({ batch, begin }) => cpuTime(submissions[batch]!.start) - gpuTime(begin)));
  const laneEnds: number[] = [];
  for (const { label, workgroups, batch, begin, end, bytes, operations } of sorted) {
    const [from, to] = [gpuTime(begin) + shift, gpuTime(end) + shift];
    // Spans of one lane must not overlap: what ran at the same time gets lanes of its own.
    let lane = laneEnds.findIndex((laneEnd) => laneEnd <= from);
    if (lane < 0) lane = laneEnds.length;
    laneEnds[lane] = to;
    const work = { ...(bytes !== undefined && { bytes }), ...(operations !== undefined && { operations }) };
    events.push(span(label, "gpu", firstGpuLane + lane, from, to, { batch, workgroups: workgroups.join(" × "), ...work }));
  }
  const lanes = laneEnds.map((_, lane) => nameOf("thread_name", firstGpuLane + lane, lane === 0 ? "GPU" : `GPU, at the same time ${lane}`));
  const names = [nameOf("process_name", 0, "WebGPU"), nameOf("thread_name", cpuLane, "CPU"), ...lanes];
  return { traceEvents: [...names, ...events], displayTimeUnit: "ms" };
}

type Details = Readonly<Record<string, string | number>>;

function span(name: string, cat: string, tid: number, from: number, to: number, args: Details): ChromeTraceEvent {
  return { name, cat, ph: "X", pid: processId, tid, ts: from, dur: Math.max(0, to - from), args };
}

function nameOf(name: "process_name" | "thread_name", tid: number, value: string): ChromeTraceEvent {
  return { name, ph: "M", pid: processId, tid, args: { name: value } };
}

function firstOfBatches(sorted: readonly TimedLaunch[]): readonly TimedLaunch[] {
  const first = new Map<number, TimedLaunch>();
  for (const launch of sorted) if (!first.has(launch.batch)) first.set(launch.batch, launch);
  return [...first.values()];
}
