import { ConnectionError } from "../errors.ts";
import { DEFAULT_FRAME_LIMITS } from "../wire/frame.ts";

/** What transports over a network share. */
export interface NetworkOptions {
  /** Largest payload of a frame that is received. Default 64 MiB. */
  readonly payloadBytes?: number;
  /** Bytes that may wait to be sent before `send` waits. Default 1 MiB. */
  readonly highWaterMark?: number;
  /**
   * Bytes of received frames that may wait to be asked for. Transports that can make their network wait do so far below it; the others
   * (WebSockets and data channels of browsers) fail the connection beyond it. Default: one frame of the largest size and 16 MiB.
   */
  readonly receiveBytes?: number;
  /** Seconds in which a connection has to be there. Default 15. */
  readonly connectSeconds?: number;
}

/** `NetworkOptions` with their defaults. */
export function networkOptions(options: NetworkOptions): Required<NetworkOptions> {
  const { payloadBytes = DEFAULT_FRAME_LIMITS.payloadBytes, highWaterMark = 1 << 20, connectSeconds = 15 } = options;
  return { payloadBytes, highWaterMark, connectSeconds, receiveBytes: options.receiveBytes ?? payloadBytes + (16 << 20) };
}

/**
 * What `start` settles to, unless the signal aborts or the time runs out first: then `abandon` frees what was begun.
 * @throws ConnectionError
 */
export function connecting<Value>(
  url: string,
  { seconds, signal, abandon }: { readonly seconds: number; readonly signal: AbortSignal | undefined; readonly abandon: () => void },
  start: (resolve: (value: Value) => void, reject: (error: Error) => void) => void,
): Promise<Value> {
  return new Promise((resolve, reject) => {
    let settled = false;
    const finish = (): void => {
      settled = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
    const fail = (error: Error): void => {
      if (settled) return;
      finish();
      abandon();
      reject(error);
    };
    const abort = (): void => fail(new ConnectionError(`connecting to ${url} was aborted`, { cause: signal?.reason }));
    const timer = setTimeout(() => fail(new ConnectionError(`${url} did not answer within ${seconds} seconds`)), seconds * 1000);
    if (signal?.aborted) {
      abort();
      return;
    }
    signal?.addEventListener("abort", abort);
    start((value) => {
      if (settled) return;
      finish();
      resolve(value);
    }, fail);
  });
}
