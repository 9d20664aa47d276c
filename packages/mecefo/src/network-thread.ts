import { workerData } from "node:worker_threads";
import { serveMembership } from "./membership/threaded-membership.ts";
import { createMembership, type NetworkMembershipOptions } from "./runtime/create-membership.ts";
import type { NetworkThreadData } from "./start-network-thread.ts";
import { serveTransport } from "./transport/serve-transport.ts";

/**
 * The thread that a worker's sockets, its connection to the control plane and its heartbeats live in: what the main thread computes cannot
 * hold them up. Started by `startNetworkThread`.
 */
const { membership, membershipPort, transport, transportPort } = workerData as NetworkThreadData;

if (membership === undefined) membershipPort.close();
if (transport === undefined) transportPort.close();
await Promise.all([
  transport === undefined ? undefined : serveTransport(transportPort, transport),
  membership === undefined ? undefined : serveMembership(membershipPort, () => createMembership(membership as NetworkMembershipOptions)),
]);
