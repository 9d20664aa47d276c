import { ConnectionError, SettingsError } from "../errors.ts";
import type { Connection, Transport } from "./connection.ts";
import { FrameCutter } from "./frame-cutter.ts";
import { FrameQueue } from "./frame-queue.ts";
import { connecting, networkOptions, type NetworkOptions } from "./transport-options.ts";

/** What is used of an RTCDataChannel: those of browsers, and of packages that bring WebRTC to Node. */
export interface DataChannelLike {
  binaryType: string;
  readonly label: string;
  readonly readyState: string;
  readonly ordered: boolean;
  readonly maxRetransmits: number | null;
  readonly maxPacketLifeTime: number | null;
  readonly bufferedAmount: number;
  bufferedAmountLowThreshold: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(): void;
  addEventListener(type: string, listener: (event: Event) => void): void;
  removeEventListener(type: string, listener: (event: Event) => void): void;
}

/** Largest message that every implementation carries. */
const PIECE_BYTES = 16 << 10;

function checkChannel(channel: DataChannelLike): void {
  if (channel.ordered && channel.maxRetransmits === null && channel.maxPacketLifeTime === null) return;
  const detail = "make it without the settings ordered, maxRetransmits and maxPacketLifeTime";
  throw new SettingsError(`data channel ${channel.label} is not ordered and reliable; ${detail}`);
}

/**
 * A connection over one data channel, on either end: `server.accept(dataChannelConnection(channel))` serves. Frames are cut into messages
 * of 16 KiB, and cut out of the stream of messages by their lengths. Sending waits for the channel's buffer; receiving cannot, so that more
 * than `receiveBytes` of frames that nobody asked for fail the connection.
 * @throws SettingsError for a channel that may lose or reorder messages
 */
export function dataChannelConnection(channel: DataChannelLike, options: NetworkOptions = {}): Connection {
  checkChannel(channel);
  const { payloadBytes, highWaterMark, receiveBytes } = networkOptions(options);
  const cutter = new FrameCutter({ payloadBytes });
  const queue = new FrameQueue();
  let closed = false;
  /** Frames are sent one after the other, however many callers there are. */
  let sending: Promise<void> = Promise.resolve();
  const fail = (error: Error): void => {
    queue.end(error);
    channel.close();
  };
  channel.binaryType = "arraybuffer";
  channel.bufferedAmountLowThreshold = highWaterMark / 2;
  channel.addEventListener("message", (event) => {
    const data: unknown = (event as MessageEvent<unknown>).data;
    if (queue.ended) return;
    if (!(data instanceof ArrayBuffer)) {
      fail(new ConnectionError("a text message came over the data channel; frames are binary"));
      return;
    }
    try {
      cutter.push(new Uint8Array(data), (frame) => queue.push(frame));
    } catch (error) {
      fail(error as Error);
      return;
    }
    if (queue.bytes > receiveBytes) {
      const detail = `${queue.bytes} bytes of frames wait to be received, more than ${receiveBytes}`;
      fail(new ConnectionError(`${detail}, and data channels cannot be paused`));
    }
  });
  let failure: Error | undefined;
  channel.addEventListener("error", (event) => {
    const { error } = event as Event & { error?: unknown };
    const detail = error instanceof Error ? error.message : "unknown cause";
    failure ??= new ConnectionError(`the data channel failed: ${detail}`, { cause: error });
  });
  channel.addEventListener("close", () => {
    const cut = cutter.heldBytes > 0 ? new ConnectionError(`the data channel ended ${cutter.heldBytes} bytes into a frame`) : undefined;
    queue.end(failure ?? cut);
  });
  const isOpen = (): boolean => !closed && !queue.ended && channel.readyState === "open";
  const room = (): Promise<void> => new Promise((resolve) => {
    const done = (): void => {
      channel.removeEventListener("bufferedamountlow", done);
      channel.removeEventListener("close", done);
      resolve();
    };
    channel.addEventListener("bufferedamountlow", done);
    channel.addEventListener("close", done);
    if (channel.bufferedAmount <= channel.bufferedAmountLowThreshold || !isOpen()) done();
  });
  const write = async (frame: Uint8Array): Promise<void> => {
    for (let offset = 0; offset < frame.length; offset += PIECE_BYTES) {
      if (!isOpen()) throw new ConnectionError("the data channel has ended", { cause: failure });
      channel.send(frame.subarray(offset, offset + PIECE_BYTES) as Uint8Array<ArrayBuffer>);
      if (channel.bufferedAmount > highWaterMark) await room();
    }
  };
  return {
    peer: `data channel ${channel.label}`,
    send(frame) {
      const sent = sending.then(() => write(frame));
      sending = sent.catch(() => {});
      return sent;
    },
    receive: () => queue.receive(),
    close() {
      closed = true;
      queue.discard();
      channel.close();
    },
  };
}

/**
 * Connects by a WebRTC data channel that the caller has negotiated, ordered and reliable. A function makes another one to reconnect; a
 * single channel connects once.
 */
export function dataChannelTransport(channel: DataChannelLike | (() => Promise<DataChannelLike>), options: NetworkOptions = {}): Transport {
  let used = false;
  return async ({ signal } = {}) => {
    if (typeof channel !== "function" && used) {
      throw new ConnectionError(`data channel ${channel.label} was used before; give a function to reconnect`);
    }
    used = true;
    const opened = typeof channel === "function" ? await channel() : channel;
    const connection = dataChannelConnection(opened, options);
    if (opened.readyState === "open") return connection;
    const { connectSeconds: seconds } = networkOptions(options);
    return connecting(`data channel ${opened.label}`, { seconds, signal, abandon: () => opened.close() }, (resolve, reject) => {
      opened.addEventListener("open", () => resolve(connection));
      opened.addEventListener("close", () => reject(new ConnectionError(`data channel ${opened.label} was closed before it was open`)));
      if (opened.readyState !== "connecting") reject(new ConnectionError(`data channel ${opened.label} is closed`));
    });
  };
}
