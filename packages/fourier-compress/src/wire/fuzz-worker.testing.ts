import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { parentPort, workerData } from "node:worker_threads";
import { watchAllocations } from "./fuzz-allocations.testing.ts";
import type { FuzzCrash, FuzzReport } from "./fuzz-frames.testing.ts";

// Before the modules under test are loaded.
const allocations = watchAllocations();
const { memory } = await import("@frugal/tensor-core");
const { fuzzCodec } = await import("./fuzz-codecs.testing.ts");
const { FuzzRandom } = await import("./fuzz-random.testing.ts");
const { FuzzServer } = await import("./fuzz-server.testing.ts");
const { fuzzWire } = await import("./fuzz-wire.testing.ts");

/** What the worker is told. */
export interface FuzzWorkerData {
  readonly seed: number;
  readonly frames: number;
  readonly firstCase: number;
  /** The number of the case that is running, for whoever looks whether it goes on. */
  readonly progress: Int32Array;
  /** Bytes of what is running, for reports of a hang. */
  readonly running: Uint8Array;
}

const MOST_CRASHES = 20;
/** Of 40 cases so many are of the wire alone, and of codecs; the last is a conversation of a dozen frames and more with a server. */
const [WIRE_CASES, CODEC_CASES, CASES] = [28, 11, 40];
const MEMORY_CASES = 256;
/** An allocation above it is out of proportion: no input is larger than 64 KiB, no cache of the model than 64 positions. */
const MOST_BYTES = 1 << 20;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

async function run({ seed, frames, firstCase, progress, running }: FuzzWorkerData): Promise<FuzzReport> {
  const server = await FuzzServer.start();
  const crashes: FuzzCrash[] = [];
  const byKind = { wire: 0, codec: 0, server: 0 };
  let [done, accepted, refused, slowest, peak] = [0, 0, 0, 0, 0];
  let [strategy, input]: [string, Uint8Array] = ["", new Uint8Array(0)];
  const began = performance.now();
  const encoder = new TextEncoder();
  const begin = (name: string, bytes: Uint8Array): void => {
    [strategy, input] = [name, bytes];
    running.fill(0);
    encoder.encodeInto(name, running);
  };
  const crash = (number: number, error: unknown): void => {
    crashes.push({
      case: number, strategy,
      error: error instanceof Error ? (error.stack ?? error.message).split("\n").slice(0, 6).join("\n") : String(error),
      input: Buffer.from(input.subarray(0, 400)).toString("hex"),
    });
  };
  let pending: unknown;
  process.on("unhandledRejection", (error) => (pending = error));
  collectGarbage();
  // Wasm memory counts among what lies outside of the heap.
  const used = (): number => process.memoryUsage().heapUsed + process.memoryUsage().external;
  const start = used();
  const tensorBytes = memory().peakBytes;
  let largest = 0;
  let number = firstCase;
  for (; done < frames && crashes.length < MOST_CRASHES; number++) {
    Atomics.store(progress, 0, number);
    const random = new FuzzRandom(seed, number);
    allocations.begin();
    const caseBegan = performance.now();
    const kind = number % CASES < WIRE_CASES ? "wire" : number % CASES < WIRE_CASES + CODEC_CASES ? "codec" : "server";
    try {
      if (kind === "server") {
        const outcome = await server.converse(random, begin);
        done += outcome.frames;
        byKind.server += outcome.frames;
        accepted += outcome.accepted;
        refused += outcome.refused;
      } else {
        const outcome = kind === "wire" ? fuzzWire(random, begin) : await fuzzCodec(random, server.samples, server.table, begin);
        done++;
        byKind[kind]++;
        if (outcome.accepted) accepted++;
        else refused++;
      }
      if (pending !== undefined) throw pending;
    } catch (error) {
      pending = undefined;
      done++;
      crash(number, error);
    }
    slowest = Math.max(slowest, performance.now() - caseBegan);
    const asked = allocations.largestBytes();
    largest = Math.max(largest, asked);
    if (asked > MOST_BYTES) crash(number, new Error(`${asked} bytes were asked for at once`));
    if (number % MEMORY_CASES === 0) {
      collectGarbage();
      peak = Math.max(peak, used() - start);
      // Lets timers run, as those that expire sessions.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }
  Atomics.store(progress, 0, number);
  begin("after all", new Uint8Array(0));
  try {
    await server.stop();
  } catch (error) {
    crash(number, error);
  }
  return {
    seed, frames: done, accepted, refused, byKind, crashes, slowestMilliseconds: slowest, peakGrowthBytes: peak,
    largestAllocationBytes: largest, tensorGrowthBytes: memory().peakBytes - tensorBytes, seconds: (performance.now() - began) / 1000,
  };
}

parentPort!.postMessage(await run(workerData as FuzzWorkerData));
