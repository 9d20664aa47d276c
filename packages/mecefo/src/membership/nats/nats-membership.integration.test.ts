import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { MembershipError } from "../../errors.ts";
import type { RunEvent } from "../run-event.ts";
import { FakeLeadership, makeHello, makeJob, makeVote, until } from "../fake-leadership.testing.ts";
import type { ControlPlane } from "../membership.ts";
import type { WorkerCommand } from "../worker-report.ts";
import { startLocalNats, type LocalNatsCluster } from "./local-cluster.ts";
import { hasNatsServer } from "./nats-server.testing.ts";
import { createNatsMembership, type NatsMembership } from "./nats-membership.ts";
import { fetchNatsJob, observeNats, publishNatsJob, removeNatsJob, type NatsObserver } from "./nats-observer.ts";

const installed = hasNatsServer();
let names = 0;

interface Participant {
  readonly id: string;
  readonly membership: NatsMembership;
  /** Leaders that it was, in turn. */
  readonly leaders: { leadership: FakeLeadership; plane: ControlPlane; publish: (event: RunEvent) => void }[];
}

let open: { close(): Promise<void> }[] = [];

async function join(cluster: LocalNatsCluster, jobName: string, id: string): Promise<Participant> {
  const leaders: Participant["leaders"] = [];
  const membership = await createNatsMembership({
    servers: cluster.servers, memberId: id, job: { ...makeJob(jobName), timeouts: { leaderLease: 800 } },
    createLeadership: async (plane, publish) => {
      const leadership = await FakeLeadership.create(plane, jobName);
      leaders.push({ leadership, plane, publish });
      return leadership;
    },
  });
  open.push(membership);
  return { id, membership, leaders };
}

async function observe(cluster: LocalNatsCluster, jobName: string): Promise<NatsObserver> {
  const observer = await observeNats({ servers: cluster.servers, jobName });
  open.push(observer);
  return observer;
}

/** The one that leads; throws where several do. */
function leaderOf(participants: readonly Participant[]): Participant | undefined {
  const leaders = participants.filter(({ membership, leaders: terms }) => membership.leads && terms.at(-1)?.leadership.closed === false);
  if (leaders.length > 1) throw new Error(`several lead: ${leaders.map(({ id }) => id).join(", ")}`);
  return leaders[0];
}

afterEach(async () => {
  for (const one of open.reverse()) await one.close();
  open = [];
});

describe.skipIf(!installed)("NATS membership, one server", () => {
  let cluster: LocalNatsCluster;

  beforeAll(async () => {
    cluster = await startLocalNats();
  }, 60_000);
  afterAll(async () => await cluster.stop());

  it("elects one leader, carries reports to it and states to all", async () => {
    const jobName = `job${names++}`;
    const participants = await Promise.all(["a1", "b2", "c3"].map(async (id) => await join(cluster, jobName, id)));
    await until("a leader", () => leaderOf(participants) !== undefined);
    for (const { id, membership } of participants) membership.report(makeHello(id));
    await until("three members everywhere", () => participants.every(({ membership }) => membership.state?.members.length === 3));
    participants[0]?.membership.report(makeVote(3, 0));
    await until("the decision everywhere", () => participants.every(({ membership }) => membership.state?.decision?.step === 0));
    const leading = leaderOf(participants)?.leaders.at(-1)?.leadership;
    await until("heartbeats of all", () => participants.every(({ id }) => leading?.heartbeats.includes(id) === true));
    expect(new Set(participants.map(({ membership }) => membership.leader)).size).toBe(1);
    expect(participants.flatMap(({ leaders }) => leaders)).toHaveLength(1);
  }, 30_000);

  it("replaces a leader that was killed; pending reports reach the next one, and the old one cannot write", async () => {
    const jobName = `job${names++}`;
    const participants = await Promise.all(["a1", "b2", "c3"].map(async (id) => await join(cluster, jobName, id)));
    await until("a leader", () => leaderOf(participants) !== undefined);
    const old = leaderOf(participants)!;
    const others = participants.filter((participant) => participant !== old);
    for (const { id, membership } of participants) membership.report(makeHello(id));
    await until("three members everywhere", () => participants.every(({ membership }) => membership.state?.members.length === 3));
    const settled = { kind: "settled", epoch: 3, transfers: [], milliseconds: 1 } as const;
    others[0]!.membership.report(settled);
    await until("the report", () => old.leaders[0]!.leadership.received.some(({ report }) => report.kind === "settled"));
    const plane = old.leaders[0]!.plane;
    const before = await plane.read();
    await old.membership.abandon();
    await until("another leader", () => leaderOf(others) !== undefined);
    const next = leaderOf(others)!.leaders[0]!;
    expect(next.leadership.state.members).toHaveLength(3);
    const isAgain = ({ from, report }: FakeLeadership["received"][number]): boolean => from === others[0]!.id && report.kind === "settled";
    await until("the report again", () => next.leadership.received.some(isAgain));
    others[1]!.membership.report(makeVote(3, 0));
    await until("the decision", () => others.every(({ membership }) => membership.state?.step === 1));
    const found = await next.plane.read();
    expect(found!.revision).toBeGreaterThan(before!.revision);
    // Of several that write over the same revision one succeeds.
    const write = async (reason: string): Promise<number | undefined> =>
      await next.plane.compareAndSet({ ...found!.state, reason }, found!.revision);
    const written = await Promise.all([write("one"), write("two"), write("three")]);
    expect(written.filter((revision) => revision !== undefined)).toHaveLength(1);
  }, 30_000);

  it("lets nobody wait when the leader leaves in order", async () => {
    const jobName = `job${names++}`;
    const participants = await Promise.all(["a1", "b2"].map(async (id) => await join(cluster, jobName, id)));
    await until("a leader", () => leaderOf(participants) !== undefined);
    const old = leaderOf(participants)!;
    const other = participants.find((participant) => participant !== old)!;
    await old.membership.close();
    await until("another leader", () => other.membership.leads);
    expect(other.membership.leader).toBe(other.id);
  }, 30_000);

  it("stops a leader that slept while others took over: its writes fail", async () => {
    const jobName = `job${names++}`;
    const participants = await Promise.all(["a1", "b2"].map(async (id) => await join(cluster, jobName, id)));
    await until("a leader", () => leaderOf(participants) !== undefined);
    const old = leaderOf(participants)!;
    const { plane } = old.leaders[0]!;
    const before = await plane.read();
    // As if the other had taken the lock and fenced the state while this one slept.
    const other = participants.find((participant) => participant !== old)!;
    await old.membership.close();
    await until("another leader", () => other.leaders.length === 1);
    expect(await plane.compareAndSet({ ...before!.state, reason: "too late" }, before!.revision)).toBeUndefined();
    expect((await other.leaders[0]!.plane.read())?.state.reason).not.toBe("too late");
  }, 30_000);

  it("shows observers states and every event, and passes their commands on", async () => {
    const jobName = `job${names++}`;
    const access = { servers: cluster.servers };
    await publishNatsJob(access, { ...makeJob(jobName), timeouts: { leaderLease: 800 } });
    expect(await fetchNatsJob(access, jobName)).toMatchObject({ name: jobName });
    const observer = await observe(cluster, jobName);
    const events: string[] = [];
    observer.onEvent((event) => events.push(event.kind === "note" ? event.text : event.kind));
    const participant = await join(cluster, jobName, "a1");
    await until("a leader", () => participant.leaders.length === 1);
    participant.membership.report(makeHello("a1"));
    for (let n = 0; n < 50; n++) participant.leaders[0]!.publish({ kind: "note", at: n, text: String(n) });
    await until("the member", () => observer.state?.members.length === 1);
    await until("all events", () => events.length >= 50);
    expect(events).toEqual(Array.from({ length: 50 }, (_, n) => String(n)));
    const commands: WorkerCommand[] = [];
    participant.membership.onCommand((command) => commands.push(command));
    expect(await observer.command("a1", { kind: "kill" })).toBe(true);
    expect(await observer.command("nobody", { kind: "kill" })).toBe(false);
    expect(await observer.requestStop()).toBe(true);
    expect(commands).toEqual([{ kind: "kill" }]);
    expect(participant.leaders[0]!.leadership.ended).toEqual(["stop"]);
    await participant.membership.close();
    await removeNatsJob(access, jobName);
    await expect(fetchNatsJob(access, jobName)).rejects.toThrow(/no job/);
  }, 30_000);

  it("keeps jobs apart, and refuses another job of the same name", async () => {
    const [first, second] = [`job${names++}`, `job${names++}`];
    const a = await join(cluster, first, "a1");
    const b = await join(cluster, second, "b2");
    a.membership.report(makeHello("a1"));
    b.membership.report(makeHello("b2"));
    await until("both to lead", () => a.membership.leads && b.membership.leads);
    await until("both members", () => a.membership.state?.members.length === 1 && b.membership.state?.members.length === 1);
    expect(a.membership.state?.members[0]?.id).toBe("a1");
    expect(b.leaders[0]!.leadership.heartbeats.includes("a1")).toBe(false);
    await expect(createNatsMembership({
      servers: cluster.servers, memberId: "x", job: { ...makeJob(first), seed: 2 }, createLeadership: () => {
        throw new Error("never");
      },
    })).rejects.toThrow(/another job named/);
  }, 30_000);

  it("gives the name of a run that is over to the next, and tells it where to begin", async () => {
    const jobName = `job${names++}`;
    const access = { servers: cluster.servers };
    const { membership, leaders } = await join(cluster, jobName, "a1");
    await until("a leader", () => leaders.length === 1);
    const other = { ...makeJob(jobName), seed: 99 };
    await expect(publishNatsJob(access, other)).rejects.toThrow(/another job named/);
    const found = await leaders[0]!.plane.read();
    await leaders[0]!.plane.compareAndSet({ ...found!.state, phase: "finished" }, found!.revision);
    await membership.close();
    const resume = { load: { from: "checkpoint", folder: "step-40" }, step: 40 } as const;
    await publishNatsJob(access, other, resume);
    let given: unknown;
    const next = await createNatsMembership({
      ...access, job: other, memberId: "b2",
      createLeadership: async (plane, _, point) => {
        given = point;
        return await FakeLeadership.create(plane, jobName);
      },
    });
    open.push(next);
    await until("the next leader", () => next.state !== undefined);
    expect(given).toEqual(resume);
    expect(next.state).toMatchObject({ phase: "forming", epoch: 0 });
  }, 30_000);

  it("refuses a report over the limit", async () => {
    const { membership } = await join(cluster, `job${names++}`, "a1");
    const batches = Array.from({ length: 12_000 }, (_, microbatch) => ({ microbatch, hash: "0".repeat(64) }));
    expect(() => membership.report({ ...makeVote(1, 0), batches })).toThrow(MembershipError);
  }, 30_000);

  it("ignores what is no message of the protocol", async () => {
    const jobName = `job${names++}`;
    const participant = await join(cluster, jobName, "a1");
    await until("a leader", () => participant.leaders.length === 1);
    const { connect } = await import("@nats-io/transport-node");
    const stranger = await connect({ servers: [...cluster.servers] });
    for (const subject of ["report", "heartbeat", "state", "leader", "command.a1"]) {
      for (const text of ["", "{", "[]", "{\"from\":\"../x\"}", "x".repeat(100_000)]) {
        stranger.publish(`mecefo.${jobName}.${subject}`, text);
      }
    }
    await stranger.flush();
    await stranger.close();
    participant.membership.report(makeHello("a1"));
    await until("the member", () => participant.membership.state?.members.length === 1);
    expect(participant.leaders[0]!.leadership.received.map(({ report }) => report.kind)).toEqual(["hello"]);
  }, 30_000);

  it("says what is wrong with servers", async () => {
    const nobody = publishNatsJob({ servers: ["nats://127.0.0.1:1"] }, makeJob("x"));
    await expect(nobody).rejects.toThrow(/no NATS server can be reached at nats:\/\/127.0.0.1:1/);
    const without = await startLocalNats({ jetStream: false });
    open.push({ close: async () => await without.stop() });
    const plain = publishNatsJob({ servers: without.servers }, makeJob("x"));
    await expect(plain).rejects.toThrow(/without JetStream; start it with "nats-server -js"/);
    const guarded = await startLocalNats({ token: "secret" });
    open.push({ close: async () => await guarded.stop() });
    await expect(publishNatsJob({ servers: guarded.servers, token: "guess" }, makeJob("x"))).rejects.toThrow(/refuses the credentials/);
    await publishNatsJob({ servers: guarded.servers, token: "secret" }, makeJob("x"));
  }, 60_000);
});

describe.skipIf(!installed)("NATS membership, three servers", () => {
  let cluster: LocalNatsCluster;

  beforeAll(async () => {
    cluster = await startLocalNats({ size: 3 });
  }, 60_000);
  afterAll(async () => await cluster.stop());

  it("loses no decision and no event when the server is killed that leads the stream", async () => {
    const jobName = `job${names++}`;
    const participants = await Promise.all(["a1", "b2", "c3"].map(async (id) => await join(cluster, jobName, id)));
    const observer = await observe(cluster, jobName);
    const events: number[] = [];
    observer.onEvent((event) => events.push(event.at));
    await until("a leader", () => leaderOf(participants) !== undefined, 20_000);
    for (const { id, membership } of participants) membership.report(makeHello(id));
    await until("three members everywhere", () => participants.every(({ membership }) => membership.state?.members.length === 3));
    const steps: number[] = [];
    observer.onState(({ step }) => steps.push(step));
    let step = 0;
    const takeSteps = async (count: number): Promise<void> => {
      for (const end = step + count; step < end; step++) {
        leaderOf(participants)?.leaders.at(-1)?.publish({ kind: "note", at: step, text: "step" });
        for (const { membership } of participants) membership.report(makeVote(3, step));
        await until(`step ${step}`, () => participants.every(({ membership }) => (membership.state?.step ?? 0) > step), 40_000);
      }
    };
    await takeSteps(10);
    const leads = await cluster.leaderOf(`KV_mecefo_${jobName}`);
    expect(leads).toBeDefined();
    await cluster.kill(leads!);
    await takeSteps(10);
    await cluster.restart(leads!);
    await takeSteps(5);
    await cluster.kill((leads! + 1) % 3);
    await takeSteps(5);
    await cluster.restart((leads! + 1) % 3);
    for (const { membership } of participants) expect(membership.state).toMatchObject({ step: 30, epoch: 3, decision: { step: 29 } });
    expect(steps).toEqual(steps.toSorted((a, b) => a - b));
    await until("all events", () => new Set(events).size >= 29, 20_000);
    expect(events).toEqual(events.toSorted((a, b) => a - b));
    expect(new Set(events).size).toBe(events.length);
  }, 120_000);

  it("judges nobody while there is no quorum, says so to newcomers, and goes on after it", async () => {
    const jobName = `job${names++}`;
    const participants = await Promise.all(["a1", "b2"].map(async (id) => await join(cluster, jobName, id)));
    await until("a leader", () => leaderOf(participants) !== undefined, 20_000);
    for (const { id, membership } of participants) membership.report(makeHello(id));
    await until("two members", () => participants.every(({ membership }) => membership.state?.members.length === 2));
    await cluster.kill(0);
    await cluster.kill(1);
    await sleep(2000);
    const terms = participants.flatMap(({ leaders }) => leaders);
    const ticks = terms.map(({ leadership }) => leadership.ticks);
    const beats = terms.map(({ leadership }) => leadership.heartbeats.length);
    await sleep(1500);
    expect(terms.map(({ leadership }) => leadership.ticks)).toEqual(ticks);
    expect(terms.map(({ leadership }) => leadership.heartbeats.length)).toEqual(beats);
    participants[0]!.membership.report(makeVote(2, 0));
    await cluster.restart(0);
    await cluster.restart(1);
    await until("the decision", () => participants.every(({ membership }) => membership.state?.step === 1), 40_000);
    await until("time to pass again", () => (leaderOf(participants)?.leaders.at(-1)?.leadership.ticks ?? 0) > Math.max(...ticks), 20_000);
    expect(participants[0]!.membership.state?.members).toHaveLength(2);
  }, 120_000);
});
