import type { StagedModel } from "@frugal/language-model";
import type { Tensor } from "@frugal/tensor-core";
import { setImmediate as turn } from "node:timers/promises";
import type { ErrorCode } from "../wire/control-messages.ts";
import { controlFrame } from "../wire/control-messages.ts";
import { FRAME_FLAGS, FRAME_HEADER_BYTES, type Frame } from "../wire/frame.ts";
import type { ServerMetrics } from "./metrics.ts";
import { MOST_BOUNDARIES, prefixKeyAfter, type PrefixStore } from "./prefix-store.ts";
import { errorText, Refusal } from "./refusal.ts";
import type { SessionRegistry } from "./session-registry.ts";
import type { Session, WaitingActivation } from "./session.ts";
import { runStep, type StepMember } from "./step.ts";

/** What a scheduler works with. */
export interface SchedulerOptions {
  readonly model: StagedModel;
  readonly registry: SessionRegistry;
  readonly prefixes: PrefixStore;
  readonly metrics: ServerMetrics;
  readonly exact: boolean;
  readonly tokensPerStep: number;
  readonly tokensPerFrame: number;
  /** Told of errors that are the server's own. */
  readonly onFailure: (session: Session, error: unknown) => void;
}

/**
 * Continuous batching: takes what waits of all sessions, one frame each, and computes it in one step; whoever arrives meanwhile is in the
 * next. Decode steps go before prompts, but nobody is passed over twice.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  /** Sessions with a waiting frame and none in a step, in order of arrival; true for those that a step has passed over. */
  readonly #ready = new Map<Session, boolean>();
  #wake: (() => void) | undefined;
  #isStopped = false;
  readonly #running: Promise<void>;
  #steps = 0;
  #tokens = 0;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  get steps(): number {
    return this.#steps;
  }

  get tokens(): number {
    return this.#tokens;
  }

  /** A frame follows those that wait in its session. */
  enqueue(session: Session, activation: WaitingActivation): void {
    session.waiting.push(activation);
    if (session.computing === undefined && !this.#ready.has(session)) this.#ready.set(session, false);
    this.#wake?.();
  }

  /** Ends after the step that is being computed. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wake?.();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      // Frames that have already arrived are to be in this step, and results on their way before it.
      await turn();
      const batch = this.#isStopped ? [] : this.#take();
      if (batch.length > 0) {
        await this.#step(batch);
        continue;
      }
      if (this.#isStopped) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  /** The sessions of the next step. */
  #take(): Session[] {
    const passed: Session[] = [];
    const decodes: Session[] = [];
    const prompts: Session[] = [];
    for (const [session, wasPassedOver] of this.#ready) {
      const next = session.waiting[0];
      // What waited was dropped: the session has ended, or gone to another connection.
      if (next === undefined) this.#ready.delete(session);
      else (wasPassedOver ? passed : next.frame.tokens === 1 ? decodes : prompts).push(session);
    }
    const batch: Session[] = [];
    let tokens = 0;
    for (const session of [...passed, ...decodes, ...prompts]) {
      const more = session.waiting[0]!.frame.tokens;
      if (batch.length > 0 && tokens + more > this.#options.tokensPerStep) {
        this.#ready.set(session, true);
        continue;
      }
      batch.push(session);
      tokens += more;
      this.#ready.delete(session);
    }
    return batch;
  }

  async #step(batch: readonly Session[]): Promise<void> {
    const { model, metrics, exact, registry } = this.#options;
    const began = performance.now();
    const { promise, resolve } = Promise.withResolvers<void>();
    for (const session of batch) session.computing = promise;
    const members: StepMember[] = [];
    let tokens = 0;
    try {
      for (const session of batch) {
        const activation = session.waiting[0];
        if (activation === undefined) continue;
        metrics.waitSeconds.observe((began - activation.arrived) / 1000);
        const hidden = await this.#prepare(session, activation);
        if (hidden === undefined) continue;
        members.push({ session, activation, hidden });
        tokens += activation.frame.tokens;
      }
      if (members.length > 0) {
        this.#steps++;
        metrics.steps.inc();
      }
      await runStep(model, members, exact, {
        computed: (member, result) => this.#apply(member, result),
        failed: ({ session, activation }, error) => this.#refuse(session, activation, error),
        retried: () => metrics.retriedSteps.inc(),
      });
    } catch (error) {
      // Nothing above throws by design; a frame that was left would come back for ever.
      for (const session of batch) if (session.waiting[0] !== undefined) this.#refuse(session, session.waiting[0], error);
    } finally {
      for (const session of batch) {
        session.computing = undefined;
        session.lastUse = performance.now();
        if (session.isClosed) registry.free(session);
        else {
          registry.recount(session);
          if (session.waiting.length > 0) this.#ready.set(session, false);
        }
      }
      resolve();
    }
    if (members.length === 0) return;
    metrics.stepSeconds.observe((performance.now() - began) / 1000);
    metrics.stepSessions.observe(members.length);
    metrics.stepTokens.observe(tokens);
  }

  /** The decoded activation, and a session that is ready to take it; undefined when it was refused. */
  async #prepare(session: Session, activation: WaitingActivation): Promise<Tensor | undefined> {
    const { frame } = activation;
    const { memory } = session.settings;
    let hidden: Tensor | undefined;
    try {
      const end = frame.position + frame.tokens;
      if (frame.position > session.cache.length) {
        throw new Refusal("out-of-order", `position ${frame.position} leaves a gap after the ${session.cache.length} tokens held`);
      }
      if (end > session.cache.capacity) {
        throw new Refusal("context-length", `${end} tokens exceed the session's ${session.cache.capacity}`);
      }
      hidden = await this.#decode(session, frame);
      if (session.isClosed) throw new Refusal("unknown-session", "the session ended meanwhile");
      this.#options.registry.reserve(session, memory.bytesAfter(session.cache, end) + this.resultBytes(session, frame));
      // From here on the activation replaces what came after its position, whether or not it can be computed.
      session.truncate(frame.position);
      return hidden;
    } catch (error) {
      hidden?.dispose();
      this.#refuse(session, activation, error);
      return undefined;
    }
  }

  /** Payload of the result that a frame asks for. */
  resultBytes(session: Session, frame: Frame): number {
    if ((frame.flags & FRAME_FLAGS.value) === 0) return 0;
    const { model } = this.#options;
    const rows = (frame.flags & FRAME_FLAGS.allRows) === 0 ? 1 : frame.tokens;
    switch (session.settings.result) {
      case "token":
        return 8;
      case "logits":
        return 4 * rows * model.vocabularySize;
      case "hidden":
        return 4 * rows * model.hiddenSize;
    }
  }

  async #decode(session: Session, frame: Frame): Promise<Tensor> {
    const { model, metrics, tokensPerFrame } = this.#options;
    const stop = metrics.decodeSeconds.startTimer();
    let hidden: Tensor;
    try {
      hidden = await session.settings.codec.decode(frame.payload, session.decodeContext(frame, tokensPerFrame), model.device);
    } catch (cause) {
      throw new Refusal("bad-message", errorText(cause), { cause });
    }
    stop();
    const [tokens, hiddenSize] = hidden.shape;
    if (hidden.rank === 2 && tokens === frame.tokens && hiddenSize === model.hiddenSize) return hidden;
    hidden.dispose();
    const announced = `[${frame.tokens}, ${frame.hiddenSize}]`;
    throw new Refusal("bad-message", `the message holds [${hidden.shape.join(", ")}], the frame announces ${announced}`);
  }

  /** The session takes the activation in, and its result is sent. */
  #apply({ session, activation }: StepMember, result: Frame): void {
    const { frame, done } = activation;
    const { metrics } = this.#options;
    const keyBefore = session.keyBefore(frame.position);
    session.cache.advance(frame.tokens);
    session.applied = frame.sequence;
    session.kept = result;
    // A session that was closed meanwhile has dropped its frames already.
    if (session.waiting[0] === activation) {
      session.waiting.shift();
      done();
    }
    this.#tokens += frame.tokens;
    metrics.tokens.inc(frame.tokens);
    metrics.activationBytes.inc(FRAME_HEADER_BYTES + frame.payload.length);
    metrics.activationRawBytes.inc(2 * frame.tokens * frame.hiddenSize);
    if (result.dtype === "token") metrics.generatedTokens.inc();
    if (!session.isClosed) session.answer(result);
    if (keyBefore === undefined || session.boundaries.length >= MOST_BOUNDARIES) return;
    session.addBoundary({ tokens: session.cache.length, key: prefixKeyAfter(keyBefore, frame.payload) });
    if (session.isClosed) return;
    // The end of a prompt is what other sessions may share; single tokens follow one stream alone.
    if (frame.tokens > 1 && (frame.flags & FRAME_FLAGS.value) !== 0) this.keepPrefix(session);
  }

  /** Keeps the beginning of a session's stream for others. Not while the session is being computed by another step. */
  keepPrefix(session: Session): void {
    const { prefixes, registry } = this.#options;
    if (!prefixes.isEnabled || session.boundaries.length === 0) return;
    registry.recount(session);
    try {
      prefixes.add(session.settings.prefixScope, session.cache, session.boundaries, {
        expectedBytes: (tokens) => session.settings.memory.bytesOf(tokens + 1), fits: (bytes) => registry.fits(bytes),
      });
    } catch (error) {
      this.#options.onFailure(session, error);
    }
  }

  /** Answers an activation with an error. What follows it in the session cannot be applied either. */
  #refuse(session: Session, activation: WaitingActivation, error: unknown): void {
    const { metrics, onFailure } = this.#options;
    const isExpected = error instanceof Refusal;
    if (!isExpected) onFailure(session, error);
    const refused = session.waiting[0] === activation ? session.waiting.splice(0) : [];
    for (const [index, { frame, done }] of refused.entries()) {
      const code: ErrorCode = index > 0 ? "out-of-order" : isExpected ? error.code : "internal";
      const message = index > 0 ? `activation ${activation.frame.sequence} was refused` : isExpected ? error.message : "the server failed";
      metrics.refused(code);
      done();
      session.answer(controlFrame("error", {
        code, message: message.slice(0, 2048), session: session.handle, sequence: frame.sequence,
        ...(isExpected && index === 0 && error.retryAfterSeconds !== undefined ? { retryAfterSeconds: error.retryAfterSeconds } : {}),
      }));
    }
  }
}
