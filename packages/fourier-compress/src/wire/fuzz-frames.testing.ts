import { Worker } from "node:worker_threads";
import type { FuzzWorkerData } from "./fuzz-worker.testing.ts";

/** Settings of `fuzzFrames`. */
export interface FuzzOptions {
  /** How many frames, at the least. */
  readonly frames: number;
  /** Equal seeds give equal inputs. */
  readonly seed: number;
  /** The case to begin with, to repeat a crash: `{ seed, firstCase: crash.case, frames: 1 }`; some of the server need those before. */
  readonly firstCase?: number;
  /** Seconds that one case may take before it counts as a hang. Default 30. */
  readonly deadlineSeconds?: number;
}

/** An input that something broke on. */
export interface FuzzCrash {
  readonly case: number;
  readonly strategy: string;
  readonly error: string;
  /** The first 400 bytes of the input, in hexadecimal. */
  readonly input: string;
}

/** What a run found. */
export interface FuzzReport {
  readonly seed: number;
  readonly frames: number;
  /** Inputs that made sense after all, or were good ones. */
  readonly accepted: number;
  /** Inputs that were refused by this package's errors, or by the server's answer. */
  readonly refused: number;
  /** Frames read alone, codec messages, and frames sent to a live server. */
  readonly byKind: { readonly wire: number; readonly codec: number; readonly server: number };
  /** Errors of any other kind, tensors left behind, broken promises of the protocol, and hangs. */
  readonly crashes: readonly FuzzCrash[];
  /** The longest case: one input, or a conversation of up to 19 frames. */
  readonly slowestMilliseconds: number;
  /** The most memory in use above that of the beginning: of the heap after collection, and outside of it. */
  readonly peakGrowthBytes: number;
  /** The most bytes that were asked for at once of a typed array, buffer or list, whether or not they were got. Above 1 MiB is a crash. */
  readonly largestAllocationBytes: number;
  /** Growth of the peak of the memory of tensors. */
  readonly tensorGrowthBytes: number;
  readonly seconds: number;
}

/**
 * Feeds frames that are random, truncated, flipped, forged and absurd to the decoders of the wire and of every registered codec, and to a
 * live server of a tiny model. It runs in a thread of its own, so that an endless loop is seen and ended, and a heap that overflows is too.
 */
export async function fuzzFrames({ frames, seed, firstCase = 0, deadlineSeconds = 30 }: FuzzOptions): Promise<FuzzReport> {
  const progress = new Int32Array(new SharedArrayBuffer(4));
  const running = new Uint8Array(new SharedArrayBuffer(200));
  const workerData: FuzzWorkerData = { seed, frames, firstCase, progress, running };
  const worker = new Worker(new URL("fuzz-worker.testing.ts", import.meta.url), {
    workerData, execArgv: [], resourceLimits: { maxOldGenerationSizeMb: 512 },
  });
  const began = performance.now();
  const broken = (error: string): FuzzReport => ({
    seed, frames: 0, accepted: 0, refused: 0, byKind: { wire: 0, codec: 0, server: 0 },
    crashes: [
      { case: Atomics.load(progress, 0), strategy: new TextDecoder().decode(running.slice()).replace(/\0.*$/, ""), error, input: "" },
    ],
    slowestMilliseconds: deadlineSeconds * 1000, peakGrowthBytes: 0, largestAllocationBytes: 0, tensorGrowthBytes: 0,
    seconds: (performance.now() - began) / 1000,
  });
  let watch: ReturnType<typeof setInterval> | undefined;
  try {
    return await new Promise<FuzzReport>((resolve) => {
      worker.on("message", resolve);
      worker.on("error", (error) => resolve(broken(`the thread died: ${error instanceof Error ? error.message : String(error)}`)));
      worker.on("exit", (code) => resolve(broken(`the thread ended with code ${code}`)));
      let [last, since] = [-1, began];
      watch = setInterval(() => {
        const now = Atomics.load(progress, 0);
        if (now !== last) [last, since] = [now, performance.now()];
        else if (performance.now() - since > deadlineSeconds * 1000) resolve(broken(`no end within ${deadlineSeconds} seconds`));
      }, 500);
    });
  } finally {
    clearInterval(watch);
    await worker.terminate();
  }
}
