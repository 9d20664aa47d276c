import type { GpuAdapterReport } from "./device.ts";
import type { CardPeaks } from "./peak.ts";

/** What the parent asks a child process for, in its one argument. */
export interface ChildRequest {
  /** Part of the lists in `workloads.ts`; none for the peaks alone. */
  readonly group: string | undefined;
  readonly scale: "full" | "trial";
  readonly quick: boolean;
  /** Ids that match are measured. */
  readonly only: string;
}

/** One measured row. */
export interface GpuMeasurement {
  readonly id: string;
  readonly wallSeconds: number;
  readonly gpuSeconds: number | null;
  readonly launches: number;
  readonly submissions: number;
  readonly slowestKernel: string | null;
  /** How the result was checked. */
  readonly checked: string;
  /** Of generation. */
  readonly submissionsPerToken?: number;
  /** CPU time of recording an operation, in µs, where that is what was measured. */
  readonly recordingMicroseconds?: number;
}

/** What a child process says. */
export type ChildMessage =
  | { readonly type: "adapter"; readonly report: GpuAdapterReport }
  | { readonly type: "peaks"; readonly peaks: CardPeaks }
  | { readonly type: "started"; readonly id: string }
  | { readonly type: "measured"; readonly measurement: GpuMeasurement }
  | { readonly type: "failed"; readonly id: string; readonly reason: string };
