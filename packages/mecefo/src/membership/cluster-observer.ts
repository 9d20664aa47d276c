import type { RunEvent } from "./run-event.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { WorkerCommand } from "./worker-report.ts";

/** Looks on from outside: dashboards, chaos tools, whoever launched the workers. */
export interface ClusterObserver {
  /** The last state seen. */
  readonly state: ClusterState | undefined;
  /** Called for every new state, the last one at once. Returns what ends it. */
  onState(listener: (state: ClusterState) => void): () => void;
  /** Called for every event that a leader tells of from now on. Returns what ends it. */
  onEvent(listener: (event: RunEvent) => void): () => void;
  /** Sends a command to a worker. False: it could not be reached. */
  command(memberId: string, command: WorkerCommand): Promise<boolean>;
  /** Asks the leader to end the run in order, after the step in flight, with a checkpoint. False: no leader heard it, or it cannot. */
  requestStop(): Promise<boolean>;
  close(): Promise<void>;
}
