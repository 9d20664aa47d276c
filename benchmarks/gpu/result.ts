import type { Machine } from "../src/machine.ts";
import type { Result } from "../src/result.ts";
import type { GpuAdapterReport } from "./device.ts";
import type { GpuMeasurement } from "./messages.ts";
import type { CardPeaks } from "./peak.ts";
import type { PytorchAnswer } from "./pytorch.ts";
import type { GpuWorkload } from "./workloads.ts";

/** A row: `ours` is by the clock, many launches queued before a wait; `timestamps` counts the time in kernels alone. */
export interface GpuResult extends Result {
  readonly timestamps: number | null;
  /** Of the measured peak that limits the work, from 0 to 1. */
  readonly share: { readonly of: string; readonly clock: number; readonly timestamps: number | null } | null;
  readonly wallMicroseconds: number;
  readonly gpuMicroseconds: number | null;
  /** Of one call, token or step. */
  readonly launches: number;
  readonly submissions: number;
  readonly submissionsPerToken?: number;
  readonly slowestKernel: string | null;
  readonly checked: string;
}

/** All of `bench -- tensor-core --gpu --json`. */
export interface GpuReport {
  readonly package: string;
  readonly machine: Machine & { readonly adapter: GpuAdapterReport; readonly peaks: CardPeaks };
  readonly warning?: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly results: readonly GpuResult[];
  /** Why a workload has no row. */
  readonly failures: Readonly<Record<string, string>>;
}

const rounded = (value: number): number => Number(value.toPrecision(4));

/** The setting that computes with the same precision as ours; others stand apart. */
const strict = "PyTorch";

/** A row from a measurement. */
export function gpuResultOf(workload: GpuWorkload, measurement: GpuMeasurement, peaks: CardPeaks, pytorch: PytorchAnswer): GpuResult {
  const { id, unit, work, limit } = workload;
  const { wallSeconds, gpuSeconds } = measurement;
  // Time is its own value: that of recording, which is what the CPU pays.
  const rate = (seconds: number): number => (unit === "µs" ? seconds * 1e6 : work / seconds);
  const clock = unit === "µs" ? (measurement.recordingMicroseconds ?? rate(wallSeconds)) : rate(wallSeconds);
  const timestamps = gpuSeconds === null ? null : rate(gpuSeconds);
  const settings =
    "absent" in pytorch ? {} : Object.fromEntries(Object.entries(pytorch.seconds[id] ?? {}).map(([name, s]) => [name, rounded(rate(s))]));
  const { [strict]: same, ...others } = settings;
  const reason =
    "absent" in pytorch
      ? pytorch.absent
      : (pytorch.errors[id] ?? (Object.keys(others).length > 0 ? "not in this precision" : "has no such workload"));
  const peak = limit === undefined ? null : peaks[limit.of];
  const share =
    limit === undefined || peak === null
      ? null
      : (value: number) => Number(((value * limit.perUnit) / (peak * (unit.startsWith("G") ? 1 : 1e9))).toPrecision(3));
  return {
    id,
    unit,
    ours: rounded(clock),
    peers: same === undefined ? {} : { [strict]: same },
    ratio: same === undefined ? null : rounded(unit === "µs" ? same / clock : clock / same),
    yardsticks: others,
    absent: same === undefined ? { [strict]: reason } : {},
    timestamps: timestamps === null ? null : rounded(timestamps),
    share: share && {
      of: limit!.of === "bandwidth" ? "copy" : limit!.of,
      clock: share(clock),
      timestamps: timestamps === null ? null : share(timestamps),
    },
    wallMicroseconds: rounded(wallSeconds * 1e6),
    gpuMicroseconds: gpuSeconds === null ? null : rounded(gpuSeconds * 1e6),
    launches: rounded(measurement.launches),
    submissions: rounded(measurement.submissions),
    ...(measurement.submissionsPerToken !== undefined && { submissionsPerToken: measurement.submissionsPerToken }),
    slowestKernel: measurement.slowestKernel,
    checked: measurement.checked,
  };
}
