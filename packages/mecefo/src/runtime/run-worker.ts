import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setThreads } from "@frugal/tensor-core";
import { EvictedError, MembershipError } from "../errors.ts";
import { openStageFactory } from "../job/decoder-stages.ts";
import { jobHash } from "../job/job-hash.ts";
import { openCodec } from "../job/open-codec.ts";
import { openData } from "../job/prepare-data.ts";
import { createSampler } from "../job/sampler.ts";
import type { Job } from "../job/job.ts";
import { fetchJob } from "../membership/fetch-job.ts";
import { createThreadedMembership } from "../membership/threaded-membership.ts";
import { timeoutDefaults } from "../job/timeouts.ts";
import { startNetworkThread } from "../start-network-thread.ts";
import { createThreadedTransport } from "../transport/threaded-transport.ts";
import { Worker, type WorkerOptions, type WorkerOutcome } from "../worker/worker.ts";
import type { NetworkMembershipOptions } from "./create-membership.ts";
import { workerCheckpoints } from "./job-checkpoints.ts";
import { parseJoinUrl, type JoinTarget } from "../membership/join-url.ts";

/** Options of `runWorker`. */
export interface RunWorkerOptions {
  /** Where the control plane is: "unix:/path", "tcp://host:port" or "nats://host:4222,…/run". */
  readonly join: string;
  /** The run's secret. */
  readonly token: string;
  /** The slot to ask for, "p0s1". Default: any that is free. */
  readonly slot?: string | undefined;
  /**
   * Where peers reach this worker: "unix:" for a socket in the temporary folder (one machine), or "tcp://host:port" (port 0: any). Default
   * "unix:".
   */
  readonly listen?: string | undefined;
  /** Where the socket of "unix:" is made, in a folder of its own. Default: the temporary folder. */
  readonly socketFolder?: string | undefined;
  /** Host name or address told to peers, where it is not the one listened on. */
  readonly advertise?: string | undefined;
  /** Whether the leader may have this worker bring faults about (chaos tests). Default false. */
  readonly allowFaults?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly log?: (line: string) => void;
}

/** After an eviction a worker waits this long, in milliseconds, before it asks to join again. */
const REJOIN_DELAY = 100;

/**
 * Takes part in a run from this process until it ends: asks the control plane for the job, joins, trains. Who was evicted (stopped for too
 * long, cut off) joins again as another.
 * @throws MembershipError when it is refused, LinkError when nobody is there
 */
export async function runWorker(options: RunWorkerOptions): Promise<WorkerOutcome> {
  const target = parseJoinUrl(options.join);
  const job = await fetchJob(target, options.token);
  setThreads(job.threads);
  const factory = await openStageFactory(job);
  const data = await openData(job.data.folder, job.data.sha256);
  const parts = {
    job, factory, jobHash: jobHash(job), sampler: createSampler(data.tokens, job), codec: await openCodec(job.codec),
    checkpoints: workerCheckpoints(job, factory),
  };
  for (;;) {
    try {
      return await joinOnce(options, target, job, parts);
    } catch (error) {
      if (!(error instanceof EvictedError) || options.signal?.aborted) throw error;
      options.log?.(`${error.message}; joining again`);
      await new Promise((resolve) => {
        setTimeout(resolve, REJOIN_DELAY);
      });
    }
  }
}

type WorkerParts = Pick<WorkerOptions, "job" | "jobHash" | "factory" | "sampler" | "codec" | "checkpoints">;

async function joinOnce(options: RunWorkerOptions, target: JoinTarget, job: Job, parts: WorkerParts): Promise<WorkerOutcome> {
  const { token, slot, listen = "unix:", advertise, allowFaults = false, signal, log } = options;
  const timeouts = { ...timeoutDefaults, ...job.timeouts };
  const id = `${slot ?? "worker"}-${randomUUID().slice(0, 12)}`;
  const folder = listen === "unix:" ? await mkdtemp(join(options.socketFolder ?? tmpdir(), "mecefo-")) : undefined;
  const membershipOptions: NetworkMembershipOptions = { target, token, memberId: id, job, timeouts: job.timeouts };
  let broken: ((error: Error) => void) | undefined;
  const death = new Promise<never>((_, reject) => {
    broken = reject;
  });
  death.catch(() => {});
  const thread = startNetworkThread({
    transport: {
      id, token, listen: folder === undefined ? listen : `unix:${join(folder, "data.sock")}`, linkTimeout: timeouts.linkEstablishment,
      ...(advertise !== undefined && { advertise }),
    },
    membership: membershipOptions,
    onDeath: (error) => broken?.(error),
  });
  const ends: (() => unknown)[] = [() => thread.terminate(), () => folder !== undefined && rm(folder, { recursive: true, force: true })];
  try {
    const transport = await Promise.race([createThreadedTransport({ port: thread.transportPort }), death]);
    ends.unshift(() => transport.close());
    const membership = await Promise.race([createThreadedMembership(thread.membershipPort), death]);
    ends.unshift(() => membership.close());
    const worker = new Worker({ ...parts, id, transport, membership, wanted: slot, allowFaults, hostname: hostname(), ...(log && { log }) });
    ends.unshift(() => {
      worker.dispose();
    });
    return await Promise.race([worker.run(signal), death]);
  } catch (error) {
    if (error instanceof MembershipError) log?.(error.message);
    throw error;
  } finally {
    for (const end of ends) await end();
  }
}
