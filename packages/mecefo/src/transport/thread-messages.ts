import { EpochEndedError, FrameError, LinkError, MecefoError, SettingsError } from "../errors.ts";
import type { MessageTag, Peer, TransportFault, TransportStatistics } from "./transport.ts";

/** What the main thread tells the transport in the network thread. Buffers are transferred. */
export type TransportRequest =
  | { readonly kind: "send"; readonly number: number; readonly to: Peer; readonly tag: MessageTag; readonly payload: Uint8Array }
  | { readonly kind: "release"; readonly number: number; readonly buffer: ArrayBuffer }
  | { readonly kind: "beginEpoch"; readonly epoch: number; readonly peers: readonly Peer[] }
  | { readonly kind: "inject"; readonly fault: TransportFault }
  | { readonly kind: "close" };

/** What the transport in the network thread tells the main thread. */
export type TransportNotice =
  | { readonly kind: "ready"; readonly address: string; readonly statistics: SharedArrayBuffer }
  | { readonly kind: "unusable"; readonly error: ErrorRecord }
  | {
    readonly kind: "message"; readonly number: number; readonly from: string; readonly tag: MessageTag;
    readonly payload: Uint8Array<ArrayBuffer>;
  }
  /** A send is over; `buffer` comes back for reuse if it was transferred. */
  | { readonly kind: "sent"; readonly number: number; readonly error?: ErrorRecord; readonly buffer?: ArrayBuffer }
  | { readonly kind: "linkFailure"; readonly epoch: number; readonly peer: string; readonly cause: string }
  | { readonly kind: "closed" };

/** An error of this package on its way between threads, which would make it a plain Error. */
export interface ErrorRecord {
  readonly name: string;
  readonly message: string;
  readonly peer?: string;
  readonly epoch?: number;
}

/** Takes an error apart for the other thread. */
export function toErrorRecord(error: unknown): ErrorRecord {
  if (error instanceof LinkError) {
    return { name: error.name, message: error.message.slice(`link to ${error.peer}: `.length), peer: error.peer };
  }
  if (error instanceof EpochEndedError) return { name: error.name, message: error.message, epoch: error.epoch };
  if (error instanceof Error) return { name: error.name, message: error.message };
  return { name: "Error", message: String(error) };
}

/** The typed error that the other thread took apart. What is no error of the transport's becomes a MecefoError with its name. */
export function fromErrorRecord({ name, message, peer, epoch }: ErrorRecord): MecefoError {
  if (name === "LinkError" && peer !== undefined) return new LinkError(peer, message);
  if (name === "EpochEndedError" && epoch !== undefined) return new EpochEndedError(epoch);
  if (name === "FrameError") return new FrameError(message);
  if (name === "SettingsError") return new SettingsError(message);
  return new MecefoError(name === "MecefoError" ? message : `in the network thread: ${name}: ${message}`);
}

const counterNames = [
  "bytesSent", "bytesReceived", "messagesSent", "messagesReceived", "staleFrames", "refusedConnections",
] as const satisfies readonly (keyof TransportStatistics)[];

/** Bytes of the shared memory that the counters are kept in. */
export const statisticsBytes: number = counterNames.length * Float64Array.BYTES_PER_ELEMENT;

/** Publishes counters to the other thread. */
export function writeStatistics(shared: Float64Array, statistics: TransportStatistics): void {
  for (const [i, name] of counterNames.entries()) shared[i] = statistics[name];
}

/** Reads the counters that the other thread published last. */
export function readStatistics(shared: Float64Array): TransportStatistics {
  return Object.fromEntries(counterNames.map((name, i) => [name, shared[i] ?? 0])) as Record<(typeof counterNames)[number], number>;
}
