import { setImmediate as nextTurn } from "node:timers/promises";
import { z } from "zod";
import { StateTransferError } from "../errors.ts";
import type { Mailbox } from "../transport/mailbox.ts";
import type { MessageTag, Peer, ReceivedMessage, Transport } from "../transport/transport.ts";
import { decodeState, encodeState, parseStateHeader, STATE_CHUNK_BYTES, type EncodedState, type StateHeader } from "./state-encoding.ts";
import type { StageReplica } from "./stage-replica.ts";
import type { StageState } from "./stage-state.ts";

/** Which chunks a donor is asked for: every `of`th from `first`, those that are there already left out. */
interface StateRequest {
  readonly first: number;
  readonly of: number;
  readonly have: readonly number[];
}

const requestSchema: z.ZodType<StateRequest> = z.object({
  first: z.int().min(0).max(64), of: z.int().min(1).max(64), have: z.array(z.int().min(0)).max(1 << 20),
});

/** The header travels as this chunk; the state's own are counted from 1. */
const HEADER = 0;
/** A stage of 65536 parameters is described in less. */
const HEADER_BYTES = 16 << 20;

/** Options of `StateDonor` and `fetchState`. */
export interface TransferLinks {
  readonly transport: Transport;
  readonly mailbox: Mailbox;
}

/** Gives stages' state to whoever of the epoch's members asks. Nothing is written into a state while its epoch has not taken a step. */
export class StateDonor {
  readonly #links: TransferLinks;
  readonly #replicaOf: (stage: number) => StageReplica | undefined;
  readonly #encoded = new Map<number, Promise<EncodedState>>();
  #epoch = -1;
  #peers = new Map<string, Peer>();

  /** @param replicaOf what is held at present */
  constructor(links: TransferLinks, replicaOf: (stage: number) => StageReplica | undefined) {
    this.#links = links;
    this.#replicaOf = replicaOf;
    links.mailbox.handle("stateRequest", (message) => {
      const { from, tag } = message;
      const request = readRequest(message);
      links.transport.release(message);
      if (request !== undefined) void this.#serve(from, tag, request);
    });
  }

  /** Copies for an older epoch are of older weights. Before the transport begins the epoch. */
  beginEpoch(epoch: number, peers: readonly Peer[]): void {
    this.#epoch = epoch;
    this.#peers = new Map(peers.map((peer) => [peer.id, peer]));
    this.#encoded.clear();
  }

  /** A step is about to be taken: nobody can still be fetching. */
  release(): void {
    this.#encoded.clear();
  }

  async #serve(from: string, tag: MessageTag, { first, of, have }: StateRequest): Promise<void> {
    const peer = this.#peers.get(from);
    if (peer === undefined || tag.epoch !== this.#epoch) return;
    const { transport } = this.#links;
    // A request that came early is handed out while the epoch begins, a moment before the transport follows.
    await nextTurn();
    const reply = (sequence: number): MessageTag => ({ ...tag, kind: "state", sequence });
    try {
      const replica = this.#replicaOf(tag.channel);
      if (replica === undefined || replica.step !== tag.step) {
        // An empty description: not here.
        await transport.send(peer, reply(HEADER), new Uint8Array(0));
        return;
      }
      let encoding = this.#encoded.get(tag.channel);
      if (encoding === undefined) this.#encoded.set(tag.channel, (encoding = replica.state().then(encodeState)));
      const { header, bytes } = await encoding;
      await transport.send(peer, reply(HEADER), new TextEncoder().encode(JSON.stringify(header)));
      const known = new Set(have);
      for (let chunk = first; chunk * STATE_CHUNK_BYTES < bytes.byteLength; chunk += of) {
        if (known.has(chunk)) continue;
        // A copy: the transport owns what it is given.
        await transport.send(peer, reply(chunk + 1), bytes.slice(chunk * STATE_CHUNK_BYTES, (chunk + 1) * STATE_CHUNK_BYTES));
      }
    } catch {
      // The link failed or the epoch is over: the one who asked learns it as well, and asks again.
    }
  }
}

function readRequest({ payload }: ReceivedMessage): StateRequest | undefined {
  if (payload.byteLength > HEADER_BYTES) return undefined;
  try {
    return requestSchema.parse(JSON.parse(new TextDecoder().decode(payload)));
  } catch {
    return undefined;
  }
}

/** What of a stage's state has arrived: kept over epochs, so that a broken fetch goes on where it was. */
export class PartialState {
  header: StateHeader | undefined;
  bytes: Uint8Array<ArrayBuffer> | undefined;
  /** Numbers of the chunks that are in `bytes`. */
  readonly chunks: Set<number> = new Set();

  /** @throws StateTransferError for a state other than the one expected */
  begin(header: StateHeader, expected: Pick<StateHeader, "stage" | "step" | "byteLength">): Uint8Array<ArrayBuffer> {
    for (const name of ["stage", "step", "byteLength"] as const) {
      if (header[name] === expected[name]) continue;
      throw new StateTransferError(`stage ${expected.stage}: the donor has ${name} ${header[name]}, expected ${expected[name]}`);
    }
    if (this.header?.checksum === header.checksum && this.header.step === header.step) return this.bytes!;
    if (this.header?.step === header.step) {
      this.forget();
      throw new StateTransferError(`stage ${expected.stage}: two donors have different states of step ${header.step}`);
    }
    this.header = header;
    this.chunks.clear();
    return (this.bytes = new Uint8Array(header.byteLength));
  }

  /** What arrived is of no use: the next attempt begins at the beginning. */
  forget(): void {
    this.header = undefined;
    this.bytes = undefined;
    this.chunks.clear();
  }
}

/** What `fetchState` is to fetch. */
export interface StateWish {
  readonly stage: number;
  readonly epoch: number;
  readonly step: number;
  /** Of weights and moments, as the receiver's own configuration gives it. */
  readonly byteLength: number;
  /** One or several; each sends a share. */
  readonly donors: readonly Peer[];
  /** Milliseconds without a chunk after which a donor is given up. */
  readonly stall: number;
  readonly partial: PartialState;
}

/** What `fetchState` gives. */
export interface FetchedState {
  readonly state: StageState;
  /** Bytes that each donor sent, descriptions included. */
  readonly received: ReadonlyMap<string, number>;
}

/**
 * A stage's state from peers that hold it, chunk by chunk.
 * @throws StateTransferError naming the donor when it does not have it, sends something else, or stalls; LinkError, EpochEndedError
 */
export async function fetchState({ transport, mailbox }: TransferLinks, wish: StateWish): Promise<FetchedState> {
  const { stage, epoch, step, byteLength, donors, partial } = wish;
  const received = new Map(donors.map(({ id }) => [id, 0]));
  const tag = (kind: "stateRequest" | "state", sequence: number): MessageTag => ({ kind, epoch, step, channel: stage, sequence });
  const receive = async <Result>(donor: Peer, sequence: number, use: (payload: Uint8Array) => Result): Promise<Result> => {
    const message = await stalling(mailbox.receive(donor.id, tag("state", sequence)), wish.stall, () =>
      new StateTransferError(`stage ${stage}: ${donor.id} has sent nothing for ${wish.stall} ms`, { peer: donor.id }));
    received.set(donor.id, received.get(donor.id)! + message.payload.byteLength);
    try {
      return use(message.payload);
    } finally {
      transport.release(message);
    }
  };
  await Promise.all(donors.map(async (donor, first) => {
    const request: StateRequest = { first, of: donors.length, have: [...partial.chunks] };
    // A donor that cannot be reached is waited for only as long as the epoch lasts.
    await mailbox.within(epoch, transport.send(donor, tag("stateRequest", first), new TextEncoder().encode(JSON.stringify(request))));
    const header = await receive(donor, HEADER, (payload) => {
      if (payload.byteLength > HEADER_BYTES) {
        throw new StateTransferError(`stage ${stage}: ${donor.id} describes it in ${payload.byteLength} bytes`, { peer: donor.id });
      }
      return payload.byteLength === 0 ? undefined : parseStateHeader(payload);
    });
    if (header === undefined) {
      throw new StateTransferError(`stage ${stage}: ${donor.id} does not hold step ${step} of it`, { peer: donor.id });
    }
    const bytes = partial.begin(header, { stage, step, byteLength });
    const had = new Set(request.have);
    for (let chunk = first; chunk * STATE_CHUNK_BYTES < byteLength; chunk += donors.length) {
      if (had.has(chunk)) continue;
      await receive(donor, chunk + 1, (payload) => {
        const room = Math.min(STATE_CHUNK_BYTES, byteLength - chunk * STATE_CHUNK_BYTES);
        if (payload.byteLength !== room) {
          const detail = `chunk ${chunk} of ${donor.id} has ${payload.byteLength} bytes, expected ${room}`;
          throw new StateTransferError(`stage ${stage}: ${detail}`, { peer: donor.id });
        }
        bytes.set(payload, chunk * STATE_CHUNK_BYTES);
        partial.chunks.add(chunk);
      });
    }
  }));
  try {
    return { state: decodeState(partial.header!, partial.bytes!), received };
  } catch (error) {
    partial.forget();
    throw error;
  }
}

/** @throws what `late` makes when the promise takes longer */
function stalling<Result>(promise: Promise<Result>, milliseconds: number, late: () => Error): Promise<Result> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(late());
    }, milliseconds);
    promise.then(resolve, reject).finally(() => {
      clearTimeout(timer);
    });
  });
}
