import type { WorkerOutcome } from "../worker/worker.ts";

/** A fault for a slot's worker. */
export type WorkerFault =
  /** SIGKILL. Started again after `repairAfter` milliseconds where given, otherwise after the run's restart delay. */
  | { readonly kind: "kill"; readonly repairAfter?: number | undefined }
  /** SIGSTOP, and SIGCONT after so many milliseconds. */
  | { readonly kind: "stop"; readonly durationMilliseconds: number }
  /** Its connections to peers are destroyed. */
  | { readonly kind: "cut" }
  /** Its frames are held back. */
  | { readonly kind: "slow"; readonly delayMilliseconds: number; readonly durationMilliseconds: number }
  /** Bits of its next frames are flipped after their checksums were computed. */
  | { readonly kind: "corrupt"; readonly frames: number };

/** Workers of a run and what leads them, wherever they are. */
export interface GridRuntime {
  /** Trains until the run ends. */
  run(): Promise<WorkerOutcome>;
  /** Brings a fault about. @throws MecefoError when the slot has no worker here, or faults are not allowed */
  inject(slot: string, fault: WorkerFault): Promise<void>;
  /** Ends the run with a checkpoint after the step in flight. */
  requestStop(): void;
  /** Slots with a live worker. */
  readonly live: readonly string[];
  close(): Promise<void>;
}
