import {
  generateTokens, scoreContinuations, scoreSequences, tokenLogProbabilities, type NextTokenModel, type SampledToken,
} from "@frugal/language-model";
import { Generator, memory, tensor } from "@frugal/tensor-core";
import { afterEach, describe, expect, it } from "vitest";
import { ConnectionError, RemoteError, SessionLostError, SettingsError } from "../errors.ts";
import { controlMessage } from "../wire/control-messages.ts";
import { decodeFrame, FRAME_TYPES } from "../wire/frame.ts";
import { RawClient } from "../server/split-server.testing.ts";
import { tinyModel } from "../tiny-model.testing.ts";
import type { ClientEvent } from "./client-events.ts";
import type { SplitClient, SplitClientOptions } from "./split-client.ts";
import { TestBackend } from "./split-client.testing.ts";

const whole = tinyModel();
const prompt = [1, 8, 21, 40, 3];
const sampling = { temperature: 0.8, topK: 40, topP: 0.98, seed: 5 };

let backend: TestBackend;
let client: SplitClient;
const opened: { close(): void }[] = [];

async function start(
  options: Partial<SplitClientOptions> = {}, server: Parameters<typeof TestBackend.start>[0] = {},
): Promise<void> {
  backend = await TestBackend.start(server);
  client = await backend.connect(options);
  opened.push(client);
}

afterEach(async () => {
  for (const { close } of opened.splice(0).map((each) => ({ close: () => each.close() }))) close();
  await backend?.close();
});

async function ids(tokens: AsyncIterable<SampledToken>): Promise<number[]> {
  const result: number[] = [];
  for await (const { id } of tokens) result.push(id);
  return result;
}

const expected = (model: NextTokenModel = whole, maxNewTokens: number = 20): Promise<number[]> =>
  ids(generateTokens(model, prompt, { maxNewTokens, ...sampling }));

describe("SplitClient as a model", () => {
  it.each(["logits", "hidden"] as const)("generates and scores as the unsplit model does, with %s coming back", async (result) => {
    await start({ result });
    expect(await expected(client)).toEqual(await expected());
    const sequences = [prompt, [1, 2, 3, 4, 5, 6, 7]];
    expect(await scoreSequences(client, sequences)).toEqual(await scoreSequences(whole, sequences));
    const continuations = [[4, 5], [6], [7, 8, 9]];
    expect(await scoreContinuations(client, prompt, continuations)).toEqual(await scoreContinuations(whole, prompt, continuations));
    expect(await tokenLogProbabilities(client, prompt)).toEqual(await tokenLogProbabilities(whole, prompt));
  });

  it("forwards a batch as sessions of its own, which it closes", async () => {
    await start();
    using batch = tensor(Int32Array.of(1, 2, 3, 4, 5, 6), [2, 3]);
    using through = await client.forward(batch);
    using exact = whole.forward(batch);
    expect(through.shape).toEqual([2, 3, 61]);
    const [a, b] = [await through.data("float32"), await exact.data("float32")];
    expect(Math.max(...a.map((value, i) => Math.abs(value - b[i]!)))).toBeLessThan(1e-5);
    await expect.poll(() => backend.server.statistics().sessions).toBe(0);
  });

  it("cuts long inputs to what a frame may hold, and goes back on its tokens", async () => {
    await start({}, { limits: { tokensPerFrame: 4 } });
    const sequence = Array.from({ length: 21 }, (_, i) => (7 * i) % 61);
    const [through, exact] = [await tokenLogProbabilities(client, sequence), await tokenLogProbabilities(whole, sequence)];
    expect(client.traffic().messages).toBe(5);
    expect(Math.max(...through.map((value, i) => Math.abs(value - exact[i]!)))).toBeLessThan(1e-5);
    using cache = client.createCache();
    using long = tensor(Int32Array.from(sequence), [1, 21]);
    using next = tensor(Int32Array.of(9), [1, 1]);
    (await client.forward(long, { cache, lastOnly: true })).dispose();
    cache.truncate(6);
    using after = await client.forward(next, { cache, lastOnly: true });
    using local = whole.createCache();
    using short = tensor(Int32Array.from(sequence.slice(0, 6)), [1, 6]);
    whole.forward(short, { cache: local }).dispose();
    using exactly = whole.forward(next, { cache: local, lastOnly: true });
    const [got, due] = [await after.data("float32"), await exactly.data("float32")];
    expect(Math.max(...got.map((value, i) => Math.abs(value - due[i]!)))).toBeLessThan(1e-5);
    expect(cache.length).toBe(7);
  });

  it("forks a cache: both go on from the same tokens", async () => {
    await start();
    using cache = client.createCache();
    using first = tensor(Int32Array.from(prompt), [1, 5]);
    using next = tensor(Int32Array.of(9), [1, 1]);
    (await client.forward(first, { cache, lastOnly: true })).dispose();
    using fork = cache.fork(3);
    using forked = await client.forward(next, { cache: fork, lastOnly: true });
    using straight = await client.forward(next, { cache, lastOnly: true });
    using local = whole.createCache();
    whole.forward(first, { cache: local }).dispose();
    using copy = local.fork(3);
    using expectedFork = whole.forward(next, { cache: copy, lastOnly: true });
    using expectedStraight = whole.forward(next, { cache: local, lastOnly: true });
    expect(await forked.data("float32")).toEqual(await expectedFork.data("float32"));
    expect(await straight.data("float32")).toEqual(await expectedStraight.data("float32"));
    expect([fork.length, cache.length]).toEqual([4, 6]);
  });

  it("says what crossed the network", async () => {
    await start({ errorSampling: 1 });
    await expected(client, 5);
    const traffic = client.traffic();
    // The prompt, then a message a token; the last token is not sent. Messages of float32 take 3 bytes more than their values.
    expect(traffic).toMatchObject({
      messages: 5, tokens: 9, activationBytes: 9 * 32 * 4 + 5 * (44 + 3), messageBytes: 9 * 32 * 4 + 5 * 3, float16Bytes: 9 * 64,
      elements: 9 * 32, elementRatio: 1, relativeError: 0, sampledMessages: 5, connections: 1, resumes: 0, rebuilds: 0, resentBytes: 0,
    });
    expect(traffic.byteRatioFloat32).toBeCloseTo((9 * 32 * 4) / traffic.activationBytes, 12);
    expect(traffic.byteRatioFloat16).toBeCloseTo(traffic.byteRatioFloat32 / 2, 12);
    expect(traffic.roundTrip.count).toBe(5);
    expect(traffic.bytesSent).toBeGreaterThan(traffic.activationBytes);
    expect(traffic.bytesReceived).toBeGreaterThan(5 * (44 + 61 * 4));
  });

  it("leaves nothing behind", async () => {
    await start();
    await expected(client);
    await ids(client.generate(prompt, { maxNewTokens: 5 }));
    await expect.poll(() => backend.server.statistics().sessions).toBe(0);
    const before = memory().allocations;
    await expected(client);
    await ids(client.generate(prompt, { maxNewTokens: 5 }));
    await expect.poll(() => backend.server.statistics().sessions).toBe(0);
    expect(memory().allocations).toBe(before);
  });

  it("refuses what does not fit together", async () => {
    await start({ result: "token" });
    await expect(client.forward(tensor(Int32Array.of(1), [1, 1]))).rejects.toThrow("use generate or conversation");
    expect(() => client.createCache({ batch: 2 })).toThrow(SettingsError);
    await expect(backend.connect({ fingerprint: "0".repeat(64) })).rejects.toThrow(RemoteError);
    await expect(backend.connect({ splitBlock: 3, model: whole })).resolves.toBeDefined().then(() => undefined);
    await expect(backend.connect({ splitBlock: 1 })).rejects.toThrow("splitBlock 1; the server takes 2 to 4");
    await expect(backend.connect({ splitBlock: 3 })).rejects.toThrow("the model holds 0 to 2");
    await expect(backend.connect({ codec: { name: "none" } })).rejects.toThrow('codec "none"');
    await expect(client.generate([99]).next()).rejects.toThrow("token 99 is not in the vocabulary of 61");
    await expect(client.generate([]).next()).rejects.toThrow("no tokens");
    backend.isDown = true;
    await expect(backend.connect()).rejects.toThrow(ConnectionError);
  });
});

describe("generation on the server", () => {
  it("draws the tokens of the unsplit model", async () => {
    await start();
    expect(await ids(client.generate(prompt, { maxNewTokens: 20, ...sampling }))).toEqual(await expected());
    expect(await ids(client.generate(prompt, { maxNewTokens: 7 }))).toEqual(await ids(generateTokens(whole, prompt, { maxNewTokens: 7 })));
    const [first] = await expected();
    expect(await ids(client.generate(prompt, { ...sampling, stopTokenIds: [first!] }))).toEqual([]);
  });

  it("keeps a conversation on the server, and sends only what is new", async () => {
    await start();
    using conversation = client.conversation(sampling);
    const first = await ids(conversation.generate(prompt, { maxNewTokens: 4 }));
    const before = client.traffic();
    const second = await ids(conversation.generate([7, 7], { maxNewTokens: 3 }));
    expect(client.traffic().tokens - before.tokens).toBe(5);
    // By hand: the same stream of tokens through one sampler's draws.
    using cache = client.createCache();
    const { createSampler } = await import("@frugal/language-model");
    const sample = createSampler(sampling);
    const draw = async (given: readonly number[]): Promise<number> => {
      using input = tensor(Int32Array.from(given), [1, given.length]);
      using logits = await client.forward(input, { cache, lastOnly: true });
      return (await sample(logits)).id;
    };
    const drawn: number[] = [];
    const inputs = [prompt, [first[0]!], [first[1]!], [first[2]!], [first[3]!, 7, 7], [second[0]!], [second[1]!]];
    for (const given of inputs) drawn.push(await draw(given));
    expect([...first, ...second]).toEqual(drawn);
    expect(conversation.length).toBe(5 + 4 + 2 + 3);
  });

  it("stops at the end of the context", async () => {
    await start({}, { limits: { tokensPerSession: 12 } });
    expect(await ids(client.generate(prompt))).toHaveLength(12 - 5 + 1);
    await expect(client.generate(Array.from({ length: 12 }, () => 1)).next()).rejects.toThrow("do not fit");
  });
});

describe("SplitClient when connections break", () => {
  const events: ClientEvent[] = [];
  const onEvent = (event: ClientEvent): void => void events.push(event);
  const kinds = (): string[] => events.map(({ kind }) => kind);
  afterEach(() => void events.splice(0));

  it.each([0, 1, 2, 3])("goes on with the same tokens when every %i-th frame ends the connection", async (rest) => {
    await start({ onEvent });
    let frames = 0;
    // Before the frame is sent, after it arrived, and when its answer comes.
    backend.onSend = (bytes) => {
      if (decodeFrame(bytes).type === "activation" && ++frames % 4 === rest) throw new Error("cut");
    };
    expect(await ids(client.generate(prompt, { maxNewTokens: 20, ...sampling }))).toEqual(await expected());
    expect(client.traffic().resumes).toBeGreaterThan(3);
    expect(client.traffic().rebuilds).toBe(0);
    backend.onSend = () => {};
    let results = 0;
    backend.onReceive = (bytes) => {
      if (decodeFrame(bytes).type === "result" && ++results % 5 === rest) throw new Error("cut");
    };
    expect(await expected(client)).toEqual(await expected());
    expect(kinds()).toContain("resumed");
  });

  it("rebuilds sessions of a server that began anew, and goes on drawing where it was", async () => {
    await start({ onEvent });
    const seen: number[] = [];
    for await (const { id } of client.generate(prompt, { maxNewTokens: 20, ...sampling })) {
      seen.push(id);
      if (seen.length === 6 || seen.length === 7 || seen.length === 13) await backend.restart();
    }
    expect(seen).toEqual(await expected());
    expect(client.traffic().rebuilds).toBe(3);
    expect(client.traffic().connections).toBe(4);
  });

  it("survives breaks while it rebuilds", async () => {
    await start({ onEvent });
    const seen: number[] = [];
    let left = 0;
    backend.onSend = (bytes) => {
      if (left > 0 && decodeFrame(bytes).type === "activation" && --left === 0) throw new Error("cut");
    };
    for await (const { id } of client.generate(prompt, { maxNewTokens: 20, ...sampling })) {
      seen.push(id);
      if (seen.length === 9) {
        await backend.restart();
        left = 4;
      }
    }
    expect(seen).toEqual(await expected());
  });

  it.each(Array.from({ length: Number(process.env["SPLIT_CLIENT_TRIALS"] ?? 20) }, (_, seed) => seed))(
    "survives whatever comes when: mixture %i",
    async (seed) => {
      const random = new Generator(seed);
      await start({ onEvent, reconnect: { attempts: 1000, initialDelay: 0, longestDelay: 2 }, promptChunk: 1 + (seed % 5) });
      const rate = [0.02, 0.1, 0.3][seed % 3]!;
      const perhaps = (): void => {
        if (random.next() < rate) throw new Error("cut");
      };
      // Handshakes too, but not so often that none is ever through.
      const isOften = (bytes: Uint8Array): boolean => bytes[5]! >= FRAME_TYPES.open || random.next() < 0.2;
      backend.onSend = (bytes) => isOften(bytes) && perhaps();
      backend.onReceive = (bytes) => isOften(bytes) && perhaps();
      const seen: number[] = [];
      for await (const { id } of client.generate(prompt, { maxNewTokens: 20, ...sampling })) {
        seen.push(id);
        const chance = random.next();
        if (chance < 0.1) await backend.restart();
        else if (chance < 0.2) backend.cut();
      }
      const calm = await TestBackend.start();
      using reference = await calm.connect({ promptChunk: 1 + (seed % 5) });
      expect(seen).toEqual(await ids(reference.generate(prompt, { maxNewTokens: 20, ...sampling })));
      await calm.close();
      const { messages, tokens } = client.traffic();
      expect([messages, tokens]).toEqual([19 + Math.ceil(5 / (1 + (seed % 5))), 24]);
    },
  );

  it("keeps several sessions apart through breaks", async () => {
    await start({ onEvent });
    let frames = 0;
    backend.onSend = () => {
      if (++frames % 23 === 0) throw new Error("cut");
    };
    const prompts = Array.from({ length: 8 }, (_, i) => [1, i + 2, 2 * i]);
    // One row at a time gives the same bits in every company only when the server computes it so.
    const through = await Promise.all(prompts.map((each) => ids(client.generate(each, { maxNewTokens: 15 }))));
    const exact = await Promise.all(prompts.map((each) => ids(generateTokens(whole, each, { maxNewTokens: 15 }))));
    expect(through).toEqual(exact);
  });

  it("says so when a lost session cannot be rebuilt", async () => {
    await start({ onEvent, keptBytes: 1000 });
    const generation = client.generate(prompt, { maxNewTokens: 20 });
    for (let i = 0; i < 5; i++) await generation.next();
    backend.cut();
    expect((await generation.next()).done).toBe(false);
    await backend.restart();
    await expect(generation.next()).rejects.toThrow(SessionLostError);
    expect(await ids(client.generate(prompt, { maxNewTokens: 4 }))).toHaveLength(4);
  });

  it("gives up after its attempts, and tries anew when it is asked again", async () => {
    await start({ onEvent, reconnect: { attempts: 3, initialDelay: 1 } });
    using cache = client.createCache();
    using input = tensor(Int32Array.from(prompt), [1, 5]);
    using next = tensor(Int32Array.of(9), [1, 1]);
    (await client.forward(input, { cache, lastOnly: true })).dispose();
    backend.isDown = true;
    backend.cut();
    await expect(client.forward(next, { cache, lastOnly: true })).rejects.toThrow(ConnectionError);
    expect(cache.length).toBe(5);
    expect(kinds().filter((kind) => kind === "reconnecting").length).toBeGreaterThanOrEqual(3);
    backend.isDown = false;
    using through = await client.forward(next, { cache, lastOnly: true });
    using local = whole.createCache();
    whole.forward(input, { cache: local }).dispose();
    using exact = whole.forward(next, { cache: local, lastOnly: true });
    expect(await through.data("float32")).toEqual(await exact.data("float32"));
  });

  it("rebuilds what has expired while nobody said anything", async () => {
    await start({ onEvent }, { limits: { expirySeconds: 0.05 } });
    using conversation = client.conversation(sampling);
    const first = await ids(conversation.generate(prompt, { maxNewTokens: 4 }));
    await expect.poll(() => backend.server.statistics().sessions, { timeout: 10_000 }).toBe(0);
    const second = await ids(conversation.generate([7, 7], { maxNewTokens: 3 }));
    expect(client.traffic().rebuilds).toBe(1);
    const other = await TestBackend.start();
    using straight = await other.connect();
    using unbroken = straight.conversation(sampling);
    expect(first).toEqual(await ids(unbroken.generate(prompt, { maxNewTokens: 4 })));
    expect(second).toEqual(await ids(unbroken.generate([7, 7], { maxNewTokens: 3 })));
    straight.close();
    await other.close();
  });

  it("does not wait for a network that has gone without a word", async () => {
    await start({ onEvent, resultTimeoutSeconds: 0.05 });
    const { connections } = backend;
    let swallowed = 0;
    const transport = backend.transport;
    const silent = await backend.connect({
      onEvent, resultTimeoutSeconds: 0.05,
      transport: async (options) => {
        const connection = await transport(options);
        const isFirst = swallowed === 0;
        return {
          ...connection,
          send: async (bytes) => {
            if (isFirst && decodeFrame(bytes).type === "activation" && decodeFrame(bytes).sequence >= 3) swallowed++;
            else await connection.send(bytes);
          },
        };
      },
    });
    opened.push(silent);
    expect(await ids(silent.generate(prompt, { maxNewTokens: 20, ...sampling }))).toEqual(await expected());
    expect(swallowed).toBe(1);
    expect(connections.length).toBeGreaterThan(2);
  });

  it("lets a connection that came late do its work", async () => {
    await start();
    let connections = 0;
    const patient = await backend.connect({
      onEvent, resultTimeoutSeconds: 0.1,
      transport: async (options) => {
        const connection = await backend.transport(options);
        const isFirst = ++connections === 1;
        let results = 0;
        return {
          ...connection,
          receive: async () => {
            const bytes = await connection.receive();
            const isResult = bytes !== undefined && decodeFrame(bytes).type === "result";
            // The first connection never brings the third result, the next one is slow, but not too slow.
            if (isResult && isFirst && ++results === 3) return await new Promise<undefined>((resolve) => void setTimeout(resolve, 300));
            if (isResult && !isFirst) await new Promise((resolve) => setTimeout(resolve, 15));
            return bytes;
          },
        };
      },
    });
    opened.push(patient);
    expect(await ids(patient.generate(prompt, { maxNewTokens: 20, ...sampling }))).toEqual(await expected());
    expect(connections).toBe(2);
  });

  it("does not wait for ever for a server that does not answer what it is asked", async () => {
    await start();
    let isSilent = true;
    const other = await backend.connect({
      onEvent, resultTimeoutSeconds: 0.05,
      transport: async (options) => {
        const connection = await backend.transport(options);
        return {
          ...connection,
          send: async (bytes) => {
            if (isSilent && decodeFrame(bytes).type === "open") isSilent = false;
            else await connection.send(bytes);
          },
        };
      },
    });
    opened.push(other);
    expect(await ids(other.generate(prompt, { maxNewTokens: 20, ...sampling }))).toEqual(await expected());
  });

  it("goes on after a turn that was given up while its session was rebuilt", async () => {
    await start({ onEvent });
    using conversation = client.conversation(sampling);
    const first = await ids(conversation.generate(prompt, { maxNewTokens: 4 }));
    await backend.restart();
    const controller = new AbortController();
    backend.onSend = (bytes) => {
      if (decodeFrame(bytes).type === "activation") controller.abort();
    };
    expect(await ids(conversation.generate([7, 7], { maxNewTokens: 3, signal: controller.signal }))).toEqual([]);
    backend.onSend = () => {};
    const second = await ids(conversation.generate([7, 7], { maxNewTokens: 3 }));
    const other = await TestBackend.start();
    using straight = await other.connect();
    using unbroken = straight.conversation(sampling);
    expect(first).toEqual(await ids(unbroken.generate(prompt, { maxNewTokens: 4 })));
    expect(second).toEqual(await ids(unbroken.generate([7, 7], { maxNewTokens: 3 })));
    straight.close();
    await other.close();
  });

  it("takes a session back that was taken away while it was taken up", async () => {
    await start({ onEvent });
    let ticket: { readonly id: string; readonly secret: string } | undefined;
    backend.onReceive = (bytes) => {
      const frame = decodeFrame(bytes);
      if (frame.type === "opened") ticket = controlMessage("opened", frame);
    };
    let isHeld = false;
    let release = (): void => {};
    const held = await backend.connect({
      onEvent,
      transport: async (options) => {
        const connection = await backend.transport(options);
        return {
          ...connection,
          send: async (bytes) => {
            const { type } = decodeFrame(bytes);
            if (isHeld && type === "activation") await new Promise<void>((resolve) => (release = resolve));
            await connection.send(bytes);
          },
        };
      },
    });
    opened.push(held);
    const generation = held.generate(prompt, { maxNewTokens: 20, ...sampling });
    const seen = [(await generation.next()).value!.id];
    backend.cut();
    isHeld = true;
    const waiting = generation.next();
    await expect.poll(() => kinds()).toContain("resumed");
    const thief = await RawClient.connect(backend.server);
    await thief.resume(ticket!, 0);
    // What the server says of it is there before the frame is on its way.
    await new Promise((resolve) => setTimeout(resolve, 20));
    isHeld = false;
    release();
    seen.push((await waiting).value!.id, ...(await ids(generation)));
    expect(seen).toEqual(await expected());
    thief.connection.close();
  });

  it("stops waiting when it is told to, or closed", async () => {
    await start({ onEvent });
    const controller = new AbortController();
    const generation = client.generate(prompt, { maxNewTokens: 20, signal: controller.signal });
    await generation.next();
    backend.isDown = true;
    backend.cut();
    const waiting = generation.next();
    controller.abort();
    expect(await waiting).toEqual({ done: true, value: undefined });
    const other = client.generate(prompt, { maxNewTokens: 20 }).next();
    client.close();
    await expect(other).rejects.toThrow("the client is closed");
  });

  it("does not come back to a server of another model", async () => {
    await start({ onEvent });
    const generation = client.generate(prompt, { maxNewTokens: 20 });
    await generation.next();
    const other = await TestBackend.start();
    Object.defineProperty(other, "fingerprint", { value: "1".repeat(64) });
    await other.restart();
    await backend.server.close();
    backend.server = other.server;
    await expect(generation.next()).rejects.toThrow("the server refused (unknown-model)");
    await other.close();
  });
});

describe("prefixes", () => {
  it("sends no messages that the server has kept", async () => {
    await start({ promptChunk: 4 });
    const long = Array.from({ length: 22 }, (_, i) => (11 * i) % 61);
    const first = await ids(client.generate(long, { maxNewTokens: 3 }));
    const before = client.traffic();
    const second = await ids(client.generate(long, { maxNewTokens: 3 }));
    expect(second).toEqual(first);
    const spared = client.traffic().reusedTokens;
    expect(spared).toBe(20);
    expect(client.traffic().tokens - before.tokens).toBe(2 + 2);
    using other = await backend.connect({ promptChunk: 4, prefixReuse: false });
    expect(await ids(other.generate(long, { maxNewTokens: 3 }))).toEqual(first);
    expect(other.traffic().reusedTokens).toBe(0);
  });

  it("tells the server which they are", async () => {
    await start({ promptChunk: 2 });
    const offers: (number | undefined)[] = [];
    backend.onSend = (bytes) => {
      const frame = decodeFrame(bytes);
      if (frame.type === "open") offers.push(controlMessage("open", frame).prefixes?.length);
    };
    await client.generate(prompt).next();
    await client.generate([1, 2]).next();
    expect(offers).toEqual([2, undefined]);
  });
});
