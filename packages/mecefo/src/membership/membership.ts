import type { ClusterState } from "./cluster-state.ts";
import type { WorkerCommand, WorkerReport } from "./worker-report.ts";

/** A worker's side of the control plane. Heartbeats are sent by whatever implements it, from a thread that kernels cannot block. */
export interface Membership {
  /** The last state seen. */
  readonly state: ClusterState | undefined;
  /** Called for every new state, the last one at once. Returns what ends it. */
  onState(listener: (state: ClusterState) => void): () => void;
  onCommand(listener: (command: WorkerCommand) => void): void;
  /**
   * Tells the leader. Reports arrive at least once while the membership is open: a hello, a vote, a settled and a trouble are told again
   * after a reconnection or a change of leader, until the state has moved on.
   */
  report(report: WorkerReport): void;
  close(): Promise<void>;
}

/** Who sends: a member id. */
export interface Sender {
  readonly id: string;
}

/**
 * What leads: fed by a control plane, it answers through it. The embedded coordinator has one; with NATS, whichever worker holds the lock.
 */
export interface Leadership {
  /** A worker's report. */
  receive(from: Sender, report: WorkerReport): void;
  /** A heartbeat of a worker. */
  heartbeat(from: Sender): void;
  /** A worker's control connection closed (not known to NATS). */
  disconnected(from: Sender): void;
  /** Its process is known to have ended, from whoever started it. */
  exited(from: Sender, how: string): void;
  /** Lets time pass: suspicions, deadlines. Call every 50 ms or so. */
  tick(): void;
  /** Ends what it has begun. */
  close(): void;
}

/** What a leader changes the world through. */
export interface ControlPlane {
  /** The state and its revision; undefined when there is none yet. */
  read(): Promise<{ readonly state: ClusterState; readonly revision: number } | undefined>;
  /** Writes the state if nobody else has since `revision` (0: there is none). The new revision, or undefined: another leads now. */
  compareAndSet(state: ClusterState, revision: number): Promise<number | undefined>;
  /** To one worker, if it can be reached. */
  command(memberId: string, command: WorkerCommand): void;
}
