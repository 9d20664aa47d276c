import type { AssignmentSettings } from "../grid/assignment.ts";
import type { Job } from "../job/job.ts";
import { timeoutDefaults, type Timeouts } from "../job/timeouts.ts";
import type { ClusterState, Decision, EpochCause, RestorePoint } from "../membership/cluster-state.ts";
import { assignmentOf } from "../membership/holdings.ts";
import type { ControlPlane, Leadership, Sender } from "../membership/membership.ts";
import type { RunEvent } from "../membership/run-event.ts";
import { STEPS_AHEAD } from "../membership/steps-ahead.ts";
import type { Hello, ProgressReport, Settled, Shard, Trouble, Vote, WorkerReport } from "../membership/worker-report.ts";
import { Applicants } from "./applicants.ts";
import { BARREN_EPOCHS, BarrenEpochs } from "./barren-epochs.ts";
import { CheckpointBook, type CommitCheckpoint } from "./checkpoint-book.ts";
import { epochEvent, recoveryEvent, stepEvent } from "./compose-events.ts";
import { EpochBook } from "./epoch-book.ts";
import { inSlotOrder, nextEpoch, type EpochChange } from "./next-epoch.ts";
import { RecordWriter } from "./record-writer.ts";
import { Rollbacks } from "./rollbacks.ts";
import { StepDeadline } from "./step-deadline.ts";
import { SuspicionMonitor } from "./suspicion.ts";

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

/** Steps in a row without a finite gradient after which training has failed. */
const SKIPS = 20;

/** Leads a run: takes in what workers report, finds out what is wrong, and has the state written that follows. */
export class Controller implements Leadership {
  readonly #options: ControllerOptions;
  readonly #settings: AssignmentSettings;
  readonly #timeouts: Timeouts;
  readonly #now: () => number;
  readonly #monitor: SuspicionMonitor;
  readonly #writer: RecordWriter;
  readonly #checkpoints: CheckpointBook;
  readonly #deadline: StepDeadline;
  readonly #barren: BarrenEpochs = new BarrenEpochs();
  readonly #rollbacks: Rollbacks = new Rollbacks();
  readonly #applicants: Applicants;
  readonly #dead = new Set<string>();
  #state: ClusterState | undefined;
  #book: EpochBook;
  #stopRequested = false;
  /** Why the run has failed. */
  #failure: string | undefined;
  #finalCheckpoint = false;
  /** Steps in a row without a finite gradient. */
  #skips = 0;

  constructor(options: ControllerOptions) {
    const { job } = options;
    this.#options = options;
    this.#settings = job;
    this.#timeouts = { ...timeoutDefaults, ...job.timeouts };
    this.#now = options.now ?? (() => performance.now());
    this.#monitor = new SuspicionMonitor(this.#timeouts);
    this.#writer = new RecordWriter({
      plane: options.plane,
      next: () => this.#next(),
      written: (state) => this.#moveTo(state),
      failed: (detail) => this.#remark(`the state could not be written: ${detail}`),
      deposed: () => options.deposed?.(),
    });
    this.#checkpoints = new CheckpointBook(options);
    this.#applicants = new Applicants(job.grid, options.jobHash);
    this.#deadline = new StepDeadline(this.#timeouts, this.#now());
    this.#book = new EpochBook([], { began: this.#now(), isReady: true });
  }

  /** The state as last written. */
  get state(): ClusterState | undefined {
    return this.#state;
  }

  /** Reads what there is, or writes a beginning. */
  async start(): Promise<void> {
    const { job, resume } = this.#options;
    const first: ClusterState = {
      formatVersion: 1, job: job.name, epoch: 0, phase: "forming", step: resume?.step ?? 0, stopAt: job.steps,
      members: [], cause: "formed", reason: "waiting for workers",
    };
    const state = await this.#writer.begin(first);
    if (state === undefined) return;
    this.#state = state;
    // Whoever led before may have waited until all were ready.
    this.#book = new EpochBook(state.members, { began: this.#now(), isReady: true });
    for (const { id } of state.members) this.#monitor.heartbeat(id, this.#now());
    await this.#checkpoints.start();
    this.#writer.pump();
  }

  /** Ends the run with a checkpoint after the step in flight (Ctrl-C). */
  requestStop(): void {
    this.#stopRequested = true;
    this.#writer.pump();
  }

  receive({ id }: Sender, report: WorkerReport): void {
    if (this.#writer.isClosed || this.#dead.has(id)) return;
    this.heartbeat({ id });
    if (report.kind === "hello") this.#apply(report);
    else if (report.kind === "leaving") this.#evict(id, "left", report.reason);
    else if (report.kind === "shard") void this.#shard(report);
    else if (report.epoch === this.#state?.epoch && this.#book.isMember(id)) this.#note(id, report);
    this.#writer.pump();
  }

  /** What a member says about the present epoch. */
  #note(id: string, report: Settled | Vote | Trouble | ProgressReport): void {
    switch (report.kind) {
      case "settled":
        this.#settle(id, report);
        break;
      case "vote":
        if (report.step >= this.#state!.step) this.#vote(id, report);
        break;
      case "trouble":
        this.#trouble(id, report);
        break;
      case "progress":
        this.#book.waits(id, report.waitingFor);
        break;
    }
  }

  heartbeat({ id }: Sender): void {
    if (this.#dead.has(id)) return;
    const now = this.#now();
    this.#noticePause(now);
    this.#book.reconnect(id);
    this.#monitor.heartbeat(id, now);
  }

  disconnected({ id }: Sender): void {
    this.#applicants.delete(id);
    this.#book.disconnect(id, this.#now());
    this.#writer.pump();
  }

  exited({ id }: Sender, how: string): void {
    this.#applicants.delete(id);
    // What it said last may come later than the news of its end.
    if (!this.#book.isMember(id)) this.#dead.add(id);
    this.#evict(id, "killed", how);
    this.#writer.pump();
  }

  tick(): void {
    const state = this.#state;
    if (state === undefined || this.#writer.isClosed) return;
    const now = this.#now();
    this.#noticePause(now);
    for (const id of this.#monitor.suspected(now)) {
      const silence = Math.round(this.#monitor.silentFor(id, now) ?? 0);
      this.#applicants.delete(id);
      this.#evict(id, "stopped", `silent for ${silence} ms`);
      this.#monitor.forget(id);
    }
    this.#book.evictDisconnected(this.#timeouts.reconnectGrace, now);
    this.#replaceSilent(now);
    if (state.phase === "training") this.#checkDeadline(state, now);
    if (state.phase === "forming" && now - this.#book.began > this.#timeouts.forming) this.#fail("the grid did not fill up in time");
    this.#writer.pump();
  }

  close(): void {
    this.#writer.close();
  }

  /** The leader itself was stopped: nothing that was due meanwhile counts. Before anything else that looks at the time. */
  #noticePause(now: number): void {
    const paused = this.#monitor.tick(now);
    if (paused === 0) return;
    this.#book.shift(paused, now);
    this.#deadline.shift(paused, now);
  }

  #emit(event: RunEvent): void {
    this.#options.emit?.(event);
  }

  #remark(text: string): void {
    this.#emit({ kind: "note", at: Date.now(), text });
  }

  #apply(hello: Hello): void {
    if (this.#book.isMember(hello.id)) return;
    const reason = this.#applicants.add(hello, this.#now());
    if (reason !== undefined) this.#options.plane.command(hello.id, { kind: "refused", reason });
  }

  #evict(id: string, cause: EpochCause, reason: string): void {
    this.#book.evict(id, cause, reason, this.#now());
  }

  /** Somebody asks for the slot of a member that has missed several heartbeats: that is its successor. */
  #replaceSilent(now: number): void {
    for (const wanted of this.#applicants.wanted) {
      const occupant = this.#book.occupantOf(wanted);
      const silence = occupant === undefined ? undefined : this.#monitor.silentFor(occupant, now);
      if (silence === undefined || silence <= 5 * this.#timeouts.heartbeatInterval) continue;
      this.#evict(occupant!, "killed", `silent for ${Math.round(silence)} ms, and its successor is here`);
    }
  }

  #settle(id: string, report: Settled): void {
    if (!this.#book.settle(id, report)) return;
    const now = this.#now();
    this.#deadline.begin(now);
    const state = this.#state!;
    if (!assignmentOf(this.#settings, state).trainable) return;
    this.#emit(recoveryEvent(state, this.#book.settled, { at: Date.now(), milliseconds: now - this.#book.causeAt }));
  }

  #vote(id: string, vote: Vote): void {
    if (!this.#book.settled.has(id)) this.#settle(id, { kind: "settled", epoch: vote.epoch, transfers: [], milliseconds: 0 });
    // Without fault tolerance workers do not wait for decisions: their votes only tell how far they are.
    if (vote.step > this.#state!.step && this.#options.job.strategy !== "none") return;
    this.#book.vote(id, vote);
  }

  #trouble(id: string, trouble: Trouble): void {
    const name = this.#book.nameOf(id);
    if (trouble.trouble === "failure") return this.#evict(id, "left", trouble.detail);
    if (trouble.trouble === "load") return this.#fail(`${name} cannot load what the run begins with: ${trouble.detail}`);
    if (trouble.trouble === "checkpoint") {
      const what = `${name} could not write its part of a checkpoint: ${trouble.detail}`;
      return this.#state!.step >= this.#state!.stopAt ? this.#fail(what) : this.#remark(what);
    }
    this.#book.addTrouble(trouble, id, this.#now());
  }

  /** A step that takes far too long has a culprit. */
  #checkDeadline(state: ClusterState, now: number): void {
    const { settling } = this.#timeouts;
    const { unsettled } = this.#book;
    if (unsettled.length > 0) {
      if (now - this.#book.began <= settling) return;
      for (const id of unsettled) this.#evict(id, "straggler", `has not got ready within ${settling} ms`);
      return;
    }
    const isUnderWay = assignmentOf(this.#settings, state).trainable && state.step < state.stopAt;
    if (!isUnderWay || !this.#deadline.isOver(now)) return;
    const limit = Math.round(this.#deadline.limit);
    this.#deadline.begin(now);
    const culprit = this.#book.culpritOf(state.step);
    const reason = `step ${state.step} is not done after ${limit} ms, and everybody waits for it`;
    if (culprit !== undefined) this.#evict(culprit, "straggler", reason);
  }

  #fail(reason: string): void {
    if (this.#state!.phase !== "failed") this.#failure = reason;
  }

  async #shard(shard: Shard): Promise<void> {
    // Without fault tolerance workers may be ahead; else it was written before training went back.
    if (shard.step > this.#state!.step && this.#options.job.strategy !== "none") return;
    const outcome = await this.#checkpoints.add(shard);
    if (outcome === undefined) return;
    const isLast = outcome.step === this.#state!.stopAt;
    if (!("failure" in outcome)) {
      this.#emit({ kind: "checkpoint", at: Date.now(), ...outcome });
      this.#finalCheckpoint ||= isLast;
    } else if (isLast) this.#fail(`the last checkpoint could not be written: ${outcome.failure}`);
    else this.#remark(`the checkpoint of step ${outcome.step} could not be written: ${outcome.failure}`);
    this.#writer.pump();
  }

  /** The state that follows from what is known, if any does. */
  #next(): ClusterState | undefined {
    const state = this.#state;
    if (state === undefined || state.phase === "finished" || state.phase === "failed") return undefined;
    if (this.#failure !== undefined) return { ...state, phase: "failed", reason: this.#failure.slice(0, 2000) };
    if (state.phase === "forming") {
      if (!this.#stopRequested) return this.#formed(state);
      return { ...state, phase: "finished", reason: "asked to stop before all workers were there" };
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
    const decision = this.#decision(state);
    const change = this.#change(state, decision);
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
    const members = inSlotOrder(this.#applicants.placed([]));
    if (members.length < grid.pipelines * grid.stages) return undefined;
    const { load, step } = this.#checkpoints.restorePoint ?? { load: { from: "seed" as const }, step: 0 };
    return { ...state, epoch: state.epoch + 1, phase: "training", step, load, members, reason: "all workers are there" };
  }

  /** The step in flight, once all have voted alike. */
  #decision(state: ClusterState): Decision | undefined {
    if (state.step >= state.stopAt) return undefined;
    const { epoch, step, members } = state;
    const verdict = this.#book.votesOf(step).verdict(members.map(({ id }) => id), this.#options.job.grid.stages);
    if (verdict.kind === "open") return undefined;
    if (verdict.kind === "agreed") return { epoch, step, squaredNorm: verdict.squaredNorm };
    const about = `stage ${verdict.stage}`;
    if (verdict.kind === "corrupted") {
      const trouble: Trouble = { kind: "trouble", epoch, trouble: "corruption", detail: `${about}: ${verdict.detail}` };
      if (this.#book.troubles.length === 0) this.#book.addTrouble(trouble, undefined, this.#now());
      return undefined;
    }
    for (const id of verdict.wrong ?? []) this.#evict(id, "divergence", `its ${about} differs: ${verdict.detail}`);
    this.#book.discard(verdict.wrong === undefined ? `${about}: ${verdict.detail}, and no majority` : undefined);
    return undefined;
  }

  /** Why another epoch has to begin, and how it differs. */
  #change(state: ClusterState, decision: Decision | undefined): EpochChange | undefined {
    this.#suspectBarren();
    const now = this.#now();
    const isIdle = !assignmentOf(this.#settings, state).trainable || state.step >= state.stopAt;
    return this.#book.change({
      now, decision,
      joining: this.#applicants.placed(this.#book.staying.map(({ slot }) => slot)),
      joinsNow: isIdle || this.#applicants.isImpatient(now),
      isStopped: this.#stopRequested && isIdle && state.stopAt > state.step,
      restorePoint: this.#checkpoints.restorePoint,
    });
  }

  #suspectBarren(): void {
    const { troubles } = this.#book;
    if (!this.#barren.tooMany || troubles.length === 0) return;
    const { worst } = this.#barren;
    this.#barren.clear();
    if (worst !== undefined) this.#evict(worst, "link", `its links failed in ${BARREN_EPOCHS} epochs in a row`);
    else this.#fail(`${BARREN_EPOCHS} epochs in a row ended without a step, and nobody is to blame; the last: ${troubles[0]!.detail}`);
  }

  /** Takes over what has been written. */
  #moveTo(next: ClusterState): void {
    const before = this.#state!;
    const now = this.#now();
    this.#state = next;
    if (this.#rollbacks.isStuck(before.step, next.step)) this.#fail("training goes back again and again, and never gets any further");
    const { decision } = next;
    const isNew = decision?.epoch !== before.decision?.epoch || decision?.step !== before.decision?.step;
    if (decision && isNew) this.#stepped(before, decision, now);
    if (next.epoch !== before.epoch) this.#begunEpoch(before, next, now);
    if (next.phase === "finished") this.#emit({ kind: "finished", at: Date.now(), step: next.step });
    if (next.phase === "failed") this.#emit({ kind: "failed", at: Date.now(), step: next.step, reason: next.reason });
  }

  #stepped(before: ClusterState, decision: Decision, now: number): void {
    const { votes } = this.#book.votesOf(decision.step);
    const milliseconds = this.#deadline.taken(now);
    this.#emit(stepEvent(this.#options.job, before.members, votes, decision, { at: Date.now(), milliseconds }));
    this.#book.forgetStep(decision.step);
    this.#barren.clear();
    this.#skips = decision.squaredNorm === null ? this.#skips + 1 : 0;
    if (this.#skips >= SKIPS) this.#fail(`${SKIPS} steps in a row had no finite gradient; lower the learning rate`);
  }

  #begunEpoch(before: ClusterState, next: ClusterState, now: number): void {
    const joinedAt = next.members.flatMap(({ id }) => this.#applicants.askedAt(id) ?? []);
    this.#barren.add(this.#book.troubles);
    this.#book = this.#book.next(next, { now, joinedAt });
    for (const { id } of next.members) this.#applicants.delete(id);
    for (const { id } of before.members) {
      if (this.#book.isMember(id)) continue;
      this.#dead.add(id);
      this.#monitor.forget(id);
    }
    if (next.step < before.step) this.#checkpoints.goBack();
    this.#deadline.begin(now);
    this.#emit(epochEvent(this.#settings, next, Date.now()));
  }
}
