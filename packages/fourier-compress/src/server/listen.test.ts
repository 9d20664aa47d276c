import { connect, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http2";
import { connect as connectSocket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket as PausableWebSocket, WebSocketServer, type ClientOptions } from "ws";
import { ConnectionError, FourierCompressError, FrameError, SettingsError } from "../errors.ts";
import { cuttingProxy } from "../transport/cutting-proxy.testing.ts";
import { TEST_CERTIFICATE, TEST_KEY } from "../transport/test-certificate.testing.ts";
import { ConnectionTrap, numberedFrame, trustingSocket } from "../transport/transports.testing.ts";
import { http2Transport } from "../transport/http2.ts";
import { webSocketTransport } from "../transport/web-socket.ts";
import type { WebSocketLike } from "../transport/web-socket-connection.ts";
import { listenHttp2, type ListenHttp2Options } from "./listen-http2.ts";
import type { Listener } from "./listen-options.ts";
import { listenWebSocket, type ListenWebSocketOptions } from "./listen-websocket.ts";

const MEBIBYTE = 1 << 20;
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

let listeners: Listener[] = [];
let trap = new ConnectionTrap();

afterEach(async () => {
  trap.releaseAll();
  trap = new ConnectionTrap();
  await Promise.all(listeners.map((listener) => listener.close()));
  listeners = [];
});

async function listeningWebSocket(options: ListenWebSocketOptions = {}): Promise<Listener> {
  const listener = await listenWebSocket(trap, options);
  listeners.push(listener);
  return listener;
}

async function listeningHttp2(options: ListenHttp2Options = {}): Promise<Listener> {
  const listener = await listenHttp2(trap, options);
  listeners.push(listener);
  return listener;
}

/** Makes WebSockets of the package ws with options. */
const socketWith = (options: ClientOptions) => (url: string, protocols: string[]): WebSocketLike =>
  new PausableWebSocket(url, protocols, options) as unknown as WebSocketLike;

/** Makes WebSockets that say they come from a page. */
const socketFrom = (origin: string) => socketWith({ origin });

/** One HTTP/2 request and the whole of its answer. */
async function request(url: string, headers: OutgoingHttpHeaders): Promise<{ status: number; headers: IncomingHttpHeaders; body: string }> {
  const session = connect(url);
  try {
    return await new Promise((resolve, reject) => {
      session.on("error", reject);
      const stream = session.request(headers);
      let body = "";
      let answer: IncomingHttpHeaders = {};
      stream.setEncoding("utf8");
      stream.on("response", (received) => (answer = received));
      stream.on("data", (chunk: string) => (body += chunk));
      stream.on("error", reject);
      stream.on("end", () => resolve({ status: Number(answer[":status"]), headers: answer, body }));
      stream.end();
    });
  } finally {
    session.close();
  }
}

describe("listenWebSocket", () => {
  it("answers /healthz and /metrics, and nothing else", async () => {
    const { url } = await listeningWebSocket();
    const address = url.replace("ws:", "http:");
    expect(await (await fetch(`${address}healthz`)).text()).toBe("ok\n");
    const metrics = await fetch(`${address}metrics?all`);
    expect(metrics.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(await metrics.text()).toBe("trapped_connections 1\n");
    expect((await fetch(address)).status).toBe(404);
    expect((await fetch(`${address}metrics`, { method: "POST", body: "x".repeat(1000) })).status).toBe(405);
    expect((await fetch(`${address}metrics`, { method: "HEAD" })).status).toBe(200);
  });

  it("asks for the token of the metrics, and can turn them off", async () => {
    const guarded = await listeningWebSocket({ metrics: { bearerToken: "read me", path: "/internal/metrics" } });
    const closed = guarded.url.replace("ws:", "http:");
    expect((await fetch(`${closed}internal/metrics`)).status).toBe(401);
    expect((await fetch(`${closed}internal/metrics`, { headers: { authorization: "Bearer read" } })).status).toBe(401);
    expect((await fetch(`${closed}internal/metrics`, { headers: { authorization: "Bearer read me" } })).status).toBe(200);
    expect((await fetch(`${closed}metrics`)).status).toBe(404);
    const off = (await listeningWebSocket({ metrics: false })).url.replace("ws:", "http:");
    expect((await fetch(`${off}metrics`)).status).toBe(404);
    expect((await fetch(`${off}healthz`)).status).toBe(200);
  });

  it("refuses pages of other origins, and everything without one if told to", async () => {
    const { url } = await listeningWebSocket({ origins: ["https://chat.example"] });
    await expect(webSocketTransport(url, { createSocket: socketFrom("https://evil.example") })()).rejects.toThrow(/403/);
    await expect(webSocketTransport(url, { createSocket: socketFrom("https://chat.example") })()).resolves.toBeDefined();
    await expect(webSocketTransport(url)()).resolves.toBeDefined();
    const strict = await listeningWebSocket({ origins: ["*"], requireOrigin: true });
    await expect(webSocketTransport(strict.url, { createSocket: socketWith({}) })()).rejects.toThrow(/403/);
    await expect(webSocketTransport(strict.url, { createSocket: socketFrom("https://any.example") })()).resolves.toBeDefined();
  });

  it("takes connections on its path alone", async () => {
    const { url } = await listeningWebSocket({ path: "/split" });
    expect(url).toMatch(/\/split$/);
    await expect(webSocketTransport(`${url}?model=1`)()).resolves.toBeDefined();
    await expect(webSocketTransport(`${url}/more`)()).rejects.toThrow(ConnectionError);
    await expect(webSocketTransport(new URL("/", url))()).rejects.toThrow(ConnectionError);
  });

  it("bounds connections by address, and takes new ones when old ones have gone", async () => {
    const { url } = await listeningWebSocket({ connectionsPerAddress: 2 });
    const connect = webSocketTransport(url);
    const first = await connect();
    await connect();
    await expect(connect()).rejects.toThrow(ConnectionError);
    const server = await trap.next();
    first.close();
    expect(await server.receive()).toBeUndefined();
    await pause(50);
    await expect(connect()).resolves.toBeDefined();
  });

  it("counts by the address that a proxy reports, if told to", async () => {
    const { url } = await listeningWebSocket({ connectionsPerAddress: 1, addressOf: (headers) => String(headers["x-client"]) });
    const from = (client: string) => webSocketTransport(url, { createSocket: socketWith({ headers: { "x-client": client } }) });
    await from("192.0.2.1")();
    expect((await trap.next()).peer).toBe("192.0.2.1");
    await expect(from("192.0.2.1")()).rejects.toThrow(/503/);
    await expect(from("192.0.2.2")()).resolves.toBeDefined();
  });

  it("refuses messages above the limit and text", async () => {
    const { url } = await listeningWebSocket({ maxPayload: 1000 });
    const client = await webSocketTransport(url)();
    const server = await trap.next();
    await client.send(numberedFrame(1, 1000));
    expect((await server.receive())?.length).toBe(1044);
    await client.send(numberedFrame(2, 1001));
    await expect(server.receive()).rejects.toThrow(FrameError);
    await expect(client.receive()).rejects.toThrow(/closed with code 1009/);

    const socket = new PausableWebSocket(url);
    await new Promise((resolve) => socket.on("open", resolve));
    socket.send("hello");
    await expect((await trap.next()).receive()).rejects.toThrow(/a text message came/);
    await new Promise((resolve) => socket.on("close", resolve));
  });

  it("cuts a client that never answers its pings, and keeps one that does", async () => {
    const { url, port } = await listeningWebSocket({ idleSeconds: 0.3 });
    const living = await webSocketTransport(url)();
    const withLiving = await trap.next();
    const socket = connectSocket(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n");
    await expect((await trap.next()).receive()).rejects.toThrow(ConnectionError);
    await pause(300);
    await living.send(numberedFrame(5));
    expect(await withLiving.receive()).toBeDefined();
  });

  it("cuts connections that never finish a request", async () => {
    const { port } = await listeningWebSocket({ handshakeSeconds: 0.3 });
    const socket = connectSocket(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.resume();
    socket.write("GET / HTTP/1.1\r\nHost:");
    const start = performance.now();
    await new Promise((resolve) => socket.on("close", resolve));
    expect(performance.now() - start).toBeLessThan(3000);
  });

  it("survives bytes that are no HTTP, and a broken upgrade", async () => {
    const { url, port } = await listeningWebSocket();
    const upgradeWithoutKey = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    for (const bytes of ["\u0016\u0003\u0001 hello\r\n\r\n", upgradeWithoutKey]) {
      const socket = connectSocket(port, "127.0.0.1");
      let answer = "";
      socket.on("error", () => {});
      socket.on("data", (data) => (answer += data.toString("latin1")));
      socket.write(bytes);
      await new Promise((resolve) => socket.on("close", resolve));
      expect(answer).toContain("400 Bad Request");
    }
    await expect(webSocketTransport(url)()).resolves.toBeDefined();
  });

  it("ends its connections when it closes, and can be closed twice", async () => {
    const { url, close } = await listenWebSocket(trap);
    const client = await webSocketTransport(url)();
    const waiting = client.receive();
    await Promise.all([close(), close()]);
    expect(await waiting).toBeUndefined();
    await expect(webSocketTransport(url)()).rejects.toThrow(ConnectionError);
  });

  it("lets clients refuse messages above their limit and text, in Node's WebSocket as in that of ws", async () => {
    const webSockets = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await new Promise((resolve) => webSockets.on("listening", resolve));
    const url = `ws://127.0.0.1:${(webSockets.address() as { port: number }).port}`;
    const codes: number[] = [];
    let message: string | Uint8Array = "hello";
    webSockets.on("connection", (socket) => {
      socket.on("close", (code) => codes.push(code));
      socket.send(message);
    });
    for (const options of [{}, { createSocket: socketWith({}) }]) {
      message = "hello";
      await expect((await webSocketTransport(url, options)()).receive()).rejects.toThrow(/a text message came/);
      message = numberedFrame(1, 2000);
      const client = await webSocketTransport(url, { ...options, payloadBytes: 1999 })();
      await expect(client.receive()).rejects.toThrow(/2044 bytes exceeds the limit of 1999 payload bytes/);
      await expect(client.send(numberedFrame(2))).rejects.toThrow(ConnectionError);
    }
    while (codes.length < 4) await pause(5);
    expect(codes).toEqual([4003, 4009, 4003, 4009]);
    webSockets.close();
  });

  it("fails a client that cannot pause and does not read, with a clear error", async () => {
    const { url } = await listeningWebSocket();
    const client = await webSocketTransport(url, { receiveBytes: 4 * MEBIBYTE, payloadBytes: MEBIBYTE })();
    const server = await trap.next();
    const sending = (async () => {
      for (;;) await server.send(numberedFrame(1, MEBIBYTE));
    })();
    await expect(sending).rejects.toThrow(ConnectionError);
    const reading = async (): Promise<void> => {
      while ((await client.receive()) !== undefined);
    };
    await expect(reading()).rejects.toThrow(/bytes of frames wait to be received, more than 4194304, and this WebSocket cannot be paused/);
  });

  it("serves over TLS alone when it has a certificate", async () => {
    const { url } = await listeningWebSocket({ tls: { cert: TEST_CERTIFICATE, key: TEST_KEY } });
    expect(url).toMatch(/^wss:/);
    await expect(webSocketTransport(url, { createSocket: trustingSocket })()).resolves.toBeDefined();
    // Node's own WebSocket does not know this certificate, and must not take it.
    await expect(webSocketTransport(url)()).rejects.toThrow(ConnectionError);
    await expect(webSocketTransport(url.replace("wss:", "ws:"))()).rejects.toThrow(ConnectionError);
  });

  it("says when the port is taken", async () => {
    const { port } = await listeningWebSocket();
    await expect(listenWebSocket(trap, { port })).rejects.toThrow(/EADDRINUSE/);
  });
});

describe("webSocketTransport", () => {
  it("refuses other schemes, and gives up on a server that does not answer", async () => {
    expect(() => webSocketTransport("https://example.org")).toThrow(SettingsError);
    const silent = (await import("node:net")).createServer();
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as { port: number };
    const patience = { connectSeconds: 0.2 };
    await expect(webSocketTransport(`ws://127.0.0.1:${port}`, patience)()).rejects.toThrow(/did not answer within 0.2 seconds/);
    await expect(http2Transport(`http://127.0.0.1:${port}`, patience)()).rejects.toThrow(/did not answer within 0.2 seconds/);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    await expect(webSocketTransport(`ws://127.0.0.1:${port}`)({ signal: controller.signal })).rejects.toThrow(/aborted/);
    silent.close();
  });
});

describe("listenHttp2", () => {
  it("lets go of a request that never ends, once it is answered", async () => {
    const { url } = await listeningHttp2();
    const session = connect(url);
    for (const path of ["/healthz", "/nowhere"]) {
      const stream = session.request({ ":path": path }, { endStream: false });
      stream.resume();
      const start = performance.now();
      await new Promise((resolve) => stream.on("close", resolve));
      expect(performance.now() - start).toBeLessThan(5000);
    }
    session.close();
  });

  it("answers /healthz and /metrics, and refuses what is no stream of frames", async () => {
    const { url } = await listeningHttp2({ metrics: { bearerToken: "read me" } });
    expect((await request(url, { ":path": "/healthz" })).body).toBe("ok\n");
    expect((await request(url, { ":path": "/metrics" })).status).toBe(401);
    const metrics = await request(url, { ":path": "/metrics", authorization: "Bearer read me" });
    expect([metrics.status, metrics.body]).toEqual([200, "trapped_connections 1\n"]);
    expect((await request(url, { ":path": "/" })).status).toBe(404);
    expect((await request(url, { ":path": "/", ":method": "POST" })).status).toBe(415);
    expect(trap.accepted).toHaveLength(0);
  });

  it("refuses pages of other origins", async () => {
    const { url } = await listeningHttp2({ origins: ["https://chat.example"] });
    await expect(http2Transport(url, { headers: { origin: "https://evil.example" } })()).rejects.toThrow(/status 403/);
    await expect(http2Transport(url, { headers: { origin: "https://chat.example" } })()).resolves.toBeDefined();
  });

  it("bounds connections by address", async () => {
    const { url } = await listeningHttp2({ connectionsPerAddress: 1 });
    const client = await http2Transport(url)();
    await expect(http2Transport(url)()).rejects.toThrow(/status 503/);
    const server = await trap.next();
    client.close();
    expect(await server.receive()).toBeUndefined();
    server.close();
    await pause(100);
    await expect(http2Transport(url)()).resolves.toBeDefined();
  });

  it("refuses frames above the limit and bytes that are no frame, by their header alone", async () => {
    const { url } = await listeningHttp2({ maxPayload: 1000 });
    const client = await http2Transport(url)();
    const server = await trap.next();
    await client.send(numberedFrame(1, 1000));
    await client.send(numberedFrame(2, 1001).subarray(0, 44));
    expect((await server.receive())?.length).toBe(1044);
    await expect(server.receive()).rejects.toThrow(/1001 bytes exceeds the limit of 1000/);
    const other = await http2Transport(url)();
    await other.send(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: somewhere-else.example\r\n\r\n"));
    await expect((await trap.next()).receive()).rejects.toThrow(/no frame begins with 0x20544547/);
  });

  it("tells an end within a frame from an orderly one", async () => {
    const { url } = await listeningHttp2();
    const client = await http2Transport(url)();
    const server = await trap.next();
    await client.send(numberedFrame(1, 100).subarray(0, 60));
    client.close();
    await expect(server.receive()).rejects.toThrow(/ended 60 bytes into a frame/);
  });

  it("closes sessions without a stream", async () => {
    const { url } = await listeningHttp2({ handshakeSeconds: 0.2 });
    const session = connect(url);
    const start = performance.now();
    await new Promise((resolve) => session.on("close", resolve));
    expect(performance.now() - start).toBeLessThan(3000);
  });

  it("cuts sessions that do not answer pings, and keeps those that do", async () => {
    const { url, port } = await listeningHttp2({ idleSeconds: 0.3 });
    const living = await http2Transport(url)();
    const withLiving = await trap.next();
    const socket = connectSocket(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.resume();
    // The preface and empty settings, then silence.
    socket.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.from("000000040000000000", "hex")]));
    await new Promise((resolve) => socket.on("close", resolve));
    await living.send(numberedFrame(5));
    expect(await withLiving.receive()).toBeDefined();
  });

  it("ends its connections when it closes", async () => {
    const { url, close } = await listenHttp2(trap);
    const client = await http2Transport(url)();
    await trap.next();
    await Promise.all([expect(client.receive()).rejects.toThrow(ConnectionError), close()]);
    await expect(http2Transport(url)()).rejects.toThrow(ConnectionError);
  });
});

describe("before a client is known", () => {
  it.each([
    ["WebSockets", listeningWebSocket, (url: string) => webSocketTransport(url)],
    ["HTTP/2", listeningHttp2, (url: string) => http2Transport(url)],
  ] as const)("%s carry a handshake, and no more", async (_, listen, transportTo) => {
    trap = new ConnectionTrap(false);
    const { url } = await listen({});
    const [eager, patient] = [await transportTo(url)(), await transportTo(url)()];
    const [withEager, withPatient] = [await trap.next(), await trap.next()];
    for (const [client, server] of [[eager, withEager], [patient, withPatient]] as const) {
      await client.send(numberedFrame(1, 20_000));
      expect(await server.receive()).toBeDefined();
    }
    const sending = eager.send(numberedFrame(2, 200_000)).catch((error: unknown) => expect(error).toBeInstanceOf(ConnectionError));
    await Promise.all([expect(withEager.receive()).rejects.toThrow(FourierCompressError), sending]);
    withPatient.authenticated?.();
    await patient.send(numberedFrame(2, 200_000));
    expect((await withPatient.receive())?.length).toBe(200_044);
  });
});

describe("a network that breaks", () => {
  it.each([
    ["WebSockets", listeningWebSocket, (port: number) => webSocketTransport(`ws://127.0.0.1:${port}`)],
    ["HTTP/2", listeningHttp2, (port: number) => http2Transport(`http://127.0.0.1:${port}`)],
  ] as const)("fails both ends over %s, and connects again", async (_, listen, transportTo) => {
    const { port } = await listen({});
    const proxy = await cuttingProxy(port);
    const connect = transportTo(proxy.port);
    const client = await connect();
    const server = await trap.next();
    await client.send(numberedFrame(1));
    expect(await server.receive()).toBeDefined();
    const outcomes = Promise.all([client, server].map((end) => expect(end.receive()).rejects.toThrow(ConnectionError)));
    proxy.cut();
    await outcomes;
    await expect(client.send(numberedFrame(2))).rejects.toThrow(ConnectionError);
    await expect(server.send(numberedFrame(2))).rejects.toThrow(ConnectionError);
    const again = await connect();
    await again.send(numberedFrame(3));
    expect(await (await trap.next()).receive()).toBeDefined();
    again.close();
    proxy.close();
  });
});
