import { generateTokens, modelFingerprint, type DecoderModel } from "@frugal/language-model";
import { memory } from "@frugal/tensor-core";
import { SplitClient, type NamedCodec } from "../client/split-client.ts";
import { inProcessTransport } from "../transport/in-process.ts";
import { webSocketTransport } from "../transport/web-socket.ts";
import type { Transport } from "../transport/connection.ts";
import { listenWebSocket } from "./listen-websocket.ts";
import { createSplitServer } from "./split-server.ts";
import type { SplitServer } from "./split-server-options.ts";

/** A load of conversations that all go on at the same time. */
export interface LoadOptions {
  /** Sessions at the same time. Default 64. */
  readonly sessions?: number;
  /** Connections that they share. Default 8. */
  readonly connections?: number;
  /** Tokens that each generates. Default 12. */
  readonly newTokens?: number;
  /** Prompt of each session. Default: of 1 to 12 tokens, all different. */
  readonly promptOf?: (session: number, vocabularySize: number) => readonly number[];
  /** Default 0.8, with a seed for each session. */
  readonly temperature?: number;
  /** Default float32, which changes no bit. */
  readonly codec?: NamedCodec;
  /** Default 1. */
  readonly splitBlock?: number;
  /** Sessions computed one by one within a step, so that each has the bits that it would have alone. Default true. */
  readonly exact?: boolean;
  /** Default "websocket". */
  readonly transport?: "in-process" | "websocket";
  /** Of the server. Default 64 MiB. */
  readonly cacheBytes?: number;
}

/** What became of a load. */
export interface LoadReport {
  readonly sessions: number;
  /** Sessions that were open at the same moment, each with its first token. */
  readonly concurrentSessions: number;
  /** Sessions whose tokens are those of the unsplit model with that prompt and seed, alone. */
  readonly identicalSessions: number;
  readonly tokens: number;
  /** Tokens of the prompts included. */
  readonly steps: number;
  /** Tokens generated a second, all sessions together, clients' half included. */
  readonly tokensPerSecond: number;
  /** Of the caches and kept prefixes, at the most. */
  readonly peakCacheBytes: number;
  readonly cacheBytesLimit: number;
  /** What the process grew by from before the server to the highest point, clients included. */
  readonly residentGrowthBytes: number;
  /** Tensors left over after everything was closed. 0. */
  readonly leakedAllocations: number;
}

/** Ids of a different beginning for each session. */
function variedPrompt(session: number, vocabularySize: number): number[] {
  const idAt = (index: number): number => (index === 0 ? 1 : 3 + ((session * 7919 + index * 104729) % (vocabularySize - 3)));
  return Array.from({ length: 1 + (session % 12) }, (_, index) => idAt(index));
}

/** What `model` alone says, without a network and others beside it. */
async function aloneTokens(model: DecoderModel, prompt: readonly number[], sampling: Sampling, newTokens: number): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of generateTokens(model, prompt, { ...sampling, maxNewTokens: newTokens })) ids.push(id);
  return ids;
}

interface Sampling {
  readonly temperature: number;
  readonly seed: number;
}

/** Lets everybody through once as many have come. */
class Barrier {
  #missing: number;
  readonly #passed = Promise.withResolvers<void>();

  constructor(count: number) {
    this.#missing = count;
  }

  /** @param onLast called by the last before all go on */
  async pass(onLast: () => void): Promise<void> {
    if (--this.#missing === 0) {
      onLast();
      this.#passed.resolve();
    }
    await this.#passed.promise;
  }
}

/** Runs server and clients in this process, and compares every token. `model` is whole, and stays the caller's. */
export async function runLoad(model: DecoderModel, options: LoadOptions = {}): Promise<LoadReport> {
  const {
    sessions = 64, connections = 8, newTokens = 12, promptOf = variedPrompt, temperature = 0.8, codec = { name: "float32" }, splitBlock = 1,
    exact = true, transport: kind = "websocket", cacheBytes = 64 << 20,
  } = options;
  const prompts = Array.from({ length: sessions }, (_, session) => promptOf(session, model.vocabularySize));
  const samplings = prompts.map((_, seed): Sampling => ({ temperature, seed }));
  const expected: number[][] = [];
  for (const [session, prompt] of prompts.entries()) expected.push(await aloneTokens(model, prompt, samplings[session]!, newTokens));

  const allocations = memory().allocations;
  const residentBefore = process.memoryUsage.rss();
  let [peakCacheBytes, peakResident] = [0, residentBefore];
  const server = createSplitServer({
    model, fingerprint: await modelFingerprint(model.config), exact,
    limits: { sessions, sessionsPerClient: sessions, cacheBytes, prefixBytes: cacheBytes >> 3, framesPerSecond: 1e5, bytesPerSecond: 1e9 },
  });
  const watch = setInterval(() => {
    peakCacheBytes = Math.max(peakCacheBytes, server.statistics().cacheBytes);
    peakResident = Math.max(peakResident, process.memoryUsage.rss());
  }, 20);
  const { transport, close } = await reach(server, kind);
  let concurrentSessions = 0;
  const barrier = new Barrier(sessions);
  const generate = async (client: SplitClient, session: number): Promise<number[]> => {
    const ids: number[] = [];
    let isWaiting = true;
    const wait = (): Promise<void> => {
      isWaiting = false;
      return barrier.pass(() => {
        concurrentSessions = server.statistics().sessions;
      });
    };
    for await (const { id } of client.generate(prompts[session]!, { ...samplings[session]!, maxNewTokens: newTokens })) {
      ids.push(id);
      if (isWaiting) await wait();
    }
    // One that ended with its first token does not keep the others waiting.
    if (isWaiting) await wait();
    return ids;
  };
  const clients: SplitClient[] = [];
  const began = performance.now();
  let found: number[][];
  let seconds: number;
  try {
    for (let index = 0; index < connections; index++) clients.push(await SplitClient.connect({ transport, model, codec, splitBlock }));
    found = await Promise.all(prompts.map((_, session) => generate(clients[session % connections]!, session)));
    seconds = (performance.now() - began) / 1000;
  } finally {
    clearInterval(watch);
    for (const client of clients) client.close();
    await close();
  }
  const { steps } = server.statistics();
  await server.close();
  const tokens = found.reduce((total, ids) => total + ids.length, 0);
  return {
    sessions, concurrentSessions, tokens, steps, tokensPerSecond: tokens / seconds,
    identicalSessions: found.filter((ids, session) => ids.join() === expected[session]!.join()).length,
    peakCacheBytes, cacheBytesLimit: cacheBytes, residentGrowthBytes: peakResident - residentBefore,
    leakedAllocations: memory().allocations - allocations,
  };
}

async function reach(server: SplitServer, kind: "in-process" | "websocket"): Promise<{ transport: Transport; close(): Promise<void> }> {
  if (kind === "in-process") return { transport: inProcessTransport(server), close: async () => {} };
  const listener = await listenWebSocket(server, { maxPayload: server.payloadBytes });
  return { transport: webSocketTransport(listener.url), close: () => listener.close() };
}
