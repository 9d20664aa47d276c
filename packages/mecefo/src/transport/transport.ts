/** What a message is for; the number goes over the wire. */
export const messageKinds = {
  /** Hidden states to the next stage. channel: the block they are the input of; sequence: the microbatch. */
  activation: 1,
  /** The loss's gradient with respect to them, back. Same channel and sequence. */
  gradient: 2,
  /** A chunk of a ring all-reduce. channel: the group; sequence: round and chunk. */
  reduce: 3,
  /** Asks a donor for a stage's state. channel: the stage. */
  stateRequest: 4,
  /** A chunk of a stage's state. channel: the stage; sequence: the chunk. */
  state: 5,
} as const;

/** Name of a kind of message. */
export type MessageKind = keyof typeof messageKinds;

/** What identifies a message between two workers. */
export interface MessageTag {
  readonly kind: MessageKind;
  /** The epoch it was sent in: receivers drop older ones. */
  readonly epoch: number;
  readonly step: number;
  readonly channel: number;
  readonly sequence: number;
}

/** Another worker: who it is and where it listens. */
export interface Peer {
  /** Member id: a new one whenever a process joins. */
  readonly id: string;
  /** "unix:/path" or "tcp://host:port", "memory:name" in one process. */
  readonly address: string;
}

/** A message that arrived whole. */
export interface ReceivedMessage {
  readonly from: string;
  readonly tag: MessageTag;
  /** The receiver's until `release`. */
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** A fault for a transport to bring about (chaos tests). */
export type TransportFault =
  /** Destroys the connections to and from a peer, or all. */
  | { readonly kind: "cut"; readonly peer?: string | undefined }
  /** Holds every outgoing frame back for a while. */
  | { readonly kind: "slow"; readonly delayMilliseconds: number; readonly durationMilliseconds: number }
  /** Flips a bit in each of the next frames, after their checksums were computed. */
  | { readonly kind: "corrupt"; readonly frames: number };

/**
 * Moves bytes between workers. Messages to one peer arrive in order or the link fails; a failed link stays failed for the epoch, since
 * what it lost cannot be told: the step is begun again under the next epoch, for which links are made anew.
 */
export interface Transport {
  /** Where peers reach this worker. */
  readonly address: string;
  /**
   * Sends a message. The payload belongs to the transport until the promise resolves (written out, not received).
   * @throws LinkError when the link is or gets broken, EpochEndedError when the tag's epoch is over
   */
  send(to: Peer, tag: MessageTag, payload: Uint8Array): Promise<void>;
  /** Called for every message of the current epoch or a later one, in order of arrival. One listener. */
  onMessage(listener: (message: ReceivedMessage) => void): void;
  /** Called once an epoch for each link that fails, in either direction. */
  onLinkFailure(listener: (peer: string, cause: string) => void): void;
  /** Gives a payload's memory back for reuse, and makes room for the peer's next messages. */
  release(message: ReceivedMessage): void;
  /** Begins an epoch: the peers that may connect, and that older messages are dropped. */
  beginEpoch(epoch: number, peers: readonly Peer[]): void;
  /** Brings a fault about. */
  inject(fault: TransportFault): void;
  /** Counters since the start. */
  statistics(): TransportStatistics;
  close(): Promise<void>;
}

/** What a transport counts. */
export interface TransportStatistics {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly messagesSent: number;
  readonly messagesReceived: number;
  /** Frames of past epochs, dropped. */
  readonly staleFrames: number;
  /** Connections that were closed because what came was no valid frame, or a stranger's. */
  readonly refusedConnections: number;
}
