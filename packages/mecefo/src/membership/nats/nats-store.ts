import { setTimeout as sleep } from "node:timers/promises";
import {
  DiscardPolicy, JetStreamApiError, jetstream, jetstreamManager, type JetStreamClient, type JetStreamManager,
} from "@nats-io/jetstream";
import { Kvm, type KV } from "@nats-io/kv";
import { z } from "zod";
import { MecefoError, MembershipError } from "../../errors.ts";
import { canonicalJson } from "../../job/job-hash.ts";
import { jobSchema, type Job } from "../../job/job.ts";
import { clusterStateSchema, type ClusterState } from "../cluster-state.ts";
import type { RestorePoint } from "../cluster-state.ts";
import { natsNames, type NatsNames } from "./nats-names.ts";
import type { NatsLink } from "./nats-link.ts";
import { NatsRegister } from "./nats-register.ts";

/** The lock: who leads. Its revision moves with every renewal. */
export interface LeaderLock {
  readonly id: string;
  /** Rises with every leader. */
  readonly term: number;
  /** It gave the lock back: nobody has to wait. */
  readonly resigned: boolean;
}

/** A job's durable things in NATS. */
export interface NatsStore {
  readonly names: NatsNames;
  readonly state: NatsRegister<ClusterState>;
  readonly lock: NatsRegister<LeaderLock>;
  readonly job: NatsRegister<Job>;
  /** Where the run begins when it is taken up from a checkpoint. */
  readonly resume: NatsRegister<RestorePoint>;
  readonly streams: JetStreamManager;
  readonly client: JetStreamClient;
  /** Copies that are kept of everything. */
  readonly replicas: number;
}

const identity = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);
const lockSchema: z.ZodType<LeaderLock> = z.object({ id: identity, term: z.int().min(1), resigned: z.boolean() });

const resumeSchema: z.ZodType<RestorePoint> = z.object({
  load: z.object({ from: z.literal("checkpoint"), folder: z.string().min(1).max(1024) }), step: z.int().min(0),
});

const NOT_ENABLED = [10039, 10076];
/** Milliseconds in which a cluster has to find a quorum: electing takes up to ten seconds after a server was lost. */
const QUORUM_LIMIT = 20_000;
const STREAM_NOT_FOUND = 10059;
const EVENTS_KEPT = 200_000;
const EVENT_BYTES_KEPT = 512 << 20;

/** Whether a job's bucket has to be there, or is made. */
export type NatsStoreMode = "open" | "create";

/**
 * Opens a job's bucket and stream. Replicated over as many servers as there are, at most three.
 * @throws MembershipError when JetStream is off, when its servers have no quorum, or when there is no such job
 */
export async function openNatsStore(link: NatsLink, jobName: string, writer: string, mode: NatsStoreMode): Promise<NatsStore> {
  const names = natsNames(jobName);
  const client = jetstream(link.connection, { timeout: 2000 });
  const replicas = Math.min(3, link.clusterSize);
  const streams = await withPatience(link, async () => await jetstreamManager(link.connection, { timeout: 2000 }));
  const bucket = await withPatience(link, async () => await openBucket(client, streams, names, replicas, mode));
  if (bucket === undefined) {
    throw new MembershipError(`there is no job "${jobName}" in NATS at ${link.connection.getServer()}; start it first, or check its name`);
  }
  return {
    names, client, streams, replicas,
    state: new NatsRegister(bucket, "state", writer, clusterStateSchema),
    lock: new NatsRegister(bucket, "leader", writer, lockSchema),
    job: new NatsRegister(bucket, "job", writer, jobSchema),
    resume: new NatsRegister(bucket, "resume", writer, resumeSchema),
  };
}

/** Puts the job into its bucket, or finds it there. @throws MembershipError when there is another job of the same name */
export async function registerJob(link: NatsLink, store: NatsStore, job: Job): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const found = await withPatience(link, async () => await store.job.read());
    if (found === undefined) {
      if (await store.job.write(job, 0, () => true) !== undefined) return;
    } else if (canonicalJson(found.value) === canonicalJson(jobSchema.parse(job))) {
      return;
    } else {
      throw new MembershipError(
        `NATS already knows another job named "${job.name}": give this one another name, or remove the old one if it is over`,
      );
    }
  }
  throw new MembershipError(`job "${job.name}" could not be written into NATS: others write it at the same time`);
}

/** Removes all that NATS keeps of a job. */
export async function removeStore(store: NatsStore): Promise<void> {
  for (const name of [`KV_${store.names.bucket}`, store.names.eventStream]) {
    await store.streams.streams.delete(name).catch((error: unknown) => {
      if (!(error instanceof JetStreamApiError) || error.code !== STREAM_NOT_FOUND) throw error;
    });
  }
}

async function openBucket(
  client: JetStreamClient, streams: JetStreamManager, names: NatsNames, replicas: number, mode: NatsStoreMode,
): Promise<KV | undefined> {
  // Read from the stream's leader only: a copy may be behind.
  const options = { replicas, history: 1, allow_direct: false } as const;
  if (mode === "open" && !await exists(streams, `KV_${names.bucket}`)) return undefined;
  if (!await exists(streams, names.eventStream)) {
    await streams.streams.add({
      name: names.eventStream, subjects: [names.event], num_replicas: replicas, max_msgs: EVENTS_KEPT, max_bytes: EVENT_BYTES_KEPT,
      discard: DiscardPolicy.Old, allow_direct: false,
    });
  }
  return await new Kvm(client).create(names.bucket, options);
}

async function exists(streams: JetStreamManager, name: string): Promise<boolean> {
  try {
    await streams.streams.info(name);
    return true;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return false;
    throw error;
  }
}

/**
 * Repeats what fails: a cluster that was just started, or that lost a server, answers after a while.
 * @throws MembershipError when JetStream is off, or the cluster has no quorum for too long
 */
export async function withPatience<Result>(link: NatsLink, task: () => Promise<Result>, limit: number = QUORUM_LIMIT): Promise<Result> {
  const deadline = performance.now() + limit;
  const server = link.connection.getServer();
  for (;;) {
    try {
      return await task();
    } catch (error) {
      const cause = error as Error;
      if (cause.name === "JetStreamNotEnabled" || (cause instanceof JetStreamApiError && NOT_ENABLED.includes(cause.code))) {
        throw new MembershipError(`NATS at ${server} runs without JetStream; start it with "nats-server -js"`, { cause });
      }
      if (link.connection.isClosed() || cause instanceof MecefoError) throw error;
      if (performance.now() > deadline) {
        throw new MembershipError(
          `NATS at ${server} does not answer for JetStream (${cause.message}): more than half of its servers have to run; check that they `
          + "reach each other",
          { cause },
        );
      }
      await sleep(100);
    }
  }
}
