import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { MembershipError } from "../../errors.ts";

/** nats-server processes with JetStream on this machine: for chaos runs, tests and benchmarks. */
export interface LocalNatsCluster {
  /** "nats://127.0.0.1:port" of each. */
  readonly servers: readonly string[];
  /** Process ids; undefined where a server does not run. */
  readonly pids: readonly (number | undefined)[];
  /** Number of the server that leads a stream, e.g. "KV_mecefo_job"; undefined where that is not known. */
  leaderOf(stream: string): Promise<number | undefined>;
  /** Ends a server as by kill -9. */
  kill(index: number): Promise<void>;
  /** Stops a server as by SIGSTOP, or lets it go on. */
  signal(index: number, signal: "SIGSTOP" | "SIGCONT"): void;
  /** Starts a killed server again, with what it had stored. */
  restart(index: number): Promise<void>;
  /** Ends all and removes what they stored. */
  stop(): Promise<void>;
}

/** Settings of a cluster on this machine. */
export interface LocalNatsOptions {
  /** 1 or 3. Default 1. */
  readonly size?: number;
  /** Without it, to see what is said then. Default true. */
  readonly jetStream?: boolean;
  /** Clients have to know it. */
  readonly token?: string;
}

/** Whether nats-server is installed here. */
export function isNatsServerInstalled(): boolean {
  return spawnSync("nats-server", ["--version"], { stdio: "ignore" }).status === 0;
}

/**
 * Starts servers in a temporary folder, at free ports of this computer, and waits until they store streams.
 * @throws MembershipError when nats-server is not installed or does not get ready
 */
export async function startLocalNats({ size = 1, jetStream = true, token }: LocalNatsOptions = {}): Promise<LocalNatsCluster> {
  if (!isNatsServerInstalled()) throw new MembershipError("nats-server is not installed (Debian: apt-get install nats-server)");
  const folder = await mkdtemp(join(tmpdir(), "mecefo-nats-"));
  const ports = await freePorts(2 * size);
  const clientPorts = ports.slice(0, size);
  const routes = ports.slice(size).map((port) => `nats://127.0.0.1:${port}`);
  const servers = clientPorts.map((port) => `nats://127.0.0.1:${port}`);
  const processes: (ChildProcess | undefined)[] = [];
  const access = { servers, ...(token === undefined ? {} : { token }) };

  const start = (index: number): void => {
    const own = [
      "-a", "127.0.0.1", "-p", String(clientPorts[index]), "-n", `server${index}`, ...(token === undefined ? [] : ["--auth", token]),
      ...(jetStream ? ["-js", "-sd", join(folder, String(index))] : []),
    ];
    const cluster = size === 1 ? [] : ["--cluster_name", "test", "--cluster", String(routes[index]), "--routes", routes.join(",")];
    const child = spawn("nats-server", [...own, ...cluster], { stdio: "ignore" });
    child.once("exit", () => {
      if (processes[index] === child) processes[index] = undefined;
    });
    processes[index] = child;
  };
  const kill = async (index: number): Promise<void> => {
    const child = processes[index];
    if (child === undefined) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  };
  const stop = async (): Promise<void> => {
    await Promise.all(Array.from({ length: size }, (_, index) => kill(index)));
    await rm(folder, { recursive: true, force: true });
  };

  // Where this process ends without stopping them.
  process.once("exit", () => {
    for (const child of processes) child?.kill("SIGKILL");
  });
  try {
    for (let index = 0; index < size; index++) start(index);
    await untilReady(access, size, jetStream);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    servers, kill, stop,
    get pids() {
      return Array.from({ length: size }, (_, index) => processes[index]?.pid);
    },
    signal: (index, signal) => void processes[index]?.kill(signal),
    restart: async (index) => {
      if (processes[index] === undefined) start(index);
      await untilReady({ ...access, servers: [servers[index]!] }, size, jetStream);
    },
    leaderOf: async (stream) => {
      const connection = await connect({ ...access, timeout: 2000 });
      try {
        const leader = (await (await jetstreamManager(connection, { timeout: 2000 })).streams.info(stream)).cluster?.leader;
        return leader === undefined || leader === "" ? undefined : Number(leader.replace("server", ""));
      } finally {
        await connection.close();
      }
    },
  };
}

async function untilReady(access: { servers: string[]; token?: string }, size: number, jetStream: boolean): Promise<void> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      const connection = await connect({ ...access, timeout: 1000, reconnect: false });
      try {
        if (!jetStream) return;
        const { streams } = await jetstreamManager(connection, { timeout: 2000 });
        const name = `ready_${process.pid}_${Math.floor(Math.random() * 1e9)}`;
        await streams.add({ name, subjects: [`${name}.x`], num_replicas: size });
        await streams.delete(name);
        return;
      } finally {
        await connection.close();
      }
    } catch (error) {
      if (performance.now() > deadline) {
        throw new MembershipError(`nats-server is not ready after 30 s: ${(error as Error).message}`, { cause: error });
      }
      await sleep(50);
    }
  }
}

async function freePorts(count: number): Promise<number[]> {
  const holders = await Promise.all(Array.from({ length: count }, async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return server;
  }));
  const ports = holders.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(holders.map(async (server) => await new Promise((resolve) => server.close(resolve))));
  return ports;
}
