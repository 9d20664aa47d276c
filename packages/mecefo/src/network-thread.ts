import { workerData } from "node:worker_threads";
import type { NetworkThreadData } from "./start-network-thread.ts";
import { serveTransport } from "./transport/serve-transport.ts";

/**
 * The thread that a worker's sockets, its connection to the control plane and its heartbeats live in: what the main thread computes cannot
 * hold them up. Started by `startNetworkThread`.
 */
const { transport, transportPort } = workerData as NetworkThreadData;

if (transport === undefined) transportPort.close();
else await serveTransport(transportPort, transport);
