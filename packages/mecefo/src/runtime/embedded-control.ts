import { jobHash } from "../job/job-hash.ts";
import type { Job } from "../job/job.ts";
import { Controller } from "../leader/controller.ts";
import { startCoordinator } from "../membership/coordinator.ts";
import type { RestorePoint } from "../membership/cluster-state.ts";
import { leaderCheckpoints } from "./job-checkpoints.ts";
import type { LaunchedControl } from "./process-grid.ts";

/** What the embedded control plane is made of. */
export interface EmbeddedControlOptions {
  readonly job: Job;
  /** "unix:/path" or "tcp://host:port". */
  readonly listen: string;
  readonly token: string;
  readonly resume: RestorePoint | undefined;
}

/** The control plane that needs nothing else: a coordinator in this process. */
export async function startEmbeddedControl({ job, listen, token, resume }: EmbeddedControlOptions): Promise<LaunchedControl> {
  const coordinator = await startCoordinator({
    listen, token, job,
    createLeadership: async (plane, publishEvent) => {
      const leader = new Controller({ job, jobHash: jobHash(job), plane, resume, emit: publishEvent, ...leaderCheckpoints(job) });
      await leader.start();
      return leader;
    },
  });
  return {
    joinUrl: coordinator.address,
    get state() {
      return coordinator.state;
    },
    onState: (listener) => coordinator.onState(listener),
    onEvent: (listener) => coordinator.onEvent(listener),
    command: async (id, command) => await coordinator.command(id, command),
    exited: (id, how) => {
      coordinator.exited(id, how);
    },
    requestStop: async () => await coordinator.requestStop(),
    close: async () => {
      await coordinator.close();
    },
  };
}
