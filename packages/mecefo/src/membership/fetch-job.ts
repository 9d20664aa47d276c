import type { Job } from "../job/job.ts";
import type { JoinTarget } from "./join-url.ts";
import { fetchJob as fetchFromCoordinator } from "./coordinator-observer.ts";
import { natsAccess } from "./join-access.ts";
import { fetchNatsJob } from "./nats/nats-observer.ts";

/**
 * Asks the control plane of a run for its job. @throws LinkError when nobody is there, MembershipError when it refuses or knows no such
 * run
 */
export async function fetchJob(target: JoinTarget, token: string): Promise<Job> {
  if (target.kind === "coordinator") return await fetchFromCoordinator({ address: target.address, token });
  return await fetchNatsJob(natsAccess(target, token), target.job);
}
