import type { JoinTarget } from "./join-url.ts";
import type { ClusterObserver } from "./cluster-observer.ts";
import { observeCoordinator } from "./coordinator-observer.ts";
import { natsAccess } from "./join-access.ts";
import { observeNats } from "./nats/nats-observer.ts";

/** Connects to the control plane of a run to look on and to send commands. @throws LinkError, MembershipError */
export async function observeCluster(target: JoinTarget, token: string): Promise<ClusterObserver> {
  if (target.kind === "coordinator") return await observeCoordinator({ address: target.address, token });
  return await observeNats({ ...natsAccess(target, token), jobName: target.job });
}
