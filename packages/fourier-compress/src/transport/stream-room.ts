import type { Writable } from "node:stream";

/**
 * Waits while more than `highWaterMark` bytes are held for a stream's slow reader; also ends with the stream. However many wait, the
 * stream has one set of listeners.
 */
export function roomOf(stream: Writable, highWaterMark: number): () => Promise<void> {
  let waiting: Promise<void> | undefined;
  return async () => {
    if (stream.destroyed || !stream.writableNeedDrain || stream.writableLength <= highWaterMark) return;
    waiting ??= new Promise<void>((resolve) => {
      const done = (): void => {
        stream.off("drain", done);
        stream.off("close", done);
        waiting = undefined;
        resolve();
      };
      stream.on("drain", done);
      stream.on("close", done);
    });
    await waiting;
  };
}
