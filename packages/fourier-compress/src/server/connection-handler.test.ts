import { memory, multiply, tidy } from "@frugal/tensor-core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createHmac } from "node:crypto";
import type { DecoderModel } from "@frugal/language-model";
import { controlFrame, type ControlMessages } from "../wire/control-messages.ts";
import { encodeFrame, FRAME_FLAGS, makeFrame, type Frame } from "../wire/frame.ts";
import { tinyModel } from "../tiny-model.testing.ts";
import {
  expectAllocations, RawClient, RawStream, testServer, valuesOf, wholeLogits, type TestServer,
} from "./split-server.testing.ts";
import type { ServerEvent, SplitServerOptions } from "./split-server-options.ts";

let before = 0;
let model: DecoderModel;
let running: TestServer;

async function start(options: Partial<SplitServerOptions> = {}): Promise<TestServer> {
  running = await testServer(model, options);
  return running;
}

beforeEach(() => {
  before = memory().allocations;
  model = tinyModel();
});

afterEach(async () => {
  await running.server.close();
  model.dispose();
  expectAllocations(before);
});

/** The error that comes next, and then the connection's end. */
async function lastError(client: RawClient): Promise<ControlMessages["error"]> {
  const error = await client.expect("error");
  expect(await client.receive()).toBeUndefined();
  return error;
}

describe("the handshake", () => {
  it("challenges, and says what is served", async () => {
    const { server, fingerprint } = await start({ modelName: "tiny", codecs: ["float16"], limits: { expirySeconds: 9 } });
    const client = RawClient.dial(server);
    await client.send(controlFrame("hello", { client: "test" }));
    expect(await client.expect("challenge")).toMatchObject({ methods: ["none"] });
    await client.send(controlFrame("authenticate", { method: "none" }));
    expect(await client.expect("welcome")).toEqual({
      server: "fourier-compress",
      model: { name: "tiny", fingerprint, blockCount: 4, hiddenSize: 32, vocabularySize: 61, maxPositionEmbeddings: 256 },
      splitBlocks: [0, 4], codecs: ["float16"], tables: [],
      limits: { tokensPerFrame: 512, tokensPerSession: 256, sessions: 64, payloadBytes: 131072, expirySeconds: 9 },
    });
  });

  it("lets in by bearer token and by HMAC, and nobody else", async () => {
    const { server } = await start({ authentication: { bearerTokens: { ada: "token of Ada" }, secrets: { bob: "secret of Bob" } } });
    await RawClient.connect(server, { answer: { method: "bearer", token: "token of Ada" } });
    const answerTo = (nonce: string, secret: string): ControlMessages["authenticate"] => ({
      method: "hmac", principal: "bob", mac: createHmac("sha256", secret).update(`fourier-compress${nonce}bob`).digest("hex"),
    });
    const challenged = async (): Promise<readonly [RawClient, string]> => {
      const client = RawClient.dial(server);
      await client.send(controlFrame("hello", { client: "test" }));
      const { nonce, methods } = await client.expect("challenge");
      expect(methods).toEqual(["bearer", "hmac"]);
      return [client, nonce];
    };
    const [bob, nonce] = await challenged();
    await bob.send(controlFrame("authenticate", answerTo(nonce, "secret of Bob")));
    await bob.expect("welcome");
    const wrong: ControlMessages["authenticate"][] = [
      { method: "none" }, { method: "bearer", token: "token of Eve" }, answerTo(nonce, "secret of Bob"), answerTo(nonce, "secret of Eve"),
    ];
    for (const answer of wrong) {
      const [eve] = await challenged();
      await eve.send(controlFrame("authenticate", answer));
      expect(await lastError(eve)).toMatchObject({ code: "unauthorized" });
    }
  });

  it("logs what clients call themselves, and no lines that they made up", async () => {
    const events: ServerEvent[] = [];
    const { server } = await start({ onEvent: (event) => events.push(event) });
    await RawClient.connect(server);
    expect(events.at(-1)).toMatchObject({ kind: "authenticated", detail: "test" });
    const liar = RawClient.dial(server);
    const key = "a\n2026-11-22 authenticated admin \u001b[31m\u2028";
    await liar.send(controlFrame("hello", { client: "test", [key]: 1 } as ControlMessages["hello"]));
    await lastError(liar);
    const { detail } = events.find(({ kind }) => kind === "refused")!;
    expect(detail).toContain("authenticated admin");
    expect(detail).not.toMatch(/[\p{Cc}\u2028]/u);
  });

  it("ends connections that do not say who they are", async () => {
    const { server } = await start({ limits: { handshakeSeconds: 0.05 } });
    const message = "no authentication within 0.05 seconds";
    expect(await lastError(RawClient.dial(server))).toMatchObject({ code: "unauthorized", message });
    await expect.poll(() => server.statistics().connections).toBe(0);
  });

  it("takes no session frames before it, and nothing long", async () => {
    const { server, fingerprint } = await start();
    const early = RawClient.dial(server);
    await early.sendOpen(fingerprint);
    expect(await lastError(early)).toMatchObject({ code: "bad-frame", message: "a open frame came where hello was due" });
    const long = RawClient.dial(server);
    await long.send(makeFrame("hello", { payload: new Uint8Array(20_000) }));
    expect(await lastError(long)).toMatchObject({ code: "bad-frame" });
  });

  it("refuses more connections than there may be, and other versions", async () => {
    const { server } = await start({ limits: { connections: 1 } });
    const first = await RawClient.connect(server);
    expect(await lastError(RawClient.dial(server))).toMatchObject({ code: "busy" });
    const bytes = encodeFrame(controlFrame("close", { session: 1 }));
    bytes[4] = 9;
    await first.connection.send(bytes);
    expect(await lastError(first)).toMatchObject({ code: "unsupported", message: "protocol version 9; this server speaks 1" });
    await RawClient.connect(server);
  });
});

describe("open", () => {
  it("refuses what is not served, by code, and goes on", async () => {
    const { server, fingerprint } = await start({ codecs: ["float32", "channel"], splitBlocks: [1, 2], limits: { tokensPerSession: 100 } });
    const client = await RawClient.connect(server);
    const refused = async (changes: Partial<ControlMessages["open"]>): Promise<string> => {
      const request = await client.sendOpen(fingerprint, { capacity: 100, ...changes });
      const error = await client.expect("error");
      expect(error.request).toBe(request);
      return error.code;
    };
    expect(await refused({ fingerprint: "0".repeat(64) })).toBe("unknown-model");
    expect(await refused({ splitBlock: 0 })).toBe("unsupported");
    expect(await refused({ splitBlock: 3 })).toBe("unsupported");
    expect(await refused({ codec: "float16" })).toBe("unknown-codec");
    expect(await refused({ codec: "zip" })).toBe("unknown-codec");
    expect(await refused({ codec: "channel" })).toBe("unknown-table");
    expect(await refused({ table: "ab".repeat(32) })).toBe("unknown-table");
    expect(await refused({ capacity: 101 })).toBe("context-length");
    expect(await refused({ capacity: 0 })).toBe("context-length");
    expect(await refused({ sampling: { temperature: 1 } })).toBe("unsupported");
    await client.open(fingerprint, { capacity: 100, splitBlock: 2 });
  });

  it("ends the connection for JSON that is no open", async () => {
    const { server } = await start();
    const client = await RawClient.connect(server);
    await client.send(makeFrame("open", { payload: new TextEncoder().encode("{}") }));
    expect(await lastError(client)).toMatchObject({ code: "bad-frame" });
  });

  it("keeps quotas of sessions, by client and in all", async () => {
    const { server, fingerprint } = await start({
      limits: { sessions: 3, sessionsPerClient: 2 }, authentication: { bearerTokens: { ada: "a", bob: "b" } },
    });
    const ada = await RawClient.connect(server, { answer: { method: "bearer", token: "a" } });
    const bob = await RawClient.connect(server, { answer: { method: "bearer", token: "b" } });
    const first = await ada.open(fingerprint);
    await ada.open(fingerprint);
    await ada.sendOpen(fingerprint);
    expect(await ada.expect("error")).toMatchObject({ code: "quota", retryAfterSeconds: 300 });
    await bob.open(fingerprint);
    await bob.sendOpen(fingerprint);
    expect(await bob.expect("error")).toMatchObject({ code: "quota" });
    await ada.send(controlFrame("close", { session: first.session }));
    await ada.expect("closed");
    await bob.open(fingerprint);
  });
});

describe("activations", () => {
  const prompt = [1, 5, 9, 7];

  it("are applied once: the last result is sent again, older ones are ignored, gaps refused", async () => {
    const { server, fingerprint } = await start();
    const client = await RawClient.connect(server);
    const { session } = await client.open(fingerprint);
    const stream = new RawStream(model, session);
    const frames = [await stream.frame(prompt), await stream.frame([11]), await stream.frame([12])];
    stream.dispose();
    await client.send(frames[0]!);
    const first = await client.result();
    await client.send(frames[0]!);
    expect(await client.result()).toEqual(first);
    await client.send(frames[2]!);
    expect(await client.expect("error")).toMatchObject({ code: "out-of-order", session, sequence: 3 });
    await client.send(frames[1]!);
    const second = await client.result();
    await client.send(frames[0]!);
    await client.send(frames[1]!);
    expect(await client.result()).toEqual(second);
    expect(server.statistics().steps).toBe(2);
    await client.send(frames[2]!);
    expect([(await client.result()).sequence, server.statistics().steps]).toEqual([3, 3]);
  });

  it("go back to their position first, and leave no gap", async () => {
    const { server, fingerprint } = await start();
    const client = await RawClient.connect(server);
    const { session } = await client.open(fingerprint);
    const stream = new RawStream(model, session);
    await client.send(await stream.frame(prompt, 0));
    await client.result();
    for (const [index, continuation] of [[3, 4], [8, 2, 6], [10]].entries()) {
      stream.truncate(prompt.length);
      await client.send(await stream.frame(continuation));
      const result = await client.result();
      expect(valuesOf(result)).toEqual((await wholeLogits(model, prompt, continuation))[1]);
      expect([result.sequence, result.position]).toEqual([2 + index, prompt.length + continuation.length]);
    }
    await client.send(await stream.frame([1], 1, { position: 9 }));
    expect(await client.expect("error")).toMatchObject({ code: "out-of-order", sequence: 5 });
    stream.dispose();
  });

  it("are answered by an acknowledgement, the last row, all rows, or hidden states", async () => {
    const { server, fingerprint } = await start();
    const client = await RawClient.connect(server);
    const ask = async (result: "logits" | "hidden", flags: number): Promise<Frame> => {
      const { session } = await client.open(fingerprint, { result });
      const stream = new RawStream(model, session);
      await client.send(await stream.frame(prompt, flags));
      stream.dispose();
      return client.result();
    };
    const nothing = await ask("logits", 0);
    expect([nothing.flags, nothing.tokens, nothing.dtype, nothing.payload.length, nothing.position]).toEqual([0, 0, "none", 0, 4]);
    const all = await ask("logits", FRAME_FLAGS.value | FRAME_FLAGS.allRows);
    expect([all.flags, all.tokens, all.payload.length]).toEqual([3, 4, 4 * 4 * 61]);
    const last = valuesOf(await ask("logits", FRAME_FLAGS.value));
    valuesOf(all).slice(3 * 61).forEach((value, index) => expect(value).toBeCloseTo(last[index]!, 4));
    const hidden = await ask("hidden", FRAME_FLAGS.value | FRAME_FLAGS.allRows);
    expect([hidden.tokens, hidden.hiddenSize, hidden.payload.length]).toEqual([4, 32, 4 * 4 * 32]);
    expect((await ask("hidden", FRAME_FLAGS.value)).payload).toEqual(hidden.payload.slice(3 * 4 * 32));
  });

  it("are refused when they are not the session's, and leave it as it was", async () => {
    const { server, fingerprint } = await start({ limits: { tokensPerFrame: 6 } });
    const client = await RawClient.connect(server);
    const { session } = await client.open(fingerprint, { capacity: 8 });
    const stream = new RawStream(model, session);
    const first = await stream.frame(prompt);
    const wrong: [Partial<Frame>, string][] = [
      [{ codec: 2 }, "bad-message"], [{ table: 5 }, "bad-message"], [{ block: 2 }, "bad-message"], [{ hiddenSize: 31 }, "bad-message"],
      [{ dtype: "float32" }, "bad-message"], [{ flags: 4 }, "bad-message"], [{ flags: 2 }, "bad-message"], [{ tokens: 0 }, "bad-message"],
      [{ tokens: 3 }, "bad-message"], [{ tokens: 7 }, "quota"], [{ position: 5 }, "context-length"], [{ position: 1 }, "out-of-order"],
      [{ payload: first.payload.slice(0, -1) }, "bad-message"], [{ payload: new Uint8Array(0) }, "bad-message"],
      [{ payload: first.payload.map((byte, index) => (index > 8 ? 0xff : byte)) }, "bad-message"], [{ session: 99 }, "unknown-session"],
    ];
    for (const [changes, code] of wrong) {
      await client.send({ ...first, ...changes });
      expect([changes, await client.expect("error")]).toMatchObject([changes, { code, sequence: 1 }]);
    }
    await client.send(first);
    expect(valuesOf(await client.result())).toEqual((await wholeLogits(model, prompt))[0]);
    await client.send(await stream.frame([1, 2, 3, 4, 5]));
    expect(await client.expect("error")).toMatchObject({ code: "context-length" });
    stream.dispose();
    const tokens = await client.open(fingerprint, { result: "token" });
    await client.send({ ...first, session: tokens.session, flags: FRAME_FLAGS.value | FRAME_FLAGS.allRows });
    expect(await client.expect("error")).toMatchObject({ code: "unsupported" });
  });

  it.each(["logits", "token", "hidden"] as const)("that are too large for the model's %s are refused", async (result) => {
    const failures: ServerEvent[] = [];
    const { server, fingerprint } = await start({ onEvent: (event) => void (event.kind === "failed" && failures.push(event)) });
    const client = await RawClient.connect(server);
    const { session } = await client.open(fingerprint, { result });
    const stream = new RawStream(model, session);
    const first = await stream.frame(prompt);
    stream.dispose();
    // The norms of this model bring everything back to its size; not every model's do.
    const forwardBlocks = model.forwardBlocks.bind(model);
    model.forwardBlocks = (...given) => tidy(() => multiply(forwardBlocks(...given), Infinity));
    await client.send(first);
    expect(await client.expect("error")).toMatchObject({ code: "bad-message", sequence: 1 });
    expect(failures).toEqual([]);
    model.forwardBlocks = forwardBlocks;
    await client.send(first);
    expect((await client.result()).position).toBe(4);
  });

  it("that follow a refused one are refused with it", async () => {
    const { server, fingerprint } = await start();
    const client = await RawClient.connect(server);
    const { session } = await client.open(fingerprint);
    const stream = new RawStream(model, session);
    const frames = [await stream.frame(prompt), await stream.frame([11]), await stream.frame([12])];
    stream.dispose();
    await client.send({ ...frames[0]!, payload: frames[0]!.payload.slice(1) });
    await client.send(frames[1]!);
    await client.send(frames[2]!);
    const codes = [await client.expect("error"), await client.expect("error"), await client.expect("error")];
    expect(codes.map(({ code, sequence }) => [code, sequence])).toEqual([["bad-message", 1], ["out-of-order", 2], ["out-of-order", 3]]);
    for (const frame of frames) await client.send(frame);
    for (const sequence of [1, 2, 3]) expect((await client.result()).sequence).toBe(sequence);
  });
});

describe("resume", () => {
  it("goes on where the session was, on another connection, with the result that was lost", async () => {
    const events: ServerEvent[] = [];
    const { server, fingerprint } = await start({ onEvent: (event) => events.push(event) });
    const first = await RawClient.connect(server);
    const opened = await first.open(fingerprint);
    const stream = new RawStream(model, opened.session);
    await first.send(await stream.frame([1, 5, 9]));
    await first.result();
    await first.send(await stream.frame([4]));
    await first.result();
    first.connection.close();
    const second = await RawClient.connect(server);
    // A handle of its own, other than on the first connection.
    await second.open(fingerprint);
    const resumed = await second.resume(opened, 1);
    expect(resumed).toMatchObject({ applied: 2, position: 4 });
    const repeated = await second.result();
    expect([repeated.sequence, repeated.session]).toEqual([2, resumed.session]);
    stream.handle = resumed.session;
    await second.send(await stream.frame([8]));
    const whole = await wholeLogits(model, [1, 5, 9], [4], [8]);
    expect(valuesOf(repeated)).toEqual(whole[1]);
    expect(valuesOf(await second.result())).toEqual(whole[2]);
    stream.dispose();
    expect(server.statistics().resumes).toBe(1);
    expect(events.map(({ kind }) => kind)).toContain("resumed");
  });

  it("takes a session over from a connection that is still there", async () => {
    const { server, fingerprint } = await start();
    const [first, second] = [await RawClient.connect(server), await RawClient.connect(server)];
    const opened = await first.open(fingerprint);
    const stream = new RawStream(model, opened.session);
    const frames = [await stream.frame([1, 5, 9]), await stream.frame([4]), await stream.frame([6])];
    stream.dispose();
    // What has not been applied by then is the second connection's to send.
    for (const frame of frames) await first.send(frame);
    const { session, applied } = await second.resume(opened, 0);
    if (applied > 0) await second.result();
    for (const frame of frames.slice(applied)) await second.send({ ...frame, session });
    let last: Frame | undefined;
    for (let sequence = applied + 1; sequence <= 3; sequence++) last = await second.result();
    expect(valuesOf(last!)).toEqual((await wholeLogits(model, [1, 5, 9], [4], [6]))[2]);
    let error = await first.receive();
    while (error?.type === "result") error = await first.receive();
    expect(error?.type).toBe("error");
    await first.send({ ...frames[2]!, sequence: 4 });
    expect(await first.expect("error")).toMatchObject({ code: "unknown-session" });
  });

  it("is for those who know the secret, and are who opened it", async () => {
    const { server, fingerprint } = await start({ authentication: { bearerTokens: { ada: "a", bob: "b" } } });
    const ada = await RawClient.connect(server, { answer: { method: "bearer", token: "a" } });
    const bob = await RawClient.connect(server, { answer: { method: "bearer", token: "b" } });
    const { id, secret } = await ada.open(fingerprint);
    await expect(ada.resume({ id, secret: "0".repeat(64) }, 0)).rejects.toThrow("unknown-session");
    await expect(ada.resume({ id: "0".repeat(32), secret }, 0)).rejects.toThrow("unknown-session");
    await expect(bob.resume({ id, secret }, 0)).rejects.toThrow("unknown-session");
    await expect(ada.resume({ id, secret }, 1)).rejects.toThrow("out-of-order");
    expect(await ada.resume({ id, secret }, 0)).toMatchObject({ applied: 0, position: 0 });
  });
});
