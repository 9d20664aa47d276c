/** stories15M by fourier-compress: a client here and a server in a process of its own, one thread each, over WebSockets on this machine. */
import { setThreads } from "@frugal/tensor-core";
import {
  generateTokens, loadLlamaTokenizer, loadModel, openStories15m, type DecoderModel, type SampledToken,
} from "@frugal/language-model";
import { calibrateModel, codecDefinition, sampleSequences, type CodecTable, type SplitClient } from "@frugal/fourier-compress";
import fourierCompress from "@frugal/fourier-compress/package.json" with { type: "json" };
import { connectToSplitServer, loadDeviceHalf, startSplitServer } from "../fourier-compress/split-stories.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";
import { prompt } from "./frugal-generation.ts";

async function loadWhole(): Promise<DecoderModel> {
  const source = await openStories15m();
  try {
    return await loadModel(source);
  } finally {
    await source.close();
  }
}

let table: Promise<CodecTable> | undefined;

/** A table from stories that the model tells. */
async function calibrate(): Promise<CodecTable> {
  using model = await loadWhole();
  const stories = await sampleSequences(model, model.config.bosTokenId!, { count: 30, maxTokens: 200, seed: 1 });
  return await calibrateModel(model, stories, { model: "stories15M", splitBlock: 1 });
}

async function ids(tokens: AsyncIterable<SampledToken>): Promise<number[]> {
  const found: number[] = [];
  for await (const { id } of tokens) found.push(id);
  return found;
}

const greedy = { temperature: 0, stopTokenIds: [] };

async function prepareGeneration({ tokens, codec, mode }: Extract<Task, { kind: "splitGenerate" }>): Promise<Prepared> {
  const promptIds = (await loadLlamaTokenizer()).encode(prompt);
  const options = { ...greedy, maxNewTokens: tokens };
  if (codec === undefined) {
    const model = await loadWhole();
    const run = (): Promise<number[]> => ids(generateTokens(model, promptIds, options));
    return { runAsync: async () => void (await run()), sample: run, dispose: () => model.dispose() };
  }
  const needed = codecDefinition(codec).needsTable ? await (table ??= calibrate()) : undefined;
  const [server, model] = await Promise.all([startSplitServer({ table: needed }), loadDeviceHalf()]);
  const client = await connectToSplitServer(server.url, model, { codec, mode, table: needed });
  const run = (): Promise<number[]> => ids(client.generate(promptIds, options));
  return {
    runAsync: async () => void (await run()),
    // What a lossy codec's tokens are is measured elsewhere.
    sample: async () => (codec === "float32" ? await run() : []),
    dispose: async () => {
      client.close();
      model.dispose();
      await server.close();
    },
  };
}

async function prepareSessions({ sessions, tokens, batching }: Extract<Task, { kind: "serveSessions" }>): Promise<Prepared> {
  const promptIds = (await loadLlamaTokenizer()).encode(prompt);
  const [server, model] = await Promise.all([startSplitServer({ batching }), loadDeviceHalf()]);
  const clients: SplitClient[] = [];
  for (let i = 0; i < sessions; i++) clients.push(await connectToSplitServer(server.url, model, { codec: "float16" }));
  const run = async (): Promise<number[][]> =>
    await Promise.all(clients.map((client) => ids(client.generate(promptIds, { ...greedy, maxNewTokens: tokens }))));
  return {
    runAsync: async () => void (await run()),
    sample: async () => {
      const lengths = (await run()).map(({ length }) => length);
      if (lengths.some((length) => length !== tokens)) throw new Error(`sessions gave ${lengths.join(", ")} tokens`);
      return [];
    },
    dispose: async () => {
      for (const client of clients) client.close();
      model.dispose();
      await server.close();
    },
  };
}

async function prepare(task: Task): Promise<Prepared | undefined> {
  if (task.kind === "splitGenerate") return await prepareGeneration(task);
  if (task.kind === "serveSessions") return await prepareSessions(task);
  return undefined;
}

export const adapter: Adapter = {
  async open(threads) {
    setThreads(threads);
    return { version: fourierCompress.version, prepare };
  },
};
