import type { ActivationCodec } from "@frugal/language-model";
import type { Job } from "../job/job.ts";
import type { MicrobatchSampler } from "../job/sampler.ts";
import type { StageFactory } from "../job/stage-factory.ts";
import type { Membership } from "../membership/membership.ts";
import type { Transport } from "../transport/transport.ts";
import type { ParameterState, StageState } from "./stage-state.ts";

/** Where a worker reads and writes checkpoints. */
export interface WorkerCheckpoints {
  /** Weights and moments of the named parameters. @throws CheckpointError */
  read(folder: string, wanted: readonly { readonly name: string; readonly shape: readonly number[] }[]): Promise<ParameterState[]>;
  /** Writes one stage's part of a checkpoint. */
  write(state: StageState): Promise<{ readonly file: string; readonly sha256: string; readonly bytes: number }>;
}

/** Options of `Worker`. */
export interface WorkerOptions {
  /** Identity in membership and transport: another one at every start. */
  readonly id: string;
  readonly job: Job;
  readonly jobHash: string;
  readonly factory: StageFactory;
  readonly sampler: MicrobatchSampler;
  readonly codec: ActivationCodec;
  readonly transport: Transport;
  readonly membership: Membership;
  /** The slot to ask for, "p0s1". Default: any. */
  readonly wanted?: string | undefined;
  readonly checkpoints?: WorkerCheckpoints | undefined;
  /** Whether commands may bring faults about. Default false. */
  readonly allowFaults?: boolean;
  /** For a "kill" command. Default: SIGKILL to the own process. */
  readonly kill?: () => void;
  readonly hostname?: string;
  readonly log?: (line: string) => void;
}

/** How a worker's part in a run ended. */
export type WorkerOutcome = { readonly kind: "finished"; readonly step: number } | { readonly kind: "failed"; readonly reason: string };
