import { z } from "zod";
import { FrameError } from "../errors.ts";
import { LONGEST_CONTROL_BYTES, makeFrame, type Frame } from "./frame.ts";

/** Longest complaint about a message, which may hold very many faults. */
const LONGEST_COMPLAINT = 500;
/** Keys of prefixes in an `open`. */
const MOST_PREFIXES = 256;

const count = z.number().int().nonnegative().max(0xffff_ffff);
const hex = (bytes: number): z.ZodString => z.string().regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`));
/** For people and logs: nothing that moves a cursor or begins a line. */
const name = z.string().min(1).max(128).regex(/^\P{Cc}+$/u, "control characters");

const ERROR_CODES = [
  "unauthorized", "bad-frame", "bad-message", "unknown-model", "unknown-codec", "unknown-table", "unknown-session", "unsupported",
  "out-of-order", "context-length", "quota", "rate-limit", "busy", "shutting-down", "internal",
] as const;

/** Why a server refuses. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** Sampling on the server, as in `open`. */
export interface ServerSampling {
  readonly temperature?: number | undefined;
  readonly topK?: number | undefined;
  readonly topP?: number | undefined;
  readonly seed?: number | undefined;
  /** Tokens of the random stream drawn before: a session that takes the place of a lost one goes on where that one stood. */
  readonly drawn?: number | undefined;
  readonly stopTokenIds?: readonly number[] | undefined;
}

/** The JSON of each control frame. */
export interface ControlMessages {
  /** Client: who is there. */
  readonly hello: { readonly client: string };
  /** Server: how to prove who one is. `nonce` is of this connection alone. */
  readonly challenge: { readonly nonce: string; readonly methods: readonly ("none" | "bearer" | "hmac")[] };
  /** Client. bearer: the token. hmac: HMAC-SHA-256 under the principal's secret of "fourier-compress" + nonce + principal, in hex. */
  readonly authenticate:
    | { readonly method: "none" }
    | { readonly method: "bearer"; readonly token: string }
    | { readonly method: "hmac"; readonly principal: string; readonly mac: string };
  /** Server: what is served. */
  readonly welcome: {
    readonly server: string;
    readonly model: {
      readonly name: string; readonly fingerprint: string; readonly blockCount: number; readonly hiddenSize: number;
      readonly vocabularySize: number; readonly maxPositionEmbeddings: number;
    };
    /** Splits that are served: the first block of the server's part, at the least and at the most. */
    readonly splitBlocks: readonly [least: number, most: number];
    readonly codecs: readonly string[];
    /** Hashes of the codec tables that the server holds, with their blocks. */
    readonly tables: readonly { readonly hash: string; readonly block: number }[];
    readonly limits: {
      readonly tokensPerFrame: number; readonly tokensPerSession: number; readonly sessions: number; readonly payloadBytes: number;
      readonly expirySeconds: number;
    };
  };
  /** Client: a session, that is a key-value cache on the server and a stream of activations into it. */
  readonly open: {
    readonly request: number;
    readonly fingerprint: string;
    readonly splitBlock: number;
    readonly codec: string;
    readonly table?: string | undefined;
    /**
     * What results hold. token: an id chosen by the server; logits: float32 of the vocabulary; hidden: float32 of the last block, for a
     * client that holds the head.
     */
    readonly result: "token" | "logits" | "hidden";
    readonly sampling?: ServerSampling | undefined;
    /** Tokens that the session may hold. */
    readonly capacity: number;
    /** Keys of the messages that the client is about to send, see prefix-key.ts; the server may know what became of the first of them. */
    readonly prefixes?: readonly string[] | undefined;
  };
  /** Server: the session. `id` and `secret` take it up again on another connection. */
  readonly opened: {
    readonly request: number; readonly session: number; readonly id: string; readonly secret: string;
    /** Messages of `open.prefixes` that need not be sent, and the tokens in them. */
    readonly prefixMessages: number; readonly prefixTokens: number;
    readonly expirySeconds: number;
  };
  /** Client: take up a session. `received` is the sequence number of the last result that arrived. */
  readonly resume: { readonly request: number; readonly id: string; readonly secret: string; readonly received: number };
  /**
   * Server: the session is there. `applied` is the last activation that it knows; later ones have to be sent again. The result of `applied`
   * follows when the client lacks it.
   */
  readonly resumed: { readonly request: number; readonly session: number; readonly applied: number; readonly position: number };
  readonly close: { readonly session: number };
  readonly closed: { readonly session: number };
  /** Server. Without `session` and `request` it concerns the connection, which is closed. */
  readonly error: {
    readonly code: ErrorCode;
    readonly message: string;
    readonly request?: number | undefined;
    readonly session?: number | undefined;
    readonly sequence?: number | undefined;
    readonly retryAfterSeconds?: number | undefined;
  };
}

/** Names of frames that carry JSON. */
export type ControlType = keyof ControlMessages;

const schemas: { readonly [Type in ControlType]: z.ZodType<ControlMessages[Type]> } = {
  hello: z.strictObject({ client: name }),
  challenge: z.strictObject({ nonce: hex(32), methods: z.array(z.enum(["none", "bearer", "hmac"])).min(1).max(3) }),
  authenticate: z.discriminatedUnion("method", [
    z.strictObject({ method: z.literal("none") }),
    z.strictObject({ method: z.literal("bearer"), token: z.string().min(1).max(4096) }),
    z.strictObject({ method: z.literal("hmac"), principal: name, mac: hex(32) }),
  ]),
  welcome: z.strictObject({
    server: name,
    model: z.strictObject({
      name, fingerprint: hex(32), blockCount: count, hiddenSize: count, vocabularySize: count, maxPositionEmbeddings: count,
    }),
    splitBlocks: z.tuple([count, count]),
    codecs: z.array(name).max(256),
    tables: z.array(z.strictObject({ hash: hex(32), block: count })).max(256),
    limits: z.strictObject({
      tokensPerFrame: count, tokensPerSession: count, sessions: count, payloadBytes: count, expirySeconds: z.number(),
    }),
  }),
  open: z.strictObject({
    request: count, fingerprint: hex(32), splitBlock: count, codec: name, table: hex(32).optional(),
    result: z.enum(["token", "logits", "hidden"]),
    sampling: z.strictObject({
      temperature: z.number().nonnegative().finite().optional(),
      topK: z.number().int().positive().optional(),
      topP: z.number().positive().max(1).optional(),
      seed: z.number().int().optional(),
      drawn: count.optional(),
      stopTokenIds: z.array(count).max(64).optional(),
    }).optional(),
    capacity: count,
    prefixes: z.array(hex(32)).max(MOST_PREFIXES).optional(),
  }),
  opened: z.strictObject({
    request: count, session: count, id: hex(16), secret: hex(32), prefixMessages: count, prefixTokens: count, expirySeconds: z.number(),
  }),
  resume: z.strictObject({ request: count, id: hex(16), secret: hex(32), received: count }),
  resumed: z.strictObject({ request: count, session: count, applied: count, position: count }),
  close: z.strictObject({ session: count }),
  closed: z.strictObject({ session: count }),
  error: z.strictObject({
    code: z.enum(ERROR_CODES),
    message: z.string().max(2048),
    request: count.optional(),
    session: count.optional(),
    sequence: count.optional(),
    retryAfterSeconds: z.number().nonnegative().optional(),
  }),
};

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** The first faults of a message. */
function complaint({ issues }: z.ZodError): string {
  const first = issues.slice(0, 3).map(({ path, message }) => `${path.length > 0 ? `${path.join(".")}: ` : ""}${message}`);
  return first.join("; ").slice(0, LONGEST_COMPLAINT);
}

/** A control frame. @throws FrameError for a message that takes more than 64 KiB */
export function controlFrame<Type extends ControlType>(type: Type, message: ControlMessages[Type]): Frame {
  const payload = encoder.encode(JSON.stringify(message));
  if (payload.length > LONGEST_CONTROL_BYTES) {
    throw new FrameError(`a ${type} of ${payload.length} bytes is longer than ${LONGEST_CONTROL_BYTES}`);
  }
  return makeFrame(type, { payload });
}

/** The message of a control frame. @throws FrameError for one of another type, JSON that does not parse, or fields that do not belong */
export function controlMessage<Type extends ControlType>(type: Type, frame: Frame): ControlMessages[Type] {
  if (frame.type !== type) throw new FrameError(`a ${frame.type} frame came where ${type} was due`);
  if (frame.payload.length > LONGEST_CONTROL_BYTES) throw new FrameError(`a ${type} of ${frame.payload.length} bytes is too long`);
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(frame.payload));
  } catch (cause) {
    throw new FrameError(`a ${type} frame does not hold JSON`, { cause });
  }
  const parsed = schemas[type].safeParse(value);
  if (!parsed.success) throw new FrameError(`${type}: ${complaint(parsed.error)}`);
  return parsed.data as ControlMessages[Type];
}
