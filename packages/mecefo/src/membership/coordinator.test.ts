import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FormatError, LinkError, MembershipError } from "../errors.ts";
import { fetchJob, observeCoordinator } from "./coordinator-observer.ts";
import { createCoordinatorMembership } from "./coordinator-membership.ts";
import { startCoordinator, type Coordinator, type CoordinatorOptions } from "./coordinator.ts";
import { encodeControlFrame } from "./control/control-frames.ts";
import { FakeLeadership, makeHello, makeJob, makeState, makeVote, until } from "./fake-leadership.testing.ts";
import type { Membership } from "./membership.ts";
import type { WorkerCommand } from "./worker-report.ts";

const token = "a token for tests";

let folder: string;
let address: string;
let leaders: FakeLeadership[];
let open: { close(): Promise<void> }[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecefo-"));
  address = `unix:${join(folder, "control.sock")}`;
  leaders = [];
  open = [];
});

afterEach(async () => {
  for (const one of open.reverse()) await one.close();
  await rm(folder, { recursive: true, force: true });
});

async function coordinator(options: Partial<CoordinatorOptions> = {}): Promise<Coordinator> {
  const started = await startCoordinator({
    listen: address, token, job: makeJob(), tickInterval: 5,
    createLeadership: async (plane) => {
      const leader = await FakeLeadership.create(plane, "test-job");
      leaders.push(leader);
      return leader;
    },
    ...options,
  });
  open.push(started);
  return started;
}

async function worker(memberId: string, at = address, jobHash?: string): Promise<Membership> {
  const membership = await createCoordinatorMembership({
    jobHash, address: at, token, memberId, timeouts: { heartbeatInterval: 10, linkEstablishment: 2000 }, giveUpAfter: 5000,
  });
  open.push(membership);
  return membership;
}

async function raw(bytes?: Buffer): Promise<{ socket: Socket; closed: Promise<void> }> {
  const socket = createConnection({ path: address.slice("unix:".length) });
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.on("error", () => undefined).resume();
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  if (bytes !== undefined) socket.write(bytes);
  return { socket, closed };
}

describe("a coordinator", () => {
  it("carries reports, heartbeats, states and disconnections between workers and the leader", async () => {
    await coordinator();
    const first = await worker("a1");
    const second = await worker("b2");
    const epochs: number[] = [];
    second.onState(({ epoch }) => epochs.push(epoch));
    first.report(makeHello("a1"));
    await until("the first member", () => second.state?.members.length === 1);
    second.report(makeHello("b2", "p0s1"));
    await until("both members", () => first.state?.members.length === 2 && second.state?.members.length === 2);
    first.report(makeVote(2, 0));
    await until("the decision", () => second.state?.decision?.step === 0);
    expect(first.state).toEqual(leaders[0]?.state);
    expect(epochs).toEqual([0, 1, 2, 2]);
    await until("heartbeats of both", () => leaders[0]?.heartbeats.includes("a1") === true && leaders[0].heartbeats.includes("b2"));
    expect(leaders[0]?.ticks).toBeGreaterThan(0);
    await first.close();
    await until("the disconnection", () => leaders[0]?.gone.includes("a1") === true);
    expect(leaders[0]?.gone).not.toContain("b2");
  });

  it("hands out its job, pushes states and events to observers, and passes their commands on", async () => {
    const running = await coordinator();
    expect(await fetchJob({ address, token })).toEqual(makeJob());
    const observer = await observeCoordinator({ address, token });
    open.push(observer);
    const events: string[] = [];
    observer.onEvent((event) => events.push(event.kind));
    const member = await worker("a1");
    const commands: WorkerCommand[] = [];
    member.report(makeHello("a1"));
    await until("the observer to see the member", () => observer.state?.members[0]?.id === "a1");
    running.publishEvent({ kind: "note", at: 1, text: "hello" });
    await until("the event", () => events.includes("note"));
    expect(await observer.command("a1", { kind: "fault", fault: { kind: "cut" } })).toBe(true);
    expect(await observer.command("nobody", { kind: "kill" })).toBe(false);
    // The listener comes later than the command.
    await new Promise((resolve) => setTimeout(resolve, 20));
    member.onCommand((command) => commands.push(command));
    expect(commands).toEqual([{ kind: "fault", fault: { kind: "cut" } }]);
    expect(await observer.requestStop()).toBe(true);
    expect(leaders[0]?.ended).toEqual(["stop"]);
  });

  it("lets a worker know that the leader refuses it", async () => {
    await coordinator();
    const member = await worker("a1");
    const commands: WorkerCommand[] = [];
    member.onCommand((command) => commands.push(command));
    member.report(makeHello("a1", "refuse"));
    await until("the refusal", () => commands.length > 0);
    expect(commands).toEqual([{ kind: "refused", reason: "not a1" }]);
  });

  it("turns away who does not know the token", async () => {
    const running = await coordinator();
    await expect(createCoordinatorMembership({ address, token: "guessed", memberId: "x" })).rejects.toThrow(/token is wrong/);
    await expect(observeCoordinator({ address, token: "guessed" })).rejects.toBeInstanceOf(MembershipError);
    await until("both to be counted", () => running.statistics.refusedConnections === 2);
    expect(leaders[0]?.heartbeats).toEqual([]);
  });

  it("closes connections that bring garbage, too much, or messages out of turn, and goes on", async () => {
    const running = await coordinator();
    const member = await worker("a1");
    const huge = Buffer.alloc(4);
    huge.writeUInt32BE(0xffffffff);
    const beforeProof = Buffer.alloc(4);
    beforeProof.writeUInt32BE(4097);
    for (const bytes of [huge, beforeProof, Buffer.alloc(4), Buffer.from("\0\0\0\x03abc"), encodeControlFrame({ kind: "nothing" })]) {
      await (await raw(bytes)).closed;
    }
    await until("all to be counted", () => running.statistics.brokenConnections === 5);
    await (await raw(encodeControlFrame({ kind: "heartbeat" }))).closed;
    await (await raw(encodeControlFrame({ kind: "report", report: makeHello("evil") }))).closed;
    await until("both to be counted", () => running.statistics.refusedConnections === 2);
    expect(leaders[0]?.received).toEqual([]);
    member.report(makeHello("a1"));
    await until("the honest worker", () => member.state?.members.length === 1);
  });

  it("survives random bytes in random pieces", async () => {
    const running = await coordinator();
    let seed = 7;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    for (let round = 0; round < 40; round++) {
      const { socket, closed } = await raw();
      const zeros = "0".repeat(64);
      const valid = encodeControlFrame({ kind: "answer", version: 1, role: "worker", id: "x", nonce: zeros, proof: zeros });
      const bytes = random(2) === 0 ? Buffer.from(Array.from({ length: 1 + random(200) }, () => random(256))) : Buffer.from(valid);
      bytes[random(bytes.length)] = random(256);
      for (let at = 0; at < bytes.length; at += 37) socket.write(bytes.subarray(at, at + 37));
      socket.end();
      await closed;
    }
    expect(leaders[0]?.received).toEqual([]);
    const member = await worker("a1");
    member.report(makeHello("a1"));
    await until("the honest worker", () => running.state?.members.length === 1);
  });

  it("refuses a report that is too large before it is sent", async () => {
    await coordinator();
    const member = await worker("a1");
    const batches = Array.from({ length: 12_000 }, (_, microbatch) => ({ microbatch, hash: "0".repeat(64) }));
    expect(() => member.report({ ...makeVote(1, 0), batches })).toThrow(/"vote" report of \d+ bytes/);
  });

  it("is alone at its address and for its file", async () => {
    const file = join(folder, "state.json");
    await coordinator({ persistedFile: file });
    await expect(coordinator()).rejects.toThrow(/two coordinators/);
    await expect(coordinator({ listen: `unix:${join(folder, "other.sock")}`, persistedFile: file })).rejects.toThrow(/two coordinators/);
    const byPort = await coordinator({ listen: "tcp://127.0.0.1:0" });
    expect(byPort.address).toMatch(/^tcp:\/\/127\.0\.0\.1:\d+$/);
    await expect(coordinator({ listen: byPort.address })).rejects.toBeInstanceOf(MembershipError);
    expect(await fetchJob({ address: byPort.address, token })).toEqual(makeJob());
  });

  it("takes over a socket and a lock that a killed process left", async () => {
    await writeFile(join(folder, "control.sock"), "");
    await writeFile(join(folder, "control.sock.lock"), JSON.stringify({ pid: 2 ** 22 + 1, hostname: hostname() }));
    await coordinator();
    expect(await fetchJob({ address, token })).toEqual(makeJob());
  });
});

describe("a coordinator that is started again", () => {
  it("goes on from its file with another epoch; workers come back and repeat a vote that nobody answered", async () => {
    const file = join(folder, "state.json");
    const deaf: CoordinatorOptions["createLeadership"] = async (plane) => {
      const leader = await FakeLeadership.create(plane, "test-job");
      leaders.push(leader);
      const receive = leader.receive.bind(leader);
      // Decides nothing: as if it died just before.
      leader.receive = (from, report) => report.kind === "vote" ? leader.received.push({ from: from.id, report }) : receive(from, report);
      return leader;
    };
    const first = await coordinator({ persistedFile: file, createLeadership: deaf });
    const member = await worker("a1");
    member.report(makeHello("a1"));
    await until("the member", () => member.state?.epoch === 1);
    member.report(makeVote(1, 0));
    await until("the vote", () => leaders[0]?.received.some(({ report }) => report.kind === "vote") === true);
    await first.close();
    expect(JSON.parse(await readFile(file, "utf8"))).toMatchObject({ state: { epoch: 1, phase: "training" } });

    await coordinator({ persistedFile: file });
    await until("the vote of the old epoch to be void", () => member.state?.epoch === 2);
    expect(leaders[1]?.state.members.map(({ id }) => id)).toEqual(["a1"]);
    member.report(makeVote(2, 0));
    await until("the decision", () => member.state?.step === 1);
    await until("the worker to be alive again", () => leaders[1]?.heartbeats.includes("a1") === true);
  });

  it("repeats what the same epoch did not answer after a broken connection", async () => {
    const running = await coordinator({ createLeadership: async (plane) => {
      const leader = await FakeLeadership.create(plane, "test-job");
      leaders.push(leader);
      return leader;
    } });
    const member = await worker("a1");
    member.report(makeHello("a1"));
    await until("the member", () => member.state?.epoch === 1);
    const settled = { kind: "settled", epoch: 1, transfers: [], milliseconds: 1 } as const;
    member.report(settled);
    await until("the report", () => leaders[0]?.received.at(-1)?.report.kind === "settled");
    // Another connection under the same id takes the place of the first, which connects again in turn.
    const thief = await createCoordinatorMembership({ address, token, memberId: "a1" });
    await thief.close();
    await until("the report again", () => (leaders[0]?.received.filter(({ report }) => report.kind === "settled").length ?? 0) >= 2);
    expect(leaders[0]?.received.filter(({ report }) => report.kind === "hello")).toHaveLength(1);
    expect(running.state?.epoch).toBe(1);
  });

  it("takes a newer state over from its workers when it has none itself", async () => {
    const first = await coordinator();
    const member = await worker("a1");
    member.report(makeHello("a1"));
    await until("the member", () => member.state?.epoch === 1);
    member.report(makeVote(1, 0));
    await until("a step", () => member.state?.step === 1);
    await first.close();
    const epochs: number[] = [];
    member.onState(({ epoch, step }) => epochs.push(epoch * 10 + step));
    const second = await coordinator();
    await until("the epoch after", () => member.state?.epoch === 2);
    expect(second.state).toMatchObject({ epoch: 2, step: 1, members: [{ id: "a1" }] });
    expect(epochs).toEqual([11, 21]);
    expect(leaders.map(({ closed }) => closed)).toEqual([true, true, false]);
  });

  it("refuses workers that were started with another job, and takes nothing over from them", async () => {
    const first = await coordinator();
    const old = await worker("a1", address, "0".repeat(64));
    const commands: WorkerCommand[] = [];
    old.onCommand((command) => commands.push(command));
    old.report(makeHello("a1"));
    await until("the member", () => old.state?.epoch === 1);
    await first.close();
    const second = await coordinator();
    await until("the refusal", () => commands.length > 0);
    expect(commands[0]).toMatchObject({ kind: "refused", reason: expect.stringMatching(/another job \(000000000000\)/) as string });
    expect(second.state).toMatchObject({ epoch: 0, members: [] });
  });

  it("refuses workers of a newer epoch once it trains something else", async () => {
    const first = await coordinator();
    const old = await worker("a1");
    const commands: WorkerCommand[] = [];
    old.onCommand((command) => commands.push(command));
    old.report(makeHello("a1"));
    await until("the member", () => old.state?.epoch === 1);
    old.report({ kind: "trouble", epoch: 1, trouble: "link", detail: "cut" });
    await until("the next epoch", () => old.state?.epoch === 2);
    await first.close();
    await coordinator({
      createLeadership: async (plane) => {
        const found = await plane.read();
        if (found === undefined) await plane.compareAndSet(makeState({ phase: "training", epoch: 1 }), 0);
        const leader = await FakeLeadership.create(plane, "test-job");
        leaders.push(leader);
        return leader;
      },
    });
    await until("the refusal", () => commands.length > 0);
    expect(commands[0]).toMatchObject({ kind: "refused", reason: expect.stringMatching(/another run/) as string });
    expect(old.state?.epoch).toBe(2);
  });

  it("refuses a file that is damaged or another job's", async () => {
    const file = join(folder, "state.json");
    await writeFile(file, "{\"format\":");
    await expect(coordinator({ persistedFile: file })).rejects.toBeInstanceOf(FormatError);
    await writeFile(file, JSON.stringify({ format: "mecefo-coordinator", revision: 3, state: makeState({ job: "another" }) }));
    await expect(coordinator({ persistedFile: file })).rejects.toThrow(/job "another", not of "test-job"/);
  });
});

describe("a worker without a coordinator", () => {
  it("fails to start with the address in the error", async () => {
    const attempt = createCoordinatorMembership({ address, token, memberId: "a1", timeouts: { linkEstablishment: 50 } });
    await expect(attempt).rejects.toThrow(address);
    await expect(attempt).rejects.toBeInstanceOf(LinkError);
  });

  it("gives up in the end", async () => {
    const running = await coordinator();
    const member = await createCoordinatorMembership({ address, token, memberId: "a1", giveUpAfter: 100 });
    open.push(member);
    const commands: WorkerCommand[] = [];
    member.onCommand((command) => commands.push(command));
    await running.close();
    await until("the end", () => commands.length > 0);
    expect(commands[0]?.kind).toBe("refused");
  });
});
