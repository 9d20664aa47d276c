import type { SampledToken } from "@frugal/language-model";
import { z } from "zod";
import type { CodecMode } from "../codecs/codec-mode.ts";
import { SessionJournalError } from "../errors.ts";
import type { ServerSampling } from "../wire/control-messages.ts";

/** Version of the journal's format; others are refused. */
export const SESSION_JOURNAL_VERSION = 1 as const;

const MOST_TOKENS = 1 << 20;
const id = z.number().int().nonnegative().max(0xffff_ffff);
const hex = (bytes: number): z.ZodString => z.string().regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`));

const sampling = z.strictObject({
  temperature: z.number().nonnegative().optional(),
  topK: z.number().int().positive().optional(),
  topP: z.number().positive().max(1).optional(),
  seed: z.number().int().optional(),
  stopTokenIds: z.array(id).max(64).optional(),
});

const mode = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("ratio"), ratio: z.number().positive(), of: z.enum(["bytes", "elements"]).optional() }),
  z.strictObject({ kind: z.literal("relativeError"), relativeError: z.number().positive() }),
  z.strictObject({ kind: z.literal("bytesPerToken"), bytes: z.number().int().positive() }),
  z.strictObject({ kind: z.literal("step"), step: z.number().positive() }),
]);

const entry = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("begin"),
    version: z.literal(SESSION_JOURNAL_VERSION),
    fingerprint: hex(32),
    splitBlock: z.number().int().nonnegative(),
    codec: z.string().min(1).max(128),
    mode: mode.optional(),
    table: hex(32).optional(),
    sampling,
    promptIds: z.array(id).min(1).max(MOST_TOKENS),
    chunks: z.array(z.number().int().positive()).min(1).max(MOST_TOKENS),
    maxNewTokens: z.number().int().nonnegative().optional(),
  }),
  z.strictObject({ kind: z.literal("session"), id: hex(16), secret: hex(32), skipped: z.number().int().nonnegative() }),
  z.strictObject({ kind: z.literal("token"), id, logProbability: z.number().optional() }),
  z.strictObject({ kind: z.literal("end"), reason: z.enum(["stop", "length"]) }),
]);

/** What a generation began with. */
export interface JournalBegin {
  readonly kind: "begin";
  readonly version: typeof SESSION_JOURNAL_VERSION;
  readonly fingerprint: string;
  readonly splitBlock: number;
  readonly codec: string;
  /** Absent for codecs of a fixed rate, and those that the caller made. */
  readonly mode?: CodecMode;
  /** Hash of the codec's table. */
  readonly table?: string;
  readonly sampling: Omit<ServerSampling, "drawn">;
  readonly promptIds: readonly number[];
  /** Tokens of each message that the prompt was cut into. */
  readonly chunks: readonly number[];
  readonly maxNewTokens?: number;
}

/** The session on the server, whenever there is another: see `SessionTicket`. */
export interface JournalSession {
  readonly id: string;
  readonly secret: string;
  readonly skipped: number;
}

/** One line of a journal: plain data. */
export type JournalEntry =
  | JournalBegin
  | (JournalSession & { readonly kind: "session" })
  | (SampledToken & { readonly kind: "token" })
  | { readonly kind: "end"; readonly reason: "stop" | "length" };

/**
 * Where a generation writes down what another process needs to go on. `write` has to have stored the entry when it resolves: nothing that
 * depends on it is sent before. The entries hold the secret of the session; keep them as safe as a password.
 */
export interface JournalWriter {
  write(entry: JournalEntry): void | Promise<void>;
}

/** A generation as far as it was written down. */
export interface SessionJournal {
  readonly begin: JournalBegin;
  /** Absent when the server had not been asked yet. */
  readonly session: JournalSession | undefined;
  /** Tokens received, in order. */
  readonly tokens: readonly SampledToken[];
  /** Set when the generation had come to its end. */
  readonly end: "stop" | "length" | undefined;
}

/**
 * A journal from its entries.
 * @throws SessionJournalError for entries that do not belong to a journal, or not in that order
 */
export function sessionJournal(entries: Iterable<unknown>): SessionJournal {
  let begin: JournalBegin | undefined;
  let session: JournalSession | undefined;
  let end: SessionJournal["end"];
  const tokens: SampledToken[] = [];
  let line = 0;
  for (const value of entries) {
    line++;
    const parsed = entry.safeParse(value);
    if (!parsed.success) throw new SessionJournalError(`entry ${line} of the journal: ${z.prettifyError(parsed.error)}`);
    const data = parsed.data as JournalEntry;
    if ((begin === undefined) !== (data.kind === "begin")) {
      throw new SessionJournalError(`entry ${line} of the journal: ${data.kind} is not due`);
    }
    if (data.kind === "begin") {
      const { length } = data.promptIds;
      const total = data.chunks.reduce((sum, tokensOfChunk) => sum + tokensOfChunk, 0);
      if (total !== length) throw new SessionJournalError(`the journal's prompt has ${length} tokens in chunks of ${total}`);
      begin = data;
    } else if (data.kind === "session") {
      session = { id: data.id, secret: data.secret, skipped: data.skipped };
    } else if (data.kind === "token") {
      if (tokens.length === MOST_TOKENS) throw new SessionJournalError(`the journal has more than ${MOST_TOKENS} tokens`);
      tokens.push({ id: data.id, ...(data.logProbability === undefined ? {} : { logProbability: data.logProbability }) });
    } else {
      end = data.reason;
    }
  }
  if (begin === undefined) throw new SessionJournalError("the journal is empty");
  if (session !== undefined && session.skipped >= begin.chunks.length + Math.max(0, tokens.length)) {
    throw new SessionJournalError(`the journal's session skips ${session.skipped} messages; there are not so many`);
  }
  if (tokens.length > 0 && session === undefined) {
    throw new SessionJournalError("the journal has tokens, but no session that they came from");
  }
  return { begin, session, tokens, end };
}

/**
 * A journal from lines of JSON, one entry a line. A last line that the end of a process cut short is left out.
 * @throws SessionJournalError as `sessionJournal`, and for other lines that are no JSON
 */
export function parseSessionJournal(text: string): SessionJournal {
  const lines = text.split("\n");
  // What follows the last line break was never finished.
  lines.pop();
  return sessionJournal(
    lines.map((line, index) => {
      try {
        return JSON.parse(line) as unknown;
      } catch (cause) {
        throw new SessionJournalError(`line ${index + 1} of the journal is not JSON`, { cause });
      }
    }),
  );
}
