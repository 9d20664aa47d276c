import { jobHash } from "../job/job-hash.ts";
import type { Job } from "../job/job.ts";
import type { Timeouts } from "../job/timeouts.ts";
import { Controller } from "../leader/controller.ts";
import { createCoordinatorMembership } from "../membership/coordinator-membership.ts";
import { natsAccess } from "../membership/join-access.ts";
import type { JoinTarget } from "../membership/join-url.ts";
import type { Membership } from "../membership/membership.ts";
import { createNatsMembership } from "../membership/nats/nats-membership.ts";
import { leaderCheckpoints } from "./job-checkpoints.ts";

/** What the network thread needs to take part, as plain data. */
export interface NetworkMembershipOptions {
  readonly target: JoinTarget;
  /** The run's secret. */
  readonly token: string;
  readonly memberId: string;
  readonly job: Job;
  readonly timeouts?: Partial<Timeouts> | undefined;
}

/**
 * A worker's side of whatever control plane the target names. With NATS it also leads when it is elected.
 * @throws LinkError, MembershipError
 */
export async function createMembership({ target, token, memberId, job, timeouts }: NetworkMembershipOptions): Promise<Membership> {
  const hash = jobHash(job);
  if (target.kind === "coordinator") return await createCoordinatorMembership({ address: target.address, token, memberId, timeouts, jobHash: hash });
  return await createNatsMembership({
    ...natsAccess(target, token), job, memberId,
    createLeadership: async (plane, emit, resume) => {
      const controller = new Controller({ job, jobHash: hash, plane, resume, emit, ...leaderCheckpoints(job) });
      await controller.start();
      return controller;
    },
  });
}
