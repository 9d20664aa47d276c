import { connect } from "node:net";
import type { Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { BufferPool } from "./buffer-pool.ts";
import { FrameReader } from "./frame-reader.ts";
import { encodeControlFrame, encodeMessageHeader } from "./frame.ts";
import { createNonce, encodeHello, proofOf } from "./handshake.ts";
import { linkFailureKind } from "./link-failure.ts";
import { formatAddress, parseAddress } from "./listen-address.ts";
import { createSocketTransport } from "./socket-transport.ts";
import type { SocketTransportOptions } from "./socket-transport.ts";
import { activation, freshUnixAddress, testNode, until } from "./transport.testing.ts";
import type { TestNode } from "./transport.testing.ts";

const nodes: TestNode[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(nodes.splice(0).map((node) => node.close()));
});

async function create(id: string, options: Partial<SocketTransportOptions> = {}): Promise<TestNode> {
  const transport = await createSocketTransport({ id, listen: freshUnixAddress(), token: "secret", linkTimeout: 400, ...options });
  const node = testNode(id, transport);
  nodes.push(node);
  return node;
}

/** Dials as somebody that keeps to no rules. */
function dialRaw(node: TestNode): Socket {
  const socket = connect(parseAddress(node.peer.address) as { path: string });
  socket.on("error", () => {});
  socket.on("data", () => {}); // without it the end would not be noticed
  sockets.push(socket);
  return socket;
}

/** Resolves with the reason of a refusal, or "closed". */
function refusalOf(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    const reader = new FrameReader(new BufferPool(), 512, (header, payload) => {
      if (header.kind === "refusal") resolve(Buffer.from(payload).toString());
    });
    socket.on("data", (chunk) => {
      reader.push(chunk);
    });
    socket.on("close", () => {
      resolve("closed");
    });
  });
}

describe("createSocketTransport", () => {
  it("refuses peers with another token, on both sides", async () => {
    const a = await create("a");
    const b = await create("b", { token: "another" });
    a.beginEpoch(1, [b]);
    b.beginEpoch(1, [a]);
    await expect(a.send(b, activation(1, 0), new Uint8Array(1))).rejects.toThrow(/refused: whoever listens at .* has another token/);
    expect(linkFailureKind(a.failures[0]!.slice("b: ".length))).toBe("refused");
    await until(() => b.transport.statistics().refusedConnections === 1);
  });

  it("refuses a dialler that does not know the token, which it would have to", async () => {
    const a = await create("a");
    a.beginEpoch(1, [{ ...a, peer: { id: "b", address: "unix:/nowhere" } }]);
    const socket = dialRaw(a);
    const reason = refusalOf(socket);
    const hello = { from: "b", to: "a", epoch: 1, nonce: createNonce() };
    socket.write(encodeControlFrame("hello", 1, encodeHello(hello)));
    socket.write(encodeControlFrame("proof", 1, proofOf("guessed", "dialler", hello, createNonce())));
    expect(await reason).toBe("the tokens differ");
    expect(a.transport.statistics().refusedConnections).toBe(1);
  });

  it("refuses strangers, members of the past, and those who look for somebody else", async () => {
    const [a, b] = [await create("a"), await create("b")];
    a.beginEpoch(3, []);
    b.beginEpoch(3, [a]);
    await expect(b.send(a, activation(3, 0), new Uint8Array(1))).rejects.toThrow("refused: b is no member of epoch 3");
    b.beginEpoch(4, [{ ...a, peer: { id: "elsewhere", address: a.peer.address } }]);
    await expect(b.transport.send({ id: "elsewhere", address: a.peer.address }, activation(4, 0), new Uint8Array(1)))
      .rejects.toThrow("refused: elsewhere is not here; this is a");
    expect(a.failures).toEqual([]);
  });

  it("turns garbage away, and those who say nothing, without harm to its links", async () => {
    const [a, b] = [await create("a"), await create("b")];
    a.beginEpoch(1, [b]);
    b.beginEpoch(1, [a]);
    await a.send(b, activation(1, 0), new Uint8Array(10));
    const random = createNonce;
    const hello = encodeControlFrame("hello", 1, encodeHello({ from: "b", to: "a", epoch: 1, nonce: random() }));
    const garbage = [
      Buffer.from("GET / HTTP/1.1\r\n\r\n".padEnd(64)), Buffer.concat(Array.from({ length: 4000 }, random)),
      encodeControlFrame("welcome", 1), encodeControlFrame("hello", 1, random()), encodeControlFrame("hello", 1, Buffer.alloc(512, 32)),
      encodeMessageHeader(activation(1, 1), new Uint8Array(5000)), Buffer.alloc(0),
      Buffer.concat([hello, encodeControlFrame("bye", 1)]),
    ];
    const reasons = await Promise.all(garbage.map((bytes) => {
      const socket = dialRaw(a);
      const reason = refusalOf(socket);
      socket.write(bytes);
      return reason;
    }));
    expect(reasons).toEqual([
      expect.stringMatching(/no frame: begins with/), expect.stringMatching(/no frame|closed/), "welcome frame in place of a handshake",
      "hello of 32 bytes without two member ids", "hello of 512 bytes without two member ids",
      "activation frame of 5000 bytes, over the limit of 512", "no handshake within 400 ms", "bye frame in place of a handshake",
    ]);
    expect(a.transport.statistics().refusedConnections).toBe(garbage.length);
    await a.send(b, activation(1, 1), new Uint8Array(10));
    expect(a.failures.concat(b.failures)).toEqual([]);
  });

  it("holds a connection of a later epoch, and drops it if that epoch does not name it", async () => {
    const [a, b] = [await create("a"), await create("b")];
    a.beginEpoch(1, []);
    b.beginEpoch(2, [a]);
    const sending = b.send(a, activation(2, 0), new Uint8Array(1)).catch((error: unknown) => String(error));
    await new Promise((resolve) => setTimeout(resolve, 50));
    a.beginEpoch(2, []);
    expect(await sending).toMatch(/closed: the peer closed the connection/);
    expect(a.transport.statistics().refusedConnections).toBe(1);
  });

  it("fails the link when the peer sends frames over the limit", async () => {
    const a = await create("a", { maximumPayloadBytes: 1000 });
    const b = await create("b");
    a.beginEpoch(1, [b]);
    b.beginEpoch(1, [a]);
    await b.send(a, activation(1, 0), new Uint8Array(1001)).catch(() => {});
    await until(() => a.failures.length > 0);
    expect(a.failures).toEqual(["b: corruption: activation frame of 1001 bytes, over the limit of 1000"]);
  });

  it("fails the link to a peer whose address is none, also when it dials first", async () => {
    const [a, b] = [await create("a"), await create("b")];
    a.beginEpoch(1, [{ ...b, peer: { id: "b", address: "garbage" } }]);
    b.beginEpoch(1, [a]);
    await expect(b.send(a, activation(1, 0), new Uint8Array(1))).rejects.toThrow(/closed/);
    expect(a.failures).toEqual(['b: unreachable: address "garbage" is neither unix:/path nor tcp://host:port']);
  });

  it("notices the death of a peer that it rests from reading", async () => {
    const a = await create("a", { maximumUnreleasedBytes: 1000 });
    const b = await create("b");
    a.beginEpoch(1, [b]);
    b.beginEpoch(1, [a]);
    const sending = Promise.allSettled([0, 1, 2].map((i) => b.send(a, activation(1, i), new Uint8Array(4_000_000))));
    await until(() => a.mailbox.unclaimedBytes > 1000);
    b.transport.inject({ kind: "cut" });
    await until(() => a.failures.length > 0);
    expect(a.failures).toEqual(["b: closed: the peer closed the connection"]);
    await sending;
  });

  it("gives up a peer that never dials back", async () => {
    const a = await create("a", { epochLag: 100 });
    const b = await create("b"); // in no epoch
    a.beginEpoch(1, [b]);
    await expect(a.send(b, activation(1, 0), new Uint8Array(1))).rejects.toThrow("unreachable: it has not dialled back within 100 ms");
  });

  it("refuses addresses that cannot be listened on", async () => {
    const a = await create("a");
    await expect(create("b", { listen: a.peer.address })).rejects.toThrow(SettingsError);
    await expect(create("b", { listen: "tcp://0.0.0.0:0" })).rejects.toThrow("say which host to advertise");
    await expect(create("b", { listen: "http://localhost" })).rejects.toThrow("neither unix:/path nor tcp://host:port");
    await expect(create("b", { listen: `unix:/${"x".repeat(200)}` })).rejects.toThrow("a Unix socket's at most 103");
    await expect(create("b", { token: "" })).rejects.toThrow("token is empty");
    const b = await create("b", { listen: "tcp://0.0.0.0:0", advertise: "localhost" });
    expect(b.peer.address).toMatch(/^tcp:\/\/localhost:\d+$/);
    expect(formatAddress(parseAddress("tcp://[::1]:80"))).toBe("tcp://[::1]:80");
  });
});
