import type { ServerSampling } from "../wire/control-messages.ts";
import type { ClientEvent } from "./client-events.ts";
import type { ServerLink } from "./server-link.ts";
import type { TrafficMeter } from "./traffic.ts";

/** What every session of a client has in common. */
export interface SessionScope {
  readonly link: ServerLink;
  readonly meter: TrafficMeter;
  readonly onEvent: (event: ClientEvent) => void;
  readonly fingerprint: string;
  readonly splitBlock: number;
  readonly hiddenSize: number;
  readonly vocabularySize: number;
  readonly codec: { readonly name: string; readonly id: number };
  /** Hash of the codec's table, in hexadecimal. */
  readonly table: string | undefined;
  readonly prefixReuse: boolean;
  /** Bound of the messages kept for rebuilding, of each session. */
  readonly keptBytes: number;
  /** Milliseconds after which a frame without result means that the connection is dead. */
  readonly resultTimeout: number;
}

/** What takes a session up again: from another connection, or another process. */
export interface SessionTicket {
  readonly id: string;
  readonly secret: string;
  /** Messages at the beginning of the stream that the server knew already, and that have no number in this session. */
  readonly skipped: number;
}

/** Settings of one session. */
export interface SessionSettings {
  readonly result: "token" | "logits" | "hidden";
  readonly sampling?: Omit<ServerSampling, "drawn"> | undefined;
  /** Tokens that it may hold. */
  readonly capacity: number;
  /** Told of every session on the server that this one lives in, before anything is sent into it. */
  readonly onTicket?: ((ticket: SessionTicket) => void | Promise<void>) | undefined;
}
