import { SettingsError, StateTransferError } from "../errors.ts";
import type { Mailbox } from "../transport/mailbox.ts";
import type { MessageTag, Peer, Transport } from "../transport/transport.ts";

/** What an all-reduce runs over. */
export interface RingAllReduceOptions {
  readonly transport: Transport;
  /** The one that listens to the transport. */
  readonly mailbox: Mailbox;
  readonly epoch: number;
  readonly step: number;
  /** Tells all-reduces of the same step apart: the group's number, the same at every participant. */
  readonly channel: number;
  /** Everybody that takes part, this worker included, in the same order everywhere: it is the order of the ring and of summation. */
  readonly participants: readonly Peer[];
  /** This worker's place among them. */
  readonly rank: number;
  /** Bytes of a frame; a chunk travels in as many as it needs, so that adding and sending overlap. A multiple of 4. Default 1 MiB. */
  readonly frameBytes?: number;
}

/** Sequences of one all-reduce: phase and round times this, plus the frame. */
const FRAMES_A_ROUND = 65_536;

/**
 * Sums a buffer over all participants, in place: a ring of reduce-scatter and all-gather. With N participants the buffer is cut into N
 * chunks of ceil(length / N) elements (the last ones shorter or empty). In round k, rank r sends chunk (r − k) mod N and adds its own to
 * chunk (r − k − 1) mod N that it receives; so chunk c is summed in the order of ranks c, c + 1, …, and every rank gets the same bits
 * (`ringReduceInOrder`). Sent per rank: 2 (N − 1) / N of the buffer.
 *
 * The buffer belongs to the all-reduce until the promise settles. After a failure its content is arbitrary.
 * @throws EpochEndedError, LinkError, SettingsError; StateTransferError when a participant's buffer has another length
 */
export async function ringAllReduce(buffer: Float32Array, options: RingAllReduceOptions): Promise<void> {
  const { participants, rank, frameBytes = 1024 * 1024 } = options;
  const size = participants.length;
  if (!Number.isInteger(rank) || rank < 0 || rank >= size) throw new SettingsError(`all-reduce: rank ${rank} of ${size} participants`);
  if (size === 1) return;
  const frameElements = frameBytes / 4;
  const chunkElements = Math.ceil(buffer.length / size);
  if (!Number.isInteger(frameElements) || frameElements < 1 || Math.ceil(chunkElements / frameElements) > FRAMES_A_ROUND) {
    throw new SettingsError(`all-reduce: frames of ${frameBytes} bytes for ${buffer.length} elements; `
      + "use a multiple of 4 bytes, up to 65,536 frames a chunk");
  }
  const ring = new Ring(buffer, options, chunkElements, frameElements);
  try {
    for (let round = 0; round < size - 1; round++) await ring.pass(round, rank - round, true);
    for (let round = 0; round < size - 1; round++) await ring.pass(size - 1 + round, rank + 1 - round, false);
    await ring.flushed();
  } catch (error) {
    await ring.abandon();
    throw error;
  }
}

/** The sums that `ringAllReduce` gives, of the participants' buffers, in one process: bit for bit the same. */
export function ringReduceInOrder(buffers: readonly Float32Array[]): Float32Array {
  const size = buffers.length;
  const length = buffers[0]?.length ?? 0;
  const chunkElements = Math.ceil(length / size);
  const sum = new Float32Array(length);
  for (let chunk = 0; chunk < size; chunk++) {
    const [from, to] = [Math.min(length, chunk * chunkElements), Math.min(length, (chunk + 1) * chunkElements)];
    sum.set(buffers[chunk]!.subarray(from, to), from);
    for (let k = 1; k < size; k++) addInto(sum.subarray(from, to), buffers[(chunk + k) % size]!.subarray(from, to));
  }
  return sum;
}

function addInto(target: Float32Array, summand: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] = target[i]! + summand[i]!;
}

class Ring {
  readonly #buffer: Float32Array;
  readonly #options: RingAllReduceOptions;
  readonly #chunkElements: number;
  readonly #frameElements: number;
  readonly #next: Peer;
  readonly #previous: Peer;
  /**
   * Sends begun. Nothing is overwritten before it was written out: what a chunk is overwritten with in the all-gather is a sum that our own
   * part of it had to reach the next rank for.
   */
  readonly #sends: Promise<void>[] = [];
  #failure: unknown;

  constructor(buffer: Float32Array, options: RingAllReduceOptions, chunkElements: number, frameElements: number) {
    const { participants, rank } = options;
    this.#buffer = buffer;
    this.#options = options;
    this.#chunkElements = chunkElements;
    this.#frameElements = frameElements;
    this.#next = participants[(rank + 1) % participants.length]!;
    this.#previous = participants[(rank + participants.length - 1) % participants.length]!;
  }

  /**
   * One round: chunk `sent` to the next rank, the chunk before it from the previous rank. In the first round what is sent is sent at once;
   * in later ones it was sent frame by frame while it was received, since a round sends what the one before received.
   */
  async pass(round: number, sent: number, adding: boolean): Promise<void> {
    const { mailbox, transport, participants } = this.#options;
    if (round === 0) this.#frames(sent).forEach((frame, i) => {
      this.#send(frame, round, i);
    });
    const last = round === 2 * (participants.length - 1) - 1;
    for (const [i, frame] of this.#frames(sent - 1).entries()) {
      const message = await mailbox.receive(this.#previous.id, this.#tag(round, i));
      if (this.#failure !== undefined) {
        transport.release(message);
        throw this.#failure;
      }
      const { payload } = message;
      if (payload.byteLength !== frame.byteLength) {
        transport.release(message);
        throw new StateTransferError(`all-reduce of channel ${this.#options.channel} at step ${this.#options.step}: `
          + `${this.#previous.id} sent ${payload.byteLength} bytes where ${frame.byteLength} belong; its buffer has another length`);
      }
      const received = new Float32Array(payload.buffer, payload.byteOffset, frame.length);
      if (adding) addInto(frame, received);
      else frame.set(received);
      transport.release(message);
      if (!last) this.#send(frame, round + 1, i);
    }
  }

  /** Waits until everything was written out. */
  async flushed(): Promise<void> {
    await Promise.all(this.#sends);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /**
   * Waits until the transport refers to the buffer no more, which it does until frames that were begun are written out or their link ends:
   * a caller that overwrote them earlier would make a healthy link fail by its checksum.
   */
  async abandon(): Promise<void> {
    await Promise.all(this.#sends);
  }

  #send(frame: Float32Array, round: number, index: number): void {
    const { transport } = this.#options;
    const bytes = new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength);
    this.#sends.push(transport.send(this.#next, this.#tag(round, index), bytes).catch((error: unknown) => {
      this.#failure ??= error;
    }));
  }

  #tag(round: number, frame: number): MessageTag {
    const { epoch, step, channel } = this.#options;
    return { kind: "reduce", epoch, step, channel, sequence: round * FRAMES_A_ROUND + frame };
  }

  #frames(chunk: number): Float32Array[] {
    const size = this.#options.participants.length;
    const number = ((chunk % size) + size) % size;
    const end = Math.min(this.#buffer.length, (number + 1) * this.#chunkElements);
    const frames: Float32Array[] = [];
    for (let from = number * this.#chunkElements; from < end; from += this.#frameElements) {
      frames.push(this.#buffer.subarray(from, Math.min(end, from + this.#frameElements)));
    }
    return frames;
  }
}
