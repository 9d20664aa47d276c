import type { SampledToken } from "@frugal/language-model";
import { FrameError } from "../errors.ts";
import { FRAME_FLAGS, type Frame } from "../wire/frame.ts";

/** A token that the server chose. */
export interface ServerToken extends SampledToken {
  /** Whether generation ends with it. */
  readonly isEnd: boolean;
}

/**
 * The token of a result: its id and the logarithm of its probability, uint32 and float32.
 * @throws FrameError when the frame holds something else, or an id outside the vocabulary
 */
export function tokenOf({ dtype, payload, flags }: Frame, vocabularySize: number): ServerToken {
  if (dtype !== "token" || payload.length !== 8) throw new FrameError(`a result of ${payload.length} bytes of ${dtype} is no token`);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const id = view.getUint32(0, true);
  if (id >= vocabularySize) throw new FrameError(`the server chose token ${id} of a vocabulary of ${vocabularySize}`);
  return { id, logProbability: view.getFloat32(4, true), isEnd: (flags & FRAME_FLAGS.endOfSequence) !== 0 };
}

/**
 * The numbers of a result, float32 [rows, width].
 * @throws FrameError when the frame holds something else
 */
export function rowsOf({ dtype, payload, tokens }: Frame, rows: number, width: number): Float32Array<ArrayBuffer> {
  if (dtype !== "float32" || tokens !== rows || payload.length !== rows * width * 4) {
    const got = `a result of ${payload.length} bytes of ${dtype} for ${tokens} rows`;
    throw new FrameError(`${got} is not the [${rows}, ${width}] float32 that are due`);
  }
  // A copy: the payload need not begin at a multiple of four, and its frame is let go.
  return new Float32Array(payload.slice().buffer);
}
