import type { StagedModel } from "@frugal/language-model";
import type { CodecTable } from "../calibration/codec-table.ts";
import type { Connection } from "../transport/connection.ts";
import type { Authentication } from "./authentication.ts";

/** Bounds of what clients can take of a server. */
export interface ServerLimits {
  /** Connections at a time. Default 1024. */
  readonly connections: number;
  /** Sessions at a time, of all clients. Default 256. */
  readonly sessions: number;
  /** Sessions at a time of one principal (or one address, without authentication). Default 64. */
  readonly sessionsPerClient: number;
  /** Tokens of a session. Default: the model's positions, at most 4096. */
  readonly tokensPerSession: number;
  /** Tokens of one frame. Default 512. */
  readonly tokensPerFrame: number;
  /** Bytes of all key-value caches, those of kept prefixes included. Default 1 GiB. */
  readonly cacheBytes: number;
  /** Bytes of the caches of one client's sessions. Default: `cacheBytes`, which one client alone may then fill. */
  readonly cacheBytesPerClient: number;
  /** Bytes of kept prefixes among `cacheBytes`. Default 256 MiB; 0 keeps none. */
  readonly prefixBytes: number;
  /** Seconds that a session without a frame is kept. Default 300. */
  readonly expirySeconds: number;
  /** Frames a second of one client, on average over ten seconds. Default 2000. */
  readonly framesPerSecond: number;
  /** Bytes a second of one client, on average over ten seconds. Default 64 MiB. */
  readonly bytesPerSecond: number;
  /** Tokens computed in one step of all sessions together. Default 1024. */
  readonly tokensPerStep: number;
  /** Seconds in which a new connection has to authenticate. Default 10. */
  readonly handshakeSeconds: number;
}

/** Settings of `createSplitServer`. */
export interface SplitServerOptions {
  /** Holds at least the blocks from the lowest split to the last, and the head unless all clients ask for hidden states. */
  readonly model: StagedModel;
  /** `modelFingerprint` of its configuration. */
  readonly fingerprint: string;
  /** For people. Default "model". */
  readonly modelName?: string;
  /** Splits that are served. Default: every block that the model holds, from `model.blockRange[0]` on. */
  readonly splitBlocks?: readonly [least: number, most: number];
  /** Names of codecs that clients may use. Default: all registered. */
  readonly codecs?: readonly string[];
  /** For the codecs that need one; clients name theirs by its hash. */
  readonly tables?: readonly CodecTable[];
  /** Default: everybody may. */
  readonly authentication?: Authentication;
  readonly limits?: Partial<ServerLimits>;
  /**
   * Compute each session's rows by themselves. Batches of several sessions run other kernels than one session alone, whose results differ
   * in the last bits; this makes every session's tokens those of the unsplit model, at the cost of throughput. Default false.
   */
  readonly exact?: boolean;
  /** Who may reuse kept prefixes: the principal that sent them, or everybody (which tells them what others asked). Default "principal". */
  readonly prefixScope?: "principal" | "everybody";
  /** Told of everything worth a line in a log. */
  readonly onEvent?: (event: ServerEvent) => void;
}

/** Something worth a line in a log. */
export interface ServerEvent {
  readonly kind: "connected" | "authenticated" | "refused" | "opened" | "resumed" | "closed" | "expired" | "disconnected" | "failed";
  readonly peer: string;
  readonly principal?: string;
  readonly session?: string;
  /** What was refused or failed, or the name that a client gave itself: one line, of which a client may have written some. */
  readonly detail?: string;
}

/** Numbers of the moment. */
export interface ServerStatistics {
  readonly connections: number;
  readonly sessions: number;
  readonly cacheBytes: number;
  readonly prefixes: number;
  readonly prefixBytes: number;
  /** Activation frames that wait for a step. */
  readonly queued: number;
  readonly steps: number;
  /** Tokens computed, those of prompts included. */
  readonly tokens: number;
  readonly resumes: number;
}

/** The server part of split models, without a network of its own: see `listenWebSocket`, `listenHttp2` and `inProcessTransport`. */
export interface SplitServer {
  /** Longest payload of a frame that clients may send: listeners cut those who send a longer one before they hold it. */
  readonly payloadBytes: number;
  /** Serves a connection until it ends; never rejects. */
  accept(connection: Connection): Promise<void>;
  statistics(): ServerStatistics;
  /** Prometheus text exposition format. */
  metrics(): Promise<string>;
  /** Refuses what is new, ends all sessions and connections and frees their caches; not the model. */
  close(): Promise<void>;
}
