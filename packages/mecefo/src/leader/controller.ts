import type { AssignmentSettings } from "../grid/assignment.ts";
import { formatGrid, slotName, slotsOf } from "../grid/grid.ts";
import type { Job } from "../job/job.ts";
import type { RunEvent } from "../membership/run-event.ts";
import { CheckpointBook, type CommitCheckpoint } from "./checkpoint-book.ts";
import type { ClusterState, Decision, EpochCause, Member, RestorePoint } from "../membership/cluster-state.ts";
import { findCulprit } from "./culprit.ts";
import { assignmentOf } from "../membership/holdings.ts";
import type { ControlPlane, Leadership, Sender } from "../membership/membership.ts";
import { nextEpoch, placeApplicants, inSlotOrder, type EpochChange } from "./next-epoch.ts";
import { epochEvent, recoveryEvent, stepEvent } from "./compose-events.ts";
import { STEPS_AHEAD } from "../membership/steps-ahead.ts";
import { SuspicionMonitor } from "./suspicion.ts";
import { timeoutDefaults, type Timeouts } from "../job/timeouts.ts";
import { VoteBook } from "./vote-book.ts";
import type { Hello, Settled, Trouble, Vote, WorkerReport } from "../membership/worker-report.ts";

/** Options of `Controller`. */
export interface ControllerOptions {
  readonly job: Job;
  /** Of the job: workers with another are refused. */
  readonly jobHash: string;
  readonly plane: ControlPlane;
  /** Where a run that is taken up again begins, instead of at the seed's weights. */
  readonly resume?: RestorePoint | undefined;
  /** The last whole checkpoint, asked for when a stage is lost. */
  readonly restorePoint?: () => Promise<RestorePoint | undefined>;
  readonly commitCheckpoint?: CommitCheckpoint | undefined;
  readonly emit?: (event: RunEvent) => void;
  /** Called when another leads now; nothing is done after it. */
  readonly deposed?: () => void;
  /** Monotonic milliseconds. Default performance.now. */
  readonly now?: () => number;
}

/** A link's failure is answered this much later, in milliseconds: the death behind it is then known, and one epoch answers both. */
const TROUBLE_PATIENCE = 40;
/** Who asks to join waits for the end of the step in flight, but no longer than this. */
const JOIN_PATIENCE = 2000;
/** Steps whose times the deadline is taken from. */
const STEP_WINDOW = 21;
/** Before any step has been timed. */
const FIRST_STEP_LIMIT = 120_000;
/** Epochs in a row without a step after which the member that most troubles are about is evicted. */
const BARREN_EPOCHS = 6;
/** Steps in a row without a finite gradient after which training has failed. */
const SKIPS = 20;

interface Eviction {
  readonly cause: EpochCause;
  readonly reason: string;
}

/** Leads a run: takes in what workers report, and changes the state by compare-and-set. One write at a time, everything else waits for it. */
export class Controller implements Leadership {
  readonly #options: ControllerOptions;
  readonly #settings: AssignmentSettings;
  readonly #timeouts: Timeouts;
  readonly #now: () => number;
  readonly #monitor: SuspicionMonitor;
  readonly #checkpoints: CheckpointBook;
  #state: ClusterState | undefined;
  #revision = 0;
  #writing = false;
  #closed = false;
  #stopRequested = false;
  #restorePoint: RestorePoint | undefined;

  // Of the members to be.
  readonly #applicants = new Map<string, { hello: Hello; at: number }>();
  readonly #dead = new Set<string>();
  // Of the epoch.
  #evictions = new Map<string, Eviction>();
  #disconnected = new Map<string, number>();
  #troubles: { trouble: Trouble; from: string; at: number }[] = [];
  #settled = new Map<string, Settled>();
  #waitsFor = new Map<string, string>();
  #epochBegan: number;
  /** When the epoch's cause was learnt of, and that of the next one. */
  #causeAt: number;
  #nextCauseAt: number | undefined;
  #recovered = true;
  // Of the step.
  readonly #books = new Map<number, VoteBook>();
  #stepBegan: number;
  #stepTimes: number[] = [];
  // Over several epochs.
  #barren: string[][] = [];
  #skips = 0;
  #finalCheckpoint = false;

  constructor(options: ControllerOptions) {
    const { job } = options;
    this.#options = options;
    this.#settings = job;
    this.#timeouts = { ...timeoutDefaults, ...job.timeouts };
    this.#now = options.now ?? (() => performance.now());
    this.#monitor = new SuspicionMonitor(this.#timeouts);
    this.#checkpoints = new CheckpointBook(job.grid.stages);
    this.#epochBegan = this.#causeAt = this.#stepBegan = this.#now();
  }

  /** The state as last written. */
  get state(): ClusterState | undefined {
    return this.#state;
  }

  /** Reads what there is, or writes a beginning. */
  async start(): Promise<void> {
    const { plane, job } = this.#options;
    const known = await plane.read();
    if (known === undefined) {
      const state: ClusterState = {
        formatVersion: 1, job: job.name, epoch: 0, phase: "forming", step: this.#options.resume?.step ?? 0, stopAt: job.steps,
        members: [], cause: "formed", reason: "waiting for workers",
      };
      const revision = await plane.compareAndSet(state, 0);
      if (revision === undefined) return this.#depose();
      [this.#state, this.#revision] = [state, revision];
    } else {
      [this.#state, this.#revision] = [known.state, known.revision];
      for (const { id } of known.state.members) this.#monitor.heartbeat(id, this.#now());
      // Whoever led before may have waited for it already.
      this.#recovered = true;
    }
    await this.#refreshRestorePoint();
    this.#pump();
  }

  /** Ends the run with a checkpoint after the step in flight (Ctrl-C). */
  requestStop(): void {
    this.#stopRequested = true;
    this.#pump();
  }

  receive({ id }: Sender, report: WorkerReport): void {
    if (this.#closed || this.#dead.has(id)) return;
    this.heartbeat({ id });
    const state = this.#state;
    switch (report.kind) {
      case "hello":
        this.#apply(report);
        break;
      case "settled":
        if (report.epoch === state?.epoch && this.#isMember(id)) this.#settle(id, report);
        break;
      case "vote":
        if (report.epoch === state?.epoch && report.step >= state.step && this.#isMember(id)) this.#vote(id, report);
        break;
      case "trouble":
        if (report.epoch === state?.epoch && this.#isMember(id)) this.#trouble(id, report);
        break;
      case "progress":
        if (report.epoch !== state?.epoch) break;
        if (report.waitingFor === undefined) this.#waitsFor.delete(id);
        else this.#waitsFor.set(id, report.waitingFor);
        break;
      case "shard":
        void this.#shard(report);
        break;
      case "leaving":
        this.#evict(id, "left", report.reason);
        break;
    }
    this.#pump();
  }

  heartbeat({ id }: Sender): void {
    if (this.#dead.has(id)) return;
    const now = this.#now();
    this.#noticePause(now);
    this.#disconnected.delete(id);
    this.#monitor.heartbeat(id, now);
  }

  disconnected({ id }: Sender): void {
    this.#applicants.delete(id);
    if (!this.#isMember(id) || this.#disconnected.has(id)) return;
    this.#disconnected.set(id, this.#now());
    if (this.#troubles.some(({ trouble }) => trouble.peer === id)) {
      this.#evict(id, "killed", "its connections to the leader and to others closed");
      this.#pump();
    }
  }

  exited({ id }: Sender, how: string): void {
    this.#applicants.delete(id);
    // What it said last may come later than the news of its end.
    if (!this.#isMember(id)) this.#dead.add(id);
    this.#evict(id, "killed", how);
    this.#pump();
  }

  tick(): void {
    const state = this.#state;
    if (state === undefined || this.#closed) return;
    const now = this.#now();
    this.#noticePause(now);
    for (const id of this.#monitor.suspected(now)) {
      const silence = Math.round(this.#monitor.silentFor(id, now) ?? 0);
      this.#applicants.delete(id);
      this.#evict(id, "stopped", `silent for ${silence} ms`);
      this.#monitor.forget(id);
    }
    for (const [id, at] of this.#disconnected) {
      if (now - at >= this.#timeouts.reconnectGrace) this.#evict(id, "killed", "its connection closed and was not made again");
    }
    this.#replaceSilent(now);
    if (state.phase === "training") this.#checkDeadline(state, now);
    if (state.phase === "forming" && now - this.#epochBegan > this.#timeouts.forming) this.#fail("the grid did not fill up in time");
    this.#pump();
  }

  close(): void {
    this.#closed = true;
  }

  /** The leader itself was stopped: nothing that was due meanwhile counts. Before anything else that looks at the time. */
  #noticePause(now: number): void {
    const paused = this.#monitor.tick(now);
    if (paused === 0) return;
    // What began meanwhile did not wait that long: nothing may seem to begin in the future.
    this.#epochBegan = Math.min(now, this.#epochBegan + paused);
    this.#stepBegan = Math.min(now, this.#stepBegan + paused);
    for (const [id, at] of this.#disconnected) this.#disconnected.set(id, at + paused);
  }

  #isMember(id: string): boolean {
    return this.#state?.members.some((member) => member.id === id) ?? false;
  }

  #nameOf(id: string): string {
    const member = this.#state?.members.find((candidate) => candidate.id === id);
    return member ? slotName(member.slot) : id;
  }

  #emit(event: RunEvent): void {
    this.#options.emit?.(event);
  }

  #note(text: string): void {
    this.#emit({ kind: "note", at: Date.now(), text });
  }

  #apply(hello: Hello): void {
    const { id, jobHash, wanted } = hello;
    if (this.#isMember(id) || this.#applicants.has(id)) return;
    const { grid } = this.#options.job;
    const exists = wanted === undefined || slotsOf(grid).some((slot) => slotName(slot) === wanted);
    if (jobHash !== this.#options.jobHash || !exists) {
      const reason = exists ? `it was started with another job (${jobHash.slice(0, 12)})` : `there is no slot ${wanted} in ${formatGrid(grid)}`;
      this.#options.plane.command(id, { kind: "refused", reason });
      return;
    }
    this.#applicants.set(id, { hello, at: this.#now() });
  }

  #evict(id: string, cause: EpochCause, reason: string): void {
    if (!this.#isMember(id) || this.#evictions.has(id)) return;
    this.#nextCauseAt ??= this.#now();
    this.#evictions.set(id, { cause, reason: `${this.#nameOf(id)}: ${reason}` });
  }

  /** Somebody asks for the slot of a member that has missed several heartbeats: that is its successor. */
  #replaceSilent(now: number): void {
    for (const { hello: { wanted } } of this.#applicants.values()) {
      const occupant = this.#state!.members.find(({ slot }) => slotName(slot) === wanted);
      const silence = occupant && this.#monitor.silentFor(occupant.id, now);
      if (silence !== undefined && silence > 5 * this.#timeouts.heartbeatInterval) {
        this.#evict(occupant!.id, "killed", `silent for ${Math.round(silence)} ms, and its successor is here`);
      }
    }
  }

  #settle(id: string, report: Settled): void {
    this.#settled.set(id, report);
    this.#checkRecovered();
  }

  #checkRecovered(): void {
    const state = this.#state!;
    if (this.#recovered || !state.members.every((member) => this.#settled.has(member.id))) return;
    this.#recovered = true;
    this.#stepBegan = this.#now();
    if (assignmentOf(this.#settings, state).trainable) {
      this.#emit(recoveryEvent(state, this.#settled, { at: Date.now(), milliseconds: this.#now() - this.#causeAt }));
    }
  }

  #vote(id: string, vote: Vote): void {
    if (!this.#settled.has(id)) this.#settle(id, { kind: "settled", epoch: vote.epoch, transfers: [], milliseconds: 0 });
    // Without fault tolerance workers do not wait for decisions: their votes only tell how far they are.
    if (vote.step > this.#state!.step && this.#options.job.strategy !== "none") return;
    this.#bookOf(vote.step).votes.set(id, vote);
  }

  #bookOf(step: number): VoteBook {
    const book = this.#books.get(step) ?? new VoteBook();
    this.#books.set(step, book);
    return book;
  }

  #trouble(id: string, trouble: Trouble): void {
    if (trouble.trouble === "failure") return this.#evict(id, "left", trouble.detail);
    if (trouble.trouble === "checkpoint") {
      const what = `${this.#nameOf(id)} could not write its part of a checkpoint: ${trouble.detail}`;
      return this.#state!.step >= this.#state!.stopAt ? this.#fail(what) : this.#note(what);
    }
    if (trouble.trouble === "load") return this.#fail(`${this.#nameOf(id)} cannot load what the run begins with: ${trouble.detail}`);
    const { peer } = trouble;
    // Neither leader nor peer can reach it: it is dead, and nobody has to wait for the grace to end.
    if (peer !== undefined && this.#disconnected.has(peer)) return this.#evict(peer, "killed", "its connections to the leader and to others closed");
    this.#nextCauseAt ??= this.#now();
    this.#troubles.push({ trouble, from: id, at: this.#now() });
  }

  /** A step that takes far too long has a culprit. */
  #checkDeadline(state: ClusterState, now: number): void {
    const { settling, stepFactor, stepFloor, stepCeiling } = this.#timeouts;
    const unsettled = state.members.filter(({ id }) => !this.#settled.has(id)).map(({ id }) => id);
    if (unsettled.length > 0 && now - this.#epochBegan > settling) {
      for (const id of unsettled) this.#evict(id, "straggler", `has not got ready within ${settling} ms`);
      return;
    }
    if (unsettled.length > 0 || !assignmentOf(this.#settings, state).trainable || state.step >= state.stopAt) return;
    const sorted = this.#stepTimes.toSorted((a, b) => a - b);
    const median = sorted[sorted.length >> 1];
    const limit = median === undefined ? FIRST_STEP_LIMIT : Math.min(stepCeiling, Math.max(stepFloor, stepFactor * median));
    if (now - this.#stepBegan <= limit) return;
    const missing = this.#bookOf(state.step).missing(state.members.map(({ id }) => id));
    const culprit = findCulprit(missing, this.#waitsFor);
    this.#stepBegan = now;
    if (culprit !== undefined && this.#isMember(culprit)) {
      this.#evict(culprit, "straggler", `step ${state.step} is not done after ${Math.round(limit)} ms, and everybody waits for it`);
    }
  }

  #fail(reason: string): void {
    if (this.#state!.phase === "failed") return;
    this.#failure = reason;
  }
  #failure: string | undefined;

  async #shard(shard: Extract<WorkerReport, { kind: "shard" }>): Promise<void> {
    const { commitCheckpoint } = this.#options;
    // Without fault tolerance workers may be ahead; else it was written before training went back.
    if (shard.step > this.#state!.step && this.#options.job.strategy !== "none") return;
    const shards = this.#checkpoints.add(shard);
    if (shards === undefined || commitCheckpoint === undefined) return;
    const degraded = shards.some((part) => part.degraded);
    try {
      const folder = await commitCheckpoint(shard.step, shards, degraded);
      this.#restorePoint = { load: { from: "checkpoint", folder }, step: shard.step };
      this.#emit({ kind: "checkpoint", at: Date.now(), step: shard.step, folder, degraded });
      if (shard.step === this.#state!.stopAt) this.#finalCheckpoint = true;
    } catch (error) {
      this.#checkpoints.forget(shard.step);
      const detail = error instanceof Error ? error.message : String(error);
      if (shard.step === this.#state!.stopAt) this.#fail(`the last checkpoint could not be written: ${detail}`);
      else this.#note(`the checkpoint of step ${shard.step} could not be written: ${detail}`);
    }
    this.#pump();
  }

  async #refreshRestorePoint(): Promise<void> {
    // Where no checkpoints are written, training that is lost is not begun again without asking.
    const beginning = this.#options.job.checkpoint && { load: { from: "seed" as const }, step: 0 };
    this.#restorePoint = (await this.#options.restorePoint?.()) ?? this.#options.resume ?? beginning;
  }

  #depose(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.deposed?.();
  }

  /** Writes states as long as there is something to write. */
  #pump(): void {
    if (this.#writing || this.#closed || this.#state === undefined) return;
    this.#writing = true;
    void (async () => {
      try {
        for (let next = this.#next(); next !== undefined && !this.#closed; next = this.#next()) {
          const revision = await this.#write(next);
          if (revision === undefined) return this.#depose();
          this.#revision = revision;
          this.#moveTo(next);
        }
      } finally {
        this.#writing = false;
      }
    })();
  }

  /** The new revision; undefined when another leads now, or nobody knows whether the state was written. */
  async #write(next: ClusterState): Promise<number | undefined> {
    try {
      return await this.#options.plane.compareAndSet(next, this.#revision);
    } catch (error) {
      this.#note(`the state could not be written: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  /** The state that follows from what is known, if any does. */
  #next(): ClusterState | undefined {
    const state = this.#state!;
    if (state.phase === "finished" || state.phase === "failed") return undefined;
    if (this.#failure !== undefined) return { ...state, phase: "failed", reason: this.#failure.slice(0, 2000) };
    if (state.phase === "forming") {
      return this.#stopRequested ? { ...state, phase: "finished", reason: "asked to stop before all workers were there" } : this.#formed(state);
    }
    const { checkpoint } = this.#options.job;
    if (state.step >= state.stopAt && (this.#finalCheckpoint || checkpoint === undefined)) {
      return { ...state, phase: "finished", reason: "all steps are taken" };
    }
    const { lostStages } = assignmentOf(this.#settings, state);
    if (state.step >= state.stopAt && lostStages.length > 0) {
      const reason = `asked to stop while nobody has stage ${lostStages.join(", ")}: the last checkpoint stands as it is`;
      return { ...state, phase: "finished", reason };
    }
    const now = this.#now();
    const decision = this.#decision(state);
    const change = this.#change(state, decision, now);
    // The step in flight is still taken; where none is, training ends where it stands.
    const ahead = this.#options.job.strategy === "none" ? STEPS_AHEAD : 0;
    const last = state.step + (assignmentOf(this.#settings, state).trainable ? 1 + ahead : 0);
    const stopAt = this.#stopRequested ? Math.min(state.stopAt, last) : state.stopAt;
    if (change !== undefined) return nextEpoch(this.#settings, { ...state, stopAt }, change);
    if (decision !== undefined) return { ...state, stopAt, step: state.step + 1, decision, load: undefined };
    return undefined;
  }

  #formed(state: ClusterState): ClusterState | undefined {
    const { grid } = this.#options.job;
    const members = placeApplicants(grid, [], [...this.#applicants.values()].map(({ hello }) => hello));
    if (members.length < grid.pipelines * grid.stages) return undefined;
    const { load, step } = this.#restorePoint ?? { load: { from: "seed" as const }, step: 0 };
    return { ...state, epoch: state.epoch + 1, phase: "training", step, load, members: inSlotOrder(members), reason: "all workers are there" };
  }

  /** The step in flight, once all have voted alike. */
  #decision(state: ClusterState): Decision | undefined {
    if (state.step >= state.stopAt) return undefined;
    const verdict = this.#bookOf(state.step).verdict(state.members.map(({ id }) => id), this.#options.job.grid.stages);
    switch (verdict.kind) {
      case "open":
        return undefined;
      case "agreed":
        return { epoch: state.epoch, step: state.step, squaredNorm: verdict.squaredNorm };
      case "corrupted":
        if (this.#troubles.length > 0) return undefined;
        this.#trouble("", { kind: "trouble", epoch: state.epoch, trouble: "corruption", detail: `stage ${verdict.stage}: ${verdict.detail}` });
        return undefined;
      case "diverged":
        for (const id of verdict.wrong ?? []) this.#evict(id, "divergence", `its stage ${verdict.stage} differs: ${verdict.detail}`);
        this.#discard = verdict.wrong === undefined ? `stage ${verdict.stage}: ${verdict.detail}, and no majority` : undefined;
        return undefined;
    }
  }
  #discard: string | undefined;

  /** Why another epoch has to begin, and how it differs. */
  #change(state: ClusterState, decision: Decision | undefined, now: number): EpochChange | undefined {
    this.#suspectBarren();
    const gone = new Map([...this.#evictions].filter(([id]) => this.#isMember(id)));
    const troubles = this.#troubles.filter(({ at }) => now - at >= TROUBLE_PATIENCE);
    const taken = state.members.filter(({ id }) => !gone.has(id)).map(({ slot }) => slot);
    const waiting = [...this.#applicants.values()];
    const joining = placeApplicants(this.#options.job.grid, taken, waiting.map(({ hello }) => hello));
    const isIdle = !assignmentOf(this.#settings, state).trainable || state.step >= state.stopAt;
    const isPatient = waiting.every(({ at }) => now - at < JOIN_PATIENCE) && !isIdle;
    const joins = joining.length > 0 && (decision !== undefined || gone.size > 0 || troubles.length > 0 || !isPatient);
    const isStopped = this.#stopRequested && isIdle && state.stopAt > state.step;
    if (gone.size === 0 && troubles.length === 0 && !joins && this.#discard === undefined && !isStopped) return undefined;
    const reasons = [
      ...[...gone.values()].map(({ reason }) => reason),
      ...(gone.size === 0 ? troubles.slice(0, 4).map(({ trouble: { detail }, from }) => (from === "" ? detail : `${this.#nameOf(from)}: ${detail}`)) : []),
      ...(this.#discard === undefined ? [] : [this.#discard]),
      ...joining.map((member: Member) => `${slotName(member.slot)} is back`),
      ...(isStopped ? ["asked to stop"] : []),
    ];
    const kinds: readonly (EpochCause | undefined)[] = [
      this.#discard === undefined ? undefined : "divergence", [...gone.values()][0]?.cause, causeOf(troubles[0]?.trouble),
      joining.length > 0 ? "joined" : "requested",
    ];
    return {
      gone: new Set(gone.keys()), joining, decision, settled: new Set(this.#settled.keys()), discard: this.#discard !== undefined,
      restorePoint: this.#restorePoint, cause: kinds.find((kind) => kind !== undefined)!, reason: reasons.join("; "),
    };
  }

  /** Links that fail again and again have an end that is to blame. */
  #suspectBarren(): void {
    if (this.#barren.length < BARREN_EPOCHS || this.#troubles.length === 0) return;
    const blamed = new Map<string, number>();
    for (const peer of this.#barren.flat()) blamed.set(peer, (blamed.get(peer) ?? 0) + 1);
    const [worst] = [...blamed].toSorted(([, a], [, b]) => b - a)[0] ?? [];
    this.#barren = [];
    if (worst !== undefined) this.#evict(worst, "link", `its links failed in ${BARREN_EPOCHS} epochs in a row`);
    else {
      const { detail } = this.#troubles[0]!.trouble;
      this.#fail(`${BARREN_EPOCHS} epochs in a row ended without a step, and nobody is to blame; the last: ${detail}`);
    }
  }

  /** Takes over what has been written. */
  #moveTo(next: ClusterState): void {
    const before = this.#state!;
    const now = this.#now();
    this.#state = next;
    const { decision } = next;
    if (decision && (decision.epoch !== before.decision?.epoch || decision.step !== before.decision.step)) this.#stepped(before, decision, now);
    if (next.epoch !== before.epoch) this.#begunEpoch(before, next, now);
    if (next.phase === "finished") this.#emit({ kind: "finished", at: Date.now(), step: next.step });
    if (next.phase === "failed") this.#emit({ kind: "failed", at: Date.now(), step: next.step, reason: next.reason });
  }

  #stepped(before: ClusterState, decision: Decision, now: number): void {
    const milliseconds = now - this.#stepBegan;
    this.#emit(stepEvent(this.#options.job, before.members, this.#bookOf(decision.step).votes, decision, { at: Date.now(), milliseconds }));
    this.#stepTimes = [...this.#stepTimes.slice(1 - STEP_WINDOW), milliseconds];
    this.#stepBegan = now;
    this.#books.delete(decision.step);
    this.#waitsFor.clear();
    this.#barren = [];
    this.#skips = decision.squaredNorm === null ? this.#skips + 1 : 0;
    if (this.#skips >= SKIPS) this.#fail(`${SKIPS} steps in a row had no finite gradient; lower the learning rate`);
  }

  #begunEpoch(before: ClusterState, next: ClusterState, now: number): void {
    const ids = new Set(next.members.map(({ id }) => id));
    for (const { id } of before.members) {
      if (ids.has(id)) continue;
      this.#dead.add(id);
      this.#monitor.forget(id);
    }
    if (next.step < before.step) this.#checkpoints.goBack();
    if (this.#troubles.length > 0) this.#barren.push(this.#troubles.flatMap(({ trouble }) => trouble.peer ?? []));
    const joinedAt = [...ids].flatMap((id) => this.#applicants.get(id)?.at ?? []);
    // Whoever joined waited for a step's end by choice: the recovery begins with the epoch then.
    this.#causeAt = this.#nextCauseAt ?? (before.epoch === 0 && joinedAt.length > 0 ? Math.max(...joinedAt) : now);
    this.#nextCauseAt = undefined;
    for (const id of ids) this.#applicants.delete(id);
    this.#evictions = new Map([...this.#evictions].filter(([id]) => ids.has(id)));
    this.#disconnected = new Map([...this.#disconnected].filter(([id]) => ids.has(id)));
    this.#troubles = [];
    this.#discard = undefined;
    this.#settled = new Map();
    this.#waitsFor = new Map();
    this.#books.clear();
    this.#epochBegan = this.#stepBegan = now;
    this.#recovered = false;
    this.#emit(epochEvent(this.#settings, next, Date.now()));
  }
}

function causeOf(trouble: Trouble | undefined): EpochCause | undefined {
  if (trouble === undefined) return undefined;
  return trouble.trouble === "corruption" ? "corruption" : trouble.trouble === "transfer" ? "transfer" : "link";
}
