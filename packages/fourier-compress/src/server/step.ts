import { LanguageModelError, type PackedSequence, type SampledToken, type StagedModel } from "@frugal/language-model";
import { concatenate, type Tensor } from "@frugal/tensor-core";
import { setImmediate as turn } from "node:timers/promises";
import { FRAME_FLAGS, makeFrame, type Frame } from "../wire/frame.ts";
import { Refusal } from "./refusal.ts";
import { acknowledgement, type Session, type WaitingActivation } from "./session.ts";

/** An activation that has been decoded and may be computed. */
export interface StepMember {
  readonly session: Session;
  readonly activation: WaitingActivation;
  /** [tokens, hiddenSize]; freed by the step. */
  readonly hidden: Tensor;
}

/** How members are told what became of them, as soon as it is known. Both are called once a member, one or the other. */
export interface StepObserver {
  /** The cache holds the tokens, but has not counted them yet: that is for the observer. */
  computed(member: StepMember, result: Frame): void;
  failed(member: StepMember, error: unknown): void;
  /** A packed computation failed, and is repeated one by one. */
  retried(error: unknown): void;
}

/** Milliseconds of computation after which sockets and timers get a turn. */
const LONGEST_WITHOUT_TURN = 10;

/** Lets the event loop turn now and then: what is computed on the CPU never does by itself. */
class Breath {
  #last: number = performance.now();

  async take(): Promise<void> {
    if (performance.now() - this.#last < LONGEST_WITHOUT_TURN) return;
    await turn();
    this.#last = performance.now();
  }
}

/**
 * Computes one activation each of several sessions. Those that begin at the same block run as one packed sequence, so that the weights
 * are read once for all of them; with `exact` each runs alone, with the bits that it would have without the others.
 */
export async function runStep(model: StagedModel, members: readonly StepMember[], exact: boolean, observer: StepObserver): Promise<void> {
  const breath = new Breath();
  try {
    for (const group of groupsOf(members, exact)) {
      const failure = await computeGroup(model, group, observer, breath);
      if (failure === undefined) continue;
      if (group.length === 1) {
        observer.failed(group[0]!, failure.error);
        continue;
      }
      // Whichever it is that cannot be computed, the others are not to suffer for it.
      observer.retried(failure.error);
      for (const member of group) {
        const alone = await computeGroup(model, [member], observer, breath);
        if (alone !== undefined) observer.failed(member, alone.error);
      }
    }
  } finally {
    for (const { hidden } of members) hidden.dispose();
  }
}

function groupsOf(members: readonly StepMember[], exact: boolean): readonly (readonly StepMember[])[] {
  if (exact) return members.map((member) => [member]);
  return [...Map.groupBy(members, ({ session }) => session.settings.splitBlock).values()];
}

/** What comes out of the blocks is delivered; what is thrown before that is returned, and no member has been told of it. */
async function computeGroup(
  model: StagedModel, group: readonly StepMember[], observer: StepObserver, breath: Breath,
): Promise<{ readonly error: unknown } | undefined> {
  let outputs: Outputs;
  try {
    const hidden = await runBlocks(model, group, breath);
    try {
      outputs = outputsOf(model, group, hidden);
    } finally {
      hidden.dispose();
    }
  } catch (error) {
    return { error };
  }
  try {
    for (const [index, member] of group.entries()) {
      let result: Frame;
      try {
        result = await resultOf(member, outputs[index]);
      } catch (error) {
        observer.failed(member, error);
        continue;
      }
      observer.computed(member, result);
      await breath.take();
    }
  } finally {
    for (const output of outputs) output?.dispose();
  }
  return undefined;
}

/** [1, Σ tokens, hiddenSize] after the last block. */
async function runBlocks(model: StagedModel, group: readonly StepMember[], breath: Breath): Promise<Tensor> {
  const sequences: PackedSequence[] = group.map(({ session, activation }) => ({ cache: session.cache, tokens: activation.frame.tokens }));
  // One sequence alone goes the way of the unsplit model, to the last bit.
  const context = sequences.length === 1 ? { cache: sequences[0]!.cache } : { sequences };
  const rows = sequences.reduce((total, { tokens }) => total + tokens, 0);
  using joined = sequences.length === 1 ? undefined : concatenate(group.map(({ hidden }) => hidden), 0);
  let current = (joined ?? group[0]!.hidden).reshape([1, rows, model.hiddenSize]);
  try {
    for (let block = group[0]!.session.settings.splitBlock; block < model.blockCount; block++) {
      const next = model.forwardBlocks(current, block, block + 1, context);
      if (next !== current) current.dispose();
      current = next;
      await breath.take();
    }
  } catch (error) {
    current.dispose();
    throw error;
  }
  return current;
}

/** For each member the rows that its result is made from, [rows, hiddenSize or vocabularySize]; undefined where it only acknowledges. */
type Outputs = readonly (Tensor | undefined)[];

function outputsOf(model: StagedModel, group: readonly StepMember[], hidden: Tensor): Outputs {
  const rows: (Tensor | undefined)[] = [];
  const outputs: (Tensor | undefined)[] = [];
  try {
    let first = 0;
    for (const { activation: { frame } } of group) {
      const end = first + frame.tokens;
      const from = (frame.flags & FRAME_FLAGS.allRows) === 0 ? end - 1 : first;
      rows.push((frame.flags & FRAME_FLAGS.value) === 0 ? undefined : hidden.slice(null, [from, end]));
      first = end;
    }
    // Single rows go through the head together; a whole prompt's logits are large enough to go alone.
    const isSingle = ({ session }: StepMember, index: number): boolean =>
      session.settings.result !== "hidden" && rows[index]?.shape[1] === 1;
    const together = group.flatMap((member, index) => (isSingle(member, index) ? [index] : []));
    if (together.length > 1) {
      using joined = concatenate(together.map((index) => rows[index]!), 1);
      using logits = model.head(joined);
      for (const [place, index] of together.entries()) outputs[index] = logits.slice(0, [place, place + 1]);
    }
    for (const [index, { session }] of group.entries()) {
      const own = rows[index];
      if (outputs[index] !== undefined || own === undefined) continue;
      using whole = session.settings.result === "hidden" ? undefined : model.head(own);
      outputs[index] = (whole ?? own).slice(0);
    }
    outputs.length = group.length;
    return outputs;
  } catch (error) {
    for (const output of outputs) output?.dispose();
    throw error;
  } finally {
    for (const row of rows) row?.dispose();
  }
}

/** Activations can be finite and still too large for the model's arithmetic: that is their sender's fault, not the server's. */
function notFinite(cause?: unknown): Refusal {
  return new Refusal("bad-message", "the model's results for these activations are not finite", { cause });
}

/** The frame that answers a member. @throws Refusal for results that are not finite */
async function resultOf({ session, activation: { frame } }: StepMember, output: Tensor | undefined): Promise<Frame> {
  const { sequence, flags } = frame;
  const position = frame.position + frame.tokens;
  if (output === undefined) return acknowledgement(sequence, position);
  const tokens = output.shape[0]!;
  const { result } = session.settings;
  if (result === "token") {
    let token: SampledToken;
    try {
      token = await session.sampler()(output);
    } catch (error) {
      session.forgetSampler();
      if (error instanceof LanguageModelError) throw notFinite(error);
      throw error;
    }
    session.drew();
    const ends = session.settings.stopTokenIds.includes(token.id);
    return makeFrame("result", {
      flags: FRAME_FLAGS.value | (ends ? FRAME_FLAGS.endOfSequence : 0), sequence, position, tokens, dtype: "token",
      payload: tokenPayload(token),
    });
  }
  const values = await output.data("float32");
  if (!values.every(Number.isFinite)) throw notFinite();
  return makeFrame("result", {
    flags: FRAME_FLAGS.value | (flags & FRAME_FLAGS.allRows), sequence, position, tokens, dtype: "float32",
    hiddenSize: result === "hidden" ? output.shape[1]! : 0,
    payload: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  });
}

/** Payload of a result that is a token: id u32, natural logarithm of its probability f32, little-endian. */
function tokenPayload({ id, logProbability }: SampledToken): Uint8Array {
  const payload = new Uint8Array(8);
  const view = new DataView(payload.buffer);
  view.setUint32(0, id, true);
  view.setFloat32(4, logProbability!, true);
  return payload;
}
