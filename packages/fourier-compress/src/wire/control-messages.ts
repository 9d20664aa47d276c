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

const sampling = z.strictObject({
  temperature: z.number().nonnegative().finite().optional(),
  topK: z.number().int().positive().optional(),
  topP: z.number().positive().max(1).optional(),
  seed: z.number().int().optional(),
  /** Tokens of the random stream drawn before: a session that takes the place of a lost one goes on where that one stood. */
  drawn: count.optional(),
  stopTokenIds: z.array(count).max(64).optional(),
});

const schemas = {
  /** Client: who is there. */
  hello: z.strictObject({ client: name }),
  /** Server: how to prove who one is. `nonce` is of this connection alone. */
  challenge: z.strictObject({ nonce: hex(32), methods: z.array(z.enum(["none", "bearer", "hmac"])).min(1).max(3) }),
  /** Client. bearer: the token. hmac: HMAC-SHA-256 under the principal's secret of "fourier-compress" + nonce + principal, in hex. */
  authenticate: z.discriminatedUnion("method", [
    z.strictObject({ method: z.literal("none") }),
    z.strictObject({ method: z.literal("bearer"), token: z.string().min(1).max(4096) }),
    z.strictObject({ method: z.literal("hmac"), principal: name, mac: hex(32) }),
  ]),
  /** Server: what is served. */
  welcome: z.strictObject({
    server: name,
    model: z.strictObject({
      name, fingerprint: hex(32), blockCount: count, hiddenSize: count, vocabularySize: count, maxPositionEmbeddings: count,
    }),
    /** Splits that are served: the first block of the server's part, at the least and at the most. */
    splitBlocks: z.tuple([count, count]),
    codecs: z.array(name).max(256),
    /** Hashes of the codec tables that the server holds, with their blocks. */
    tables: z.array(z.strictObject({ hash: hex(32), block: count })).max(256),
    limits: z.strictObject({ tokensPerFrame: count, tokensPerSession: count, sessions: count, payloadBytes: count, expirySeconds: z.number() }),
  }),
  /** Client: a session, that is a key-value cache on the server and a stream of activations into it. */
  open: z.strictObject({
    request: count,
    fingerprint: hex(32),
    splitBlock: count,
    codec: name,
    table: hex(32).optional(),
    /**
     * What results hold. token: an id chosen by the server; logits: float32 of the vocabulary; hidden: float32 of the last block, for a
     * client that holds the head.
     */
    result: z.enum(["token", "logits", "hidden"]),
    sampling: sampling.optional(),
    /** Tokens that the session may hold. */
    capacity: count,
    /** Keys of the messages that the client is about to send, see prefix-key.ts; the server may know what became of the first of them. */
    prefixes: z.array(hex(32)).max(MOST_PREFIXES).optional(),
  }),
  /** Server: the session. `id` and `secret` take it up again on another connection. */
  opened: z.strictObject({
    request: count, session: count, id: hex(16), secret: hex(32),
    /** Messages of `open.prefixes` that need not be sent, and the tokens in them. */
    prefixMessages: count, prefixTokens: count,
    expirySeconds: z.number(),
  }),
  /** Client: take up a session. `received` is the sequence number of the last result that arrived. */
  resume: z.strictObject({ request: count, id: hex(16), secret: hex(32), received: count }),
  /**
   * Server: the session is there. `applied` is the last activation that it knows; later ones have to be sent again. The result of `applied`
   * follows when the client lacks it.
   */
  resumed: z.strictObject({ request: count, session: count, applied: count, position: count }),
  close: z.strictObject({ session: count }),
  closed: z.strictObject({ session: count }),
  /** Server. Without `session` and `request` it concerns the connection, which is closed. */
  error: z.strictObject({
    code: z.enum([
      "unauthorized", "bad-frame", "bad-message", "unknown-model", "unknown-codec", "unknown-table", "unknown-session", "unsupported",
      "out-of-order", "context-length", "quota", "rate-limit", "busy", "shutting-down", "internal",
    ]),
    message: z.string().max(2048),
    request: count.optional(),
    session: count.optional(),
    sequence: count.optional(),
    retryAfterSeconds: z.number().nonnegative().optional(),
  }),
} as const;

/** Names of frames that carry JSON. */
export type ControlType = keyof typeof schemas;
/** The JSON of each. */
export type ControlMessages = { readonly [Type in ControlType]: z.infer<(typeof schemas)[Type]> };
/** Why a server refuses. */
export type ErrorCode = ControlMessages["error"]["code"];
/** Sampling on the server, as in `open`. */
export type ServerSampling = z.infer<typeof sampling>;

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
  if (payload.length > LONGEST_CONTROL_BYTES) throw new FrameError(`a ${type} of ${payload.length} bytes is longer than ${LONGEST_CONTROL_BYTES}`);
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
