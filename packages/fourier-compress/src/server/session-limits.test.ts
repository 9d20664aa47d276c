import { memory } from "@frugal/tensor-core";
import type { DecoderModel } from "@frugal/language-model";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { controlFrame } from "../wire/control-messages.ts";
import { FRAME_FLAGS, type Frame } from "../wire/frame.ts";
import { tinyModel } from "../tiny-model.testing.ts";
import { expectAllocations, RawClient, RawStream, testServer } from "./split-server.testing.ts";
import type { ServerEvent, SplitServer, SplitServerOptions } from "./split-server-options.ts";

let before = 0;
let model: DecoderModel;
let server: SplitServer;
let fingerprint: string;
const events: ServerEvent[] = [];

async function start(options: Partial<SplitServerOptions> = {}): Promise<void> {
  ({ server, fingerprint } = await testServer(model, { onEvent: (event) => events.push(event), ...options }));
}

beforeEach(() => {
  events.length = 0;
  before = memory().allocations;
  model = tinyModel();
});

afterEach(async () => {
  await server.close();
  model.dispose();
  expectAllocations(before);
});

/** Key and value of 2 heads of 8 features in each of the 3 blocks behind the split, float32. */
const TOKEN_BYTES = 2 * 2 * 8 * 3 * 4;

const ids = (count: number): number[] => Array.from({ length: count }, (_, index) => 3 + (index % 50));

describe("expiry", () => {
  it("ends sessions without frames, and frees their caches", async () => {
    await start({ limits: { expirySeconds: 0.2 } });
    const client = await RawClient.connect(server);
    const opened = await client.open(fingerprint);
    const stream = new RawStream(model, opened.session);
    await client.send(await stream.frame(ids(5)));
    await client.result();
    stream.dispose();
    expect(server.statistics().sessions).toBe(1);
    expect(server.statistics().cacheBytes).toBeGreaterThanOrEqual(5 * TOKEN_BYTES);
    expect(await client.expect("error")).toMatchObject({ code: "unknown-session", session: opened.session });
    expect(server.statistics()).toMatchObject({ sessions: 0, cacheBytes: server.statistics().prefixBytes });
    await expect(client.resume(opened, 1)).rejects.toThrow("unknown-session");
    expect(events.map(({ kind }) => kind)).toContain("expired");
    expect(await server.metrics()).toContain("fourier_compress_expired_sessions_total 1\n");
    // A connection without sessions and frames is no use to anybody either.
    expect(await client.receive()).toBeUndefined();
  });

  it("spares sessions in use", async () => {
    await start({ limits: { expirySeconds: 0.25 } });
    const client = await RawClient.connect(server);
    const { session } = await client.open(fingerprint);
    const stream = new RawStream(model, session);
    for (let round = 0; round < 8; round++) {
      await client.send(await stream.frame(ids(1)));
      expect((await client.result()).sequence).toBe(round + 1);
      await new Promise((resolve) => setTimeout(resolve, 80));
    }
    stream.dispose();
  });
});

describe("the quota of cache bytes", () => {
  it("refuses growth beyond it, and takes it up again when there is room", async () => {
    // Room for 100 tokens; caches grow by doubling.
    await start({ limits: { cacheBytes: 100 * TOKEN_BYTES, prefixBytes: 0 } });
    const client = await RawClient.connect(server);
    const [first, second] = [await client.open(fingerprint), await client.open(fingerprint)];
    const streams = [first, second].map(({ session }) => new RawStream(model, session));
    await client.send(await streams[0]!.frame(ids(60), 0));
    await client.result();
    const refused = await streams[1]!.frame(ids(60), 0);
    await client.send(refused);
    expect(await client.expect("error")).toMatchObject({ code: "quota", session: second.session, sequence: 1, retryAfterSeconds: 300 });
    expect(server.statistics().cacheBytes).toBeLessThanOrEqual(100 * TOKEN_BYTES);
    await client.send(controlFrame("close", { session: first.session }));
    await client.expect("closed");
    await client.send(refused);
    expect((await client.result()).position).toBe(60);
    for (const stream of streams) stream.dispose();
  });

  it("refuses one client's growth beyond its share, and spares the others", async () => {
    const bearerTokens = { ada: "token of Ada", bob: "token of Bob" };
    await start({ authentication: { bearerTokens }, limits: { cacheBytes: 400 * TOKEN_BYTES, cacheBytesPerClient: 100 * TOKEN_BYTES } });
    const connect = (token: string): Promise<RawClient> => RawClient.connect(server, { answer: { method: "bearer", token } });
    const [ada, bob] = [await connect(bearerTokens.ada), await connect(bearerTokens.bob)];
    const streams: RawStream[] = [];
    const grow = async (client: RawClient, count: number): Promise<number> => {
      const { session } = await client.open(fingerprint);
      streams.push(new RawStream(model, session));
      await client.send(await streams.at(-1)!.frame(ids(count), 0));
      return session;
    };
    const first = await grow(ada, 60);
    await ada.result();
    await grow(ada, 60);
    expect(await ada.expect("error")).toMatchObject({ code: "quota", sequence: 1 });
    await grow(bob, 60);
    expect((await bob.result()).position).toBe(60);
    await ada.send(controlFrame("close", { session: first }));
    await ada.expect("closed");
    await grow(ada, 60);
    expect((await ada.result()).position).toBe(60);
    for (const stream of streams) stream.dispose();
  });

  it("lets go of kept prefixes first", async () => {
    await start({ limits: { cacheBytes: 150 * TOKEN_BYTES, prefixBytes: 150 * TOKEN_BYTES } });
    const client = await RawClient.connect(server);
    const keep = async (count: number): Promise<void> => {
      const { session } = await client.open(fingerprint);
      const stream = new RawStream(model, session);
      await client.send(await stream.frame(ids(count), 0));
      await client.result();
      await client.send(controlFrame("close", { session }));
      await client.expect("closed");
      stream.dispose();
    };
    await keep(60);
    expect(server.statistics()).toMatchObject({ prefixes: 1, sessions: 0 });
    const { session } = await client.open(fingerprint);
    const stream = new RawStream(model, session);
    await client.send(await stream.frame(ids(120), 0));
    expect((await client.result()).position).toBe(120);
    expect(server.statistics()).toMatchObject({ prefixes: 0, sessions: 1 });
    expect(server.statistics().cacheBytes).toBeLessThanOrEqual(150 * TOKEN_BYTES);
    stream.dispose();
  });

  it("counts kept results", async () => {
    // 100 rows of logits take 24,400 bytes; the cache of 100 tokens 38,400.
    await start({ limits: { cacheBytes: 50_000, prefixBytes: 0 } });
    const client = await RawClient.connect(server);
    const { session } = await client.open(fingerprint);
    const stream = new RawStream(model, session);
    const frame = await stream.frame(ids(100), FRAME_FLAGS.value | FRAME_FLAGS.allRows);
    stream.dispose();
    await client.send(frame);
    expect(await client.expect("error")).toMatchObject({ code: "quota" });
    await client.send({ ...frame, flags: FRAME_FLAGS.value });
    expect((await client.result()).position).toBe(100);
  });
});

describe("slow readers", () => {
  it("get no more read from them, and take no more memory", async () => {
    await start({ limits: { tokensPerSession: 256, prefixBytes: 0 } });
    const client = await RawClient.connect(server, { highWaterMark: 1000 });
    const { session } = await client.open(fingerprint);
    const stream = new RawStream(model, session);
    const prompt = await stream.frame(ids(4));
    stream.dispose();
    // Each goes back to the start, and is answered by 244 bytes that nobody reads.
    const sent: Promise<void>[] = [];
    let accepted = 0;
    for (let sequence = 1; sequence <= 3000; sequence++) {
      sent.push(client.send({ ...prompt, sequence }).then(() => void accepted++));
    }
    let seen = -1;
    while (seen !== accepted) {
      seen = accepted;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // 512 frames may be in work or on their way, and a few in the pipe.
    expect(accepted).toBeLessThan(700);
    const received: number[] = [];
    while (received.length < 3000) received.push((await client.result()).sequence);
    expect(received).toEqual(Array.from({ length: 3000 }, (_, index) => index + 1));
    await Promise.all(sent);
  });
});

describe("sessions that are taken from one connection to the next", () => {
  it("leave no connection behind that nobody reads", async () => {
    await start();
    let holder = await RawClient.connect(server, { highWaterMark: 1 });
    const opened = await holder.open(fingerprint);
    const stream = new RawStream(model, opened.session);
    const all = FRAME_FLAGS.value | FRAME_FLAGS.allRows;
    for (let round = 0; round < 4; round++) {
      stream.truncate(0);
      await holder.send(await stream.frame(ids(100), all, { sequence: round + 1 }));
      await expect.poll(() => server.statistics().tokens).toBe(100 * (round + 1));
      // The result is not read, nor is anything that follows it here.
      holder = await RawClient.connect(server, { highWaterMark: 1 });
      stream.handle = (await holder.resume(opened, round)).session;
      expect((await holder.result()).sequence).toBe(round + 1);
    }
    stream.dispose();
    await expect.poll(() => server.statistics().connections, { timeout: 5000 }).toBe(1);
    expect(server.statistics().sessions).toBe(1);
  });
});

describe("rates", () => {
  it("slow a client down", async () => {
    await start({ limits: { framesPerSecond: 10 } });
    const client = await RawClient.connect(server);
    const { session } = await client.open(fingerprint);
    const stream = new RawStream(model, session);
    const frame = await stream.frame(ids(2), 0);
    stream.dispose();
    const began = performance.now();
    // A hundred at once after a rest, then ten a second.
    for (let sequence = 1; sequence <= 103; sequence++) await client.send({ ...frame, sequence });
    for (let sequence = 1; sequence <= 103; sequence++) await client.result();
    expect(performance.now() - began).toBeGreaterThan(250);
    expect(await server.metrics()).toMatch(/rate_limit_delays_total [1-9]/);
  });
});

describe("close", () => {
  it("says so, ends everything, and refuses what comes after", async () => {
    await start();
    const client = await RawClient.connect(server);
    const { session } = await client.open(fingerprint);
    const stream = new RawStream(model, session);
    await client.send(await stream.frame(ids(50)));
    stream.dispose();
    const closing = server.close();
    const frames: (Frame | undefined)[] = [];
    do frames.push(await client.receive());
    while (frames.at(-1) !== undefined);
    expect(new TextDecoder().decode(frames.at(-2)!.payload)).toContain("shutting-down");
    await closing;
    await server.close();
    expect(server.statistics()).toMatchObject({ connections: 0, sessions: 0, cacheBytes: 0, prefixes: 0 });
    expect(await RawClient.dial(server).expect("error")).toMatchObject({ code: "shutting-down" });
  });

  it("does not wait for clients that do not read", async () => {
    await start();
    const client = await RawClient.connect(server, { highWaterMark: 1 });
    for (let request = 0; request < 20; request++) await client.sendOpen(fingerprint);
    await expect.poll(() => server.statistics().sessions).toBeGreaterThan(5);
    const began = performance.now();
    await server.close();
    expect(performance.now() - began).toBeLessThan(2500);
  });
});

describe("settings", () => {
  it("are checked", async () => {
    await start();
    const refused = (options: Partial<SplitServerOptions>): Promise<unknown> =>
      testServer(model, options).then(() => undefined, (error: unknown) => error);
    expect(await refused({ limits: { sessions: 0 } })).toEqual(new SettingsError("limits.sessions 0; use an integer >= 1"));
    expect(await refused({ limits: { expirySeconds: -1 } })).toBeInstanceOf(SettingsError);
    const long = new SettingsError("limits.tokensPerSession 300; the model has 256 positions");
    expect(await refused({ limits: { tokensPerSession: 300 } })).toEqual(long);
    expect(await refused({ splitBlocks: [1, 5] })).toBeInstanceOf(SettingsError);
    expect(await refused({ codecs: ["zip"] })).toBeInstanceOf(SettingsError);
    expect(await refused({ authentication: {} })).toBeInstanceOf(SettingsError);
  });
});
