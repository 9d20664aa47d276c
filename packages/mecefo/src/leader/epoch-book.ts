import { slotName } from "../grid/grid.ts";
import type { ClusterState, Decision, EpochCause, Member, RestorePoint } from "../membership/cluster-state.ts";
import type { Settled, Trouble, Vote } from "../membership/worker-report.ts";
import { findCulprit } from "./culprit.ts";
import type { EpochChange } from "./next-epoch.ts";
import { VoteBook } from "./vote-book.ts";

/** A link's failure is answered this much later, in milliseconds: the death behind it is then known, and one epoch answers both. */
const TROUBLE_PATIENCE = 40;
/** Troubles that an epoch's reason names. */
const TROUBLES_NAMED = 4;

interface Eviction {
  readonly cause: EpochCause;
  readonly reason: string;
}

interface TroubleEntry {
  readonly trouble: Trouble;
  /** The member that told of it; undefined: the leader found it. */
  readonly from: string | undefined;
  readonly at: number;
}

/** What `EpochBook.change` is told besides what the book knows. */
export interface ChangeOccasion {
  readonly now: number;
  /** A step that is taken in the same stroke. */
  readonly decision: Decision | undefined;
  readonly joining: readonly Member[];
  /** Whether those who join wait no longer for a better moment. */
  readonly joinsNow: boolean;
  /** Whether the run was asked to stop and no step is in flight. */
  readonly isStopped: boolean;
  readonly restorePoint: RestorePoint | undefined;
}

/**
 * What the leader knows of one epoch: who is ready, who waits for whom, how they voted, what is wrong, and so how the next one differs.
 * Times are milliseconds of one monotonic clock, given by the caller.
 */
export class EpochBook {
  /** When it began, and when its cause was learnt of. */
  began: number;
  readonly causeAt: number;
  readonly settled: Map<string, Settled> = new Map();
  readonly #members: ReadonlyMap<string, Member>;
  /** By step: where workers do not wait for decisions, some vote ahead. */
  readonly #votes = new Map<number, VoteBook>();
  readonly #waitsFor = new Map<string, string>();
  readonly #evictions = new Map<string, Eviction>();
  readonly #disconnected = new Map<string, number>();
  readonly #troubles: TroubleEntry[] = [];
  #nextCauseAt: number | undefined;
  #discard: string | undefined;
  #isReady: boolean;

  /** @param isReady whether its members were ready before this leader led */
  constructor(members: readonly Member[], { began, causeAt = began, isReady }: {
    readonly began: number; readonly causeAt?: number; readonly isReady: boolean;
  }) {
    this.#members = new Map(members.map((member) => [member.id, member]));
    this.began = began;
    this.causeAt = causeAt;
    this.#isReady = isReady;
  }

  isMember(id: string): boolean {
    return this.#members.has(id);
  }

  /** A member's slot; for others the id. */
  nameOf(id: string): string {
    const member = this.#members.get(id);
    return member ? slotName(member.slot) : id;
  }

  /** Who asks for this slot takes it from this member. */
  occupantOf(slot: string | undefined): string | undefined {
    return [...this.#members.values()].find((member) => slotName(member.slot) === slot)?.id;
  }

  /** Members that no eviction is due of. */
  get staying(): Member[] {
    return [...this.#members.values()].filter(({ id }) => !this.#evictions.has(id));
  }

  /** Members that have not got ready yet. */
  get unsettled(): string[] {
    return [...this.#members.keys()].filter((id) => !this.settled.has(id));
  }

  /** A member has got what it hosts. @returns whether now, for the first time, all have */
  settle(id: string, report: Settled): boolean {
    this.settled.set(id, report);
    if (this.#isReady || this.unsettled.length > 0) return false;
    this.#isReady = true;
    return true;
  }

  votesOf(step: number): VoteBook {
    const book = this.#votes.get(step) ?? new VoteBook();
    this.#votes.set(step, book);
    return book;
  }

  vote(id: string, vote: Vote): void {
    this.votesOf(vote.step).votes.set(id, vote);
  }

  /** A member waits for another, or for nobody any more. */
  waits(id: string, peer: string | undefined): void {
    if (peer === undefined) this.#waitsFor.delete(id);
    else this.#waitsFor.set(id, peer);
  }

  /** A step was taken: what was said about it is of no use any more. */
  forgetStep(step: number): void {
    this.#votes.delete(step);
    this.#waitsFor.clear();
  }

  /** The member that everybody waits for in a step. */
  culpritOf(step: number): string | undefined {
    const culprit = findCulprit(this.votesOf(step).missing([...this.#members.keys()]), this.#waitsFor);
    return culprit !== undefined && this.isMember(culprit) ? culprit : undefined;
  }

  /** The member has to go. The first cause counts; of strangers nothing is noted. */
  evict(id: string, cause: EpochCause, reason: string, now: number): void {
    if (!this.isMember(id) || this.#evictions.has(id)) return;
    this.#nextCauseAt ??= now;
    this.#evictions.set(id, { cause, reason: `${this.nameOf(id)}: ${reason}` });
  }

  /** A member's connection closed. */
  disconnect(id: string, now: number): void {
    if (!this.isMember(id) || this.#disconnected.has(id)) return;
    this.#disconnected.set(id, now);
    if (this.#troubles.some(({ trouble }) => trouble.peer === id)) this.#evictUnreachable(id, now);
  }

  /** It was made again. */
  reconnect(id: string): void {
    this.#disconnected.delete(id);
  }

  /** Evicts members whose connections were closed for so many milliseconds. */
  evictDisconnected(grace: number, now: number): void {
    for (const [id, at] of this.#disconnected) {
      if (now - at >= grace) this.evict(id, "killed", "its connection closed and was not made again", now);
    }
  }

  /** Something is wrong that another epoch answers. */
  addTrouble(trouble: Trouble, from: string | undefined, now: number): void {
    const { peer } = trouble;
    if (peer !== undefined && this.#disconnected.has(peer)) return this.#evictUnreachable(peer, now);
    this.#nextCauseAt ??= now;
    this.#troubles.push({ trouble, from, at: now });
  }

  get troubles(): readonly Trouble[] {
    return this.#troubles.map(({ trouble }) => trouble);
  }

  /** Replicas differ and nobody knows which is right: all go back. Undefined takes it back. */
  discard(reason: string | undefined): void {
    this.#discard = reason;
  }

  /** So many milliseconds count for nothing: the leader itself was stopped. */
  shift(milliseconds: number, now: number): void {
    // What began meanwhile did not wait that long: nothing may seem to begin in the future.
    this.began = Math.min(now, this.began + milliseconds);
    for (const [id, at] of this.#disconnected) this.#disconnected.set(id, at + milliseconds);
  }

  /** How the next epoch differs, if another has to begin. */
  change({ now, decision, joining, joinsNow, isStopped, restorePoint }: ChangeOccasion): EpochChange | undefined {
    const gone = [...this.#evictions.values()];
    const troubles = this.#troubles.filter(({ at }) => now - at >= TROUBLE_PATIENCE);
    const joins = joining.length > 0 && (joinsNow || decision !== undefined || gone.length > 0 || troubles.length > 0);
    if (gone.length === 0 && troubles.length === 0 && !joins && this.#discard === undefined && !isStopped) return undefined;
    const told = gone.length > 0 ? [] : troubles.slice(0, TROUBLES_NAMED);
    const reasons = [
      ...gone.map(({ reason }) => reason),
      ...told.map(({ trouble: { detail }, from }) => (from === undefined ? detail : `${this.nameOf(from)}: ${detail}`)),
      ...(this.#discard === undefined ? [] : [this.#discard]),
      ...joining.map(({ slot }) => `${slotName(slot)} is back`),
      ...(isStopped ? ["asked to stop"] : []),
    ];
    const causes: readonly (EpochCause | undefined)[] = [
      // Whatever else happened: the run's log has to tell of it.
      this.#discard !== undefined || gone.some(({ cause }) => cause === "divergence") ? "divergence" : undefined, gone[0]?.cause, causeOf(troubles[0]?.trouble),
      joining.length > 0 ? "joined" : "requested",
    ];
    return {
      gone: new Set(this.#evictions.keys()), joining, decision, settled: new Set(this.settled.keys()),
      discard: this.#discard !== undefined, restorePoint, cause: causes.find((cause) => cause !== undefined)!, reason: reasons.join("; "),
    };
  }

  /**
   * The book of the epoch that follows. What is known of those who stay goes with them.
   * @param joinedAt when those who joined asked to
   */
  next({ epoch, members }: ClusterState, { now, joinedAt }: { readonly now: number; readonly joinedAt: readonly number[] }): EpochBook {
    // Whoever joined waited for a step's end by choice: the recovery begins with the epoch then; the first one with the last to come.
    const causeAt = this.#nextCauseAt ?? (epoch === 1 && joinedAt.length > 0 ? Math.max(...joinedAt) : now);
    const next = new EpochBook(members, { began: now, causeAt, isReady: false });
    for (const [id, eviction] of this.#evictions) if (next.isMember(id)) next.#evictions.set(id, eviction);
    for (const [id, at] of this.#disconnected) if (next.isMember(id)) next.#disconnected.set(id, at);
    return next;
  }

  /** Neither leader nor peers can reach it: it is dead, and nobody has to wait for the grace to end. */
  #evictUnreachable(id: string, now: number): void {
    this.evict(id, "killed", "its connections to the leader and to others closed", now);
  }
}

function causeOf(trouble: Trouble | undefined): EpochCause | undefined {
  if (trouble === undefined) return undefined;
  return trouble.trouble === "corruption" || trouble.trouble === "transfer" ? trouble.trouble : "link";
}
