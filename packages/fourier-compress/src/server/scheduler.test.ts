import { memory, type Tensor } from "@frugal/tensor-core";
import type { BlockContext, DecoderModel } from "@frugal/language-model";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { controlFrame, type ControlMessages } from "../wire/control-messages.ts";
import { FRAME_FLAGS, type Frame } from "../wire/frame.ts";
import { tinyModel } from "../tiny-model.testing.ts";
import { expectAllocations, RawClient, RawStream, testServer, tokenOf, valuesOf, wholeLogits } from "./split-server.testing.ts";
import type { SplitServer, SplitServerOptions } from "./split-server-options.ts";

let before = 0;
let model: DecoderModel;
let server: SplitServer;
let fingerprint: string;

async function start(options: Partial<SplitServerOptions> = {}): Promise<void> {
  ({ server, fingerprint } = await testServer(model, options));
}

beforeEach(() => {
  before = memory().allocations;
  model = tinyModel();
});

afterEach(async () => {
  await server.close();
  model.dispose();
  expectAllocations(before);
});

/** A value of the text exposition. */
async function metric(name: string): Promise<number> {
  const line = (await server.metrics()).split("\n").find((each) => each.startsWith(`fourier_compress_${name} `));
  return Number(line?.split(" ")[1]);
}

/** Sessions with prompts of different lengths, on one connection; their frames of one round are sent at once. */
class Conversations {
  readonly client: RawClient;
  readonly opened: ControlMessages["opened"][] = [];
  readonly streams: RawStream[] = [];

  constructor(client: RawClient) {
    this.client = client;
  }

  static async open(count: number, changes: (index: number) => Partial<ControlMessages["open"]> = () => ({})): Promise<Conversations> {
    const all = new Conversations(await RawClient.connect(server));
    for (let index = 0; index < count; index++) {
      const own = changes(index);
      const opened = await all.client.open(fingerprint, own);
      all.opened.push(opened);
      all.streams.push(new RawStream(model, opened.session, { splitBlock: own.splitBlock ?? 1 }));
    }
    return all;
  }

  /** Results in the order of the sessions. */
  async round(pieces: readonly (readonly number[])[], flags: number = FRAME_FLAGS.value): Promise<Frame[]> {
    const frames = await Promise.all(this.streams.map((stream, index) => stream.frame(pieces[index]!, flags)));
    for (const frame of frames) await this.client.send(frame);
    const results: Frame[] = [];
    for (const _ of frames) {
      const result = await this.client.result();
      results[this.opened.findIndex(({ session }) => session === result.session)] = result;
    }
    return results;
  }

  dispose(): void {
    for (const stream of this.streams) stream.dispose();
  }
}

const prompts = [[1, 5, 9], [1, 8], [1, 5, 9, 7, 22, 40, 3], [1], [1, 2, 3, 4]];
const followers = [[11], [12], [13], [14, 15], [16]];

describe("steps of several sessions", () => {
  it("compute what each would alone, within rounding", async () => {
    await start();
    // Different splits, too: those are computed by groups.
    const all = await Conversations.open(5, (index) => ({ splitBlock: index === 4 ? 2 : 1 }));
    const first = await all.round(prompts);
    const second = await all.round(followers);
    all.dispose();
    for (const [index, prompt] of prompts.entries()) {
      const whole = await wholeLogits(model, prompt, followers[index]!);
      valuesOf(first[index]!).forEach((value, column) => expect(Math.abs(value - whole[0]![column]!)).toBeLessThan(1e-4));
      valuesOf(second[index]!).forEach((value, column) => expect(Math.abs(value - whole[1]![column]!)).toBeLessThan(1e-4));
    }
    expect(server.statistics().steps).toBeLessThan(6);
    await expect.poll(() => metric("step_sessions_sum")).toBe(10);
    expect(await metric("tokens_total")).toBe(17 + 6);
  });

  it("compute the same bits as alone when that is asked for", async () => {
    await start({ exact: true });
    const all = await Conversations.open(5);
    const results = [await all.round(prompts), await all.round(followers)];
    all.dispose();
    for (const [index, prompt] of prompts.entries()) {
      const whole = await wholeLogits(model, prompt, followers[index]!);
      expect(results.map((round) => valuesOf(round[index]!))).toEqual(whole);
    }
    expect(server.statistics().steps).toBeLessThan(6);
  });

  it("mix results of all kinds", async () => {
    await start();
    const kinds = ["logits", "hidden", "token", "token", "hidden"] as const;
    const all = await Conversations.open(5, (index) => ({ result: kinds[index]! }));
    const results = await all.round(prompts);
    all.dispose();
    expect(results.map(({ dtype, payload }) => [dtype, payload.length])).toEqual([
      ["float32", 244], ["float32", 128], ["token", 8], ["token", 8], ["float32", 128],
    ]);
    for (const index of [2, 3]) {
      const [logits] = await wholeLogits(model, prompts[index]!);
      const { id, logProbability } = tokenOf(results[index]!);
      expect(id).toBe(logits!.indexOf(Math.max(...logits!)));
      const total = logits!.reduce((sum, value) => sum + Math.exp(value), 0);
      expect(logProbability).toBeCloseTo(logits![id]! - Math.log(total), 4);
    }
  });

  it("hold no more tokens than they may, and pass nobody over twice", async () => {
    await start({ limits: { tokensPerStep: 4 } });
    const all = await Conversations.open(5);
    const results = await all.round(prompts);
    all.dispose();
    expect(results).toHaveLength(5);
    // Prompts of 3, 2, 7, 1 and 4 tokens: none shares a step with more than three others.
    await expect.poll(() => metric("step_tokens_sum")).toBe(17);
    const buckets = await server.metrics();
    expect(buckets).toMatch(/step_tokens_bucket\{le="8"\} [3-5]\n/);
    expect(server.statistics().steps).toBeGreaterThanOrEqual(4);
  });

  it("suffer a failure only in the session at fault", async () => {
    const forwardBlocks = model.forwardBlocks.bind(model);
    let failures = 0;
    model.forwardBlocks = (hidden: Tensor, from: number, to: number, context: BlockContext = {}): Tensor => {
      const tokens = context.sequences?.map((sequence) => sequence.tokens) ?? [hidden.shape[1]!];
      if (from === 3 && tokens.includes(7)) {
        failures++;
        throw new Error("a fault for the test");
      }
      return forwardBlocks(hidden, from, to, context);
    };
    const events: string[] = [];
    await start({ onEvent: ({ kind, detail = "" }) => events.push(`${kind} ${detail}`) });
    const all = await Conversations.open(3);
    const frames = [await all.streams[0]!.frame(prompts[0]!), await all.streams[1]!.frame(prompts[1]!)];
    // The device's half of the third is computed by the same model; its own blocks end before the fault.
    const third = await all.streams[2]!.frame(prompts[2]!);
    for (const frame of [...frames, third]) await all.client.send(frame);
    const answers = [await all.client.receive(), await all.client.receive(), await all.client.receive()];
    all.dispose();
    expect(failures).toBeGreaterThanOrEqual(1);
    const error = answers.find((answer) => answer!.type === "error");
    expect(new TextDecoder().decode(error!.payload)).toContain('"code":"internal"');
    for (const [index, { session }] of all.opened.slice(0, 2).entries()) {
      const result = answers.find((answer) => answer!.type === "result" && answer!.session === session)!;
      const [expected] = await wholeLogits(model, prompts[index]!);
      expect(valuesOf(result)[0]).toBeCloseTo(expected![0]!, 4);
    }
    expect(events).toContain("failed a fault for the test");
    model.forwardBlocks = forwardBlocks;
    await all.client.send(third);
    expect(valuesOf(await all.client.result())).toEqual((await wholeLogits(model, prompts[2]!))[0]);
  });
});

describe("sampling on the server", () => {
  /** Ids that one session generates, its stop flags, and what another session's frames do meanwhile. */
  async function generate(sampling: ControlMessages["open"]["sampling"], count: number): Promise<[number, boolean][]> {
    const all = await Conversations.open(1, () => ({ result: "token", sampling }));
    const drawn: [number, boolean][] = [];
    let ids: readonly number[] = [1, 5, 9];
    for (let index = 0; index < count; index++) {
      const [result] = await all.round([ids]);
      const { id } = tokenOf(result!);
      drawn.push([id, (result!.flags & FRAME_FLAGS.endOfSequence) !== 0]);
      ids = [id];
    }
    all.dispose();
    return drawn;
  }

  it("depends on the seed and the draw alone", async () => {
    await start();
    const settings = { temperature: 1.5, topK: 30, topP: 0.95, seed: 7 };
    const first = await generate(settings, 12);
    expect(await generate(settings, 12)).toEqual(first);
    expect(await generate({ ...settings, seed: 8 }, 12)).not.toEqual(first);
    expect(new Set(first.map(([id]) => id)).size).toBeGreaterThan(4);
  });

  it("is not shifted by repetitions and refusals", async () => {
    await start();
    const sampling = { temperature: 1.5, seed: 7 };
    const expected = (await generate(sampling, 6)).map(([id]) => id);
    const client = await RawClient.connect(server);
    const { session } = await client.open(fingerprint, { result: "token", sampling });
    const stream = new RawStream(model, session);
    const found: number[] = [];
    let ids: readonly number[] = [1, 5, 9];
    for (let index = 0; index < 6; index++) {
      const frame = await stream.frame(ids);
      await client.send({ ...frame, payload: frame.payload.slice(1) });
      expect(await client.expect("error")).toMatchObject({ code: "bad-message" });
      await client.send(frame);
      const { id } = tokenOf(await client.result());
      await client.send(frame);
      const again = await client.result();
      expect(tokenOf(again).id).toBe(id);
      found.push(id);
      ids = [id];
    }
    stream.dispose();
    expect(found).toEqual(expected);
  });

  it("marks the tokens that end a sequence", async () => {
    await start();
    const greedy = await generate({}, 4);
    const [[id]] = greedy as [[number, boolean]];
    const marked = await generate({ stopTokenIds: [id] }, 4);
    expect(marked.map(([each]) => each)).toEqual(greedy.map(([each]) => each));
    expect(marked.map(([each, ends]) => ends === (each === id))).toEqual([true, true, true, true]);
  });
});

describe("kept prefixes", () => {
  it("save sending and computing what somebody sent before, and change nothing", async () => {
    await start({ exact: true });
    const { emptyPrefixKey, nextPrefixKey } = await import("../wire/prefix-key.ts");
    const client = await RawClient.connect(server);
    const { session } = await client.open(fingerprint);
    const stream = new RawStream(model, session);
    const messages = [await stream.frame([1, 5, 9, 7], 0), await stream.frame([3, 4, 6])];
    for (const message of messages) {
      await client.send(message);
      await client.result();
    }
    let key = await emptyPrefixKey({ fingerprint, splitBlock: 1, codec: "float32", table: undefined });
    const prefixes: string[] = [];
    for (const { payload } of messages) {
      key = await nextPrefixKey(key, payload);
      prefixes.push(Buffer.from(key).toString("hex"));
    }
    await expect.poll(() => server.statistics().prefixes).toBe(1);
    const steps = server.statistics().steps;
    const opened = await client.open(fingerprint, { prefixes });
    expect(opened).toMatchObject({ prefixMessages: 2, prefixTokens: 7 });
    // Of another continuation, the first message alone.
    const forked = await client.open(fingerprint, { prefixes: [prefixes[0]!, "ab".repeat(32)] });
    expect(forked).toMatchObject({ prefixMessages: 1, prefixTokens: 4 });
    expect(await client.open(fingerprint, { prefixes, capacity: 6 })).toMatchObject({ prefixMessages: 0, prefixTokens: 0 });
    expect(await client.open(fingerprint, { prefixes, splitBlock: 2 })).toMatchObject({ prefixMessages: 0 });
    const next = await stream.frame([10]);
    await client.send({ ...next, session: opened.session, sequence: 1 });
    const result = await client.result();
    expect([result.position, server.statistics().steps]).toEqual([8, steps + 1]);
    expect(valuesOf(result)).toEqual((await wholeLogits(model, [1, 5, 9, 7], [3, 4, 6], [10]))[2]);
    stream.dispose();
    expect(await metric('prefix_lookups_total{outcome="hit"}')).toBe(2);
  });

  it.each(["principal", "everybody"] as const)("are kept when a session is closed, and found by %s", async (prefixScope) => {
    await start({ prefixScope, authentication: { bearerTokens: { ada: "a", bob: "b" } } });
    const { emptyPrefixKey, nextPrefixKey } = await import("../wire/prefix-key.ts");
    const ada = await RawClient.connect(server, { answer: { method: "bearer", token: "a" } });
    const bob = await RawClient.connect(server, { answer: { method: "bearer", token: "b" } });
    const { session } = await ada.open(fingerprint);
    const stream = new RawStream(model, session);
    const message = await stream.frame([1, 5, 9, 7], 0);
    stream.dispose();
    await ada.send(message);
    await ada.result();
    expect(server.statistics().prefixes).toBe(0);
    await ada.send(controlFrame("close", { session }));
    await ada.expect("closed");
    const empty = await emptyPrefixKey({ fingerprint, splitBlock: 1, codec: "float32", table: undefined });
    const prefixes = [Buffer.from(await nextPrefixKey(empty, message.payload)).toString("hex")];
    expect(await bob.open(fingerprint, { prefixes })).toMatchObject({ prefixMessages: prefixScope === "everybody" ? 1 : 0 });
    expect(await ada.open(fingerprint, { prefixes })).toMatchObject({ prefixMessages: 1, prefixTokens: 4 });
  });
});
