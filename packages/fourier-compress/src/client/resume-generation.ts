import type { CodecMode } from "../codecs/codec-mode.ts";
import { SessionJournalError } from "../errors.ts";
import type { ServerSampling } from "../wire/control-messages.ts";
import { FRAME_FLAGS } from "../wire/frame.ts";
import { Conversation } from "./conversation.ts";
import type { DevicePart } from "./device-part.ts";
import { KeptMessages, type StreamMessage } from "./kept-messages.ts";
import { pause } from "./reconnection.ts";
import { RemoteSession } from "./remote-session.ts";
import type { JournalWriter, SessionJournal } from "./session-journal.ts";
import type { SessionScope, SessionTicket } from "./session-scope.ts";

/** How the server chooses tokens; see `SamplingOptions` of language-model. */
export interface ServerSamplingOptions {
  /** 0 takes the most likely token. Default 0. */
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  /** Of the random stream. Default 0. */
  readonly seed?: number;
  /** Ids that end an answer. Default: the model's. */
  readonly stopTokenIds?: readonly number[];
}

/** As the wire has it. */
export function samplingOf(
  { temperature, topK, topP, seed, stopTokenIds }: ServerSamplingOptions, eosTokenIds: readonly number[],
): Omit<ServerSampling, "drawn"> {
  return {
    ...(temperature === undefined ? {} : { temperature }), ...(topK === undefined ? {} : { topK }), ...(topP === undefined ? {} : { topP }),
    ...(seed === undefined ? {} : { seed }), stopTokenIds: [...(stopTokenIds ?? eosTokenIds)],
  };
}

/** Milliseconds of computing after which the event loop has its turn. */
const TURN = 20;

/**
 * The state of a generation from its journal: the device's cache computed anew from the same ids in the same pieces, which gives the same
 * messages to the last bit, and the session as it was when its process ended. Undefined when the signal aborts it.
 * @throws SessionJournalError when the journal is of another model, split, codec or table
 */
export async function restoreSession(
  { begin, session: issued, tokens }: SessionJournal,
  { device, scope, mode, capacity, writer, signal }: {
    readonly device: DevicePart; readonly scope: SessionScope; readonly mode: CodecMode | undefined; readonly capacity: number;
    readonly writer: JournalWriter | undefined; readonly signal: AbortSignal | undefined;
  },
): Promise<{ readonly conversation: Conversation; readonly ids: readonly number[] } | undefined> {
  const compare = (what: string, journal: unknown, here: unknown): void => {
    if (JSON.stringify(journal) === JSON.stringify(here)) return;
    throw new SessionJournalError(`the journal's ${what} is ${JSON.stringify(journal)}, this client's ${JSON.stringify(here)}`);
  };
  compare("model fingerprint", begin.fingerprint, scope.fingerprint);
  compare("split block", begin.splitBlock, scope.splitBlock);
  compare("codec", begin.codec, scope.codec.name);
  compare("codec table", begin.table, scope.table);
  compare("codec mode", sorted(begin.mode), sorted(mode));
  // A session that was asked to hold fewer tokens than are wanted now cannot grow: its messages are sent into a larger one.
  const isLargeEnough = begin.maxNewTokens === undefined || capacity <= begin.promptIds.length + begin.maxNewTokens;
  const ticket = isLargeEnough ? issued : undefined;
  const local = device.createCache(capacity);
  const kept = new KeptMessages(scope.keptBytes);
  const streamId = device.newStream();
  let turned = performance.now();
  const replay = async (ids: readonly number[], flags: number): Promise<StreamMessage> => {
    if (performance.now() - turned > TURN) {
      await pause(0);
      turned = performance.now();
    }
    const message = await device.message(ids, local, streamId, flags);
    local.advance(ids.length);
    return message;
  };
  try {
    // Without a token it is not known what has arrived: the prompt is sent by the conversation, as if for the first time.
    if (tokens.length > 0) {
      const skipped = ticket?.skipped ?? 0;
      const pieces: (readonly number[])[] = [];
      let first = 0;
      for (const count of begin.chunks) pieces.push(begin.promptIds.slice(first, (first += count)));
      for (const { id } of tokens.slice(0, -1)) pieces.push([id]);
      for (const [index, ids] of pieces.entries()) {
        if (signal?.aborted) {
          local.dispose();
          return undefined;
        }
        const flags = index >= begin.chunks.length - 1 ? FRAME_FLAGS.value : 0;
        const sequence = index < skipped ? 0 : index - skipped + 1;
        kept.push({ ...(await replay(ids, flags)), sequence, isAcknowledged: true });
      }
    }
    const onTicket = writer && ((next: SessionTicket) => writer.write({ kind: "session", ...next }));
    const received = tokens.length === 0 || ticket === undefined ? 0 : begin.chunks.length + tokens.length - 1 - ticket.skipped;
    const session = new RemoteSession(
      scope, { result: "token", capacity, sampling: begin.sampling, onTicket },
      tokens.length === 0 ? {} : { kept, received, drawn: tokens.length, ...(ticket === undefined ? {} : { ticket: { ...ticket } }) },
    );
    const last = tokens.at(-1)?.id;
    const conversation = new Conversation({
      device, session, local, capacity, journal: writer, undelivered: last,
      // The prompt in its pieces, and then one token at a time.
      cut: (count) => (local.length === 0 ? begin.chunks : [count]),
    });
    return { conversation, ids: tokens.length === 0 ? begin.promptIds : [] };
  } catch (error) {
    local.dispose();
    throw error;
  }
}

function sorted(mode: object | undefined): unknown {
  return mode && Object.entries(mode).filter(([, value]) => value !== undefined).sort();
}
