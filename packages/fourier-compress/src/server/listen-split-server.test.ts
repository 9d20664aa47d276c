import type { DecoderModel } from "@frugal/language-model";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Transport } from "../transport/connection.ts";
import { http2Transport } from "../transport/http2.ts";
import { TEST_CERTIFICATE, TEST_KEY } from "../transport/test-certificate.testing.ts";
import { trustingSocket } from "../transport/transports.testing.ts";
import { webSocketTransport } from "../transport/web-socket.ts";
import { answerChallenge, type Credentials } from "../wire/answer-challenge.ts";
import { controlFrame, controlMessage } from "../wire/control-messages.ts";
import { FRAME_FLAGS, makeFrame } from "../wire/frame.ts";
import { tinyModel } from "../tiny-model.testing.ts";
import { listenHttp2 } from "./listen-http2.ts";
import type { Listener } from "./listen-options.ts";
import { listenWebSocket } from "./listen-websocket.ts";
import { RawClient, RawStream, testServer, valuesOf, wholeLogits, type TestServer } from "./split-server.testing.ts";

const tls = { cert: TEST_CERTIFICATE, key: TEST_KEY };
const credentials: readonly Credentials[] = [{ bearerToken: "a token for Ada" }, { principal: "bob", secret: "a secret of Bob" }];

/** Connected over a network, and let in or refused. */
async function handshake(transport: Transport, given: Credentials): Promise<RawClient> {
  const client = new RawClient(await transport());
  await client.send(controlFrame("hello", { client: "test" }));
  await client.send(controlFrame("authenticate", await answerChallenge(await client.expect("challenge"), given)));
  return client;
}

describe("a split server behind its listeners, over TLS", () => {
  let model: DecoderModel;
  let tested: TestServer;
  let listeners: readonly Listener[];
  let transports: readonly Transport[];

  beforeAll(async () => {
    model = tinyModel();
    tested = await testServer(model, { authentication: { bearerTokens: { ada: "a token for Ada" }, secrets: { bob: "a secret of Bob" } } });
    const [first, second] = [await listenWebSocket(tested.server, { tls }), await listenHttp2(tested.server, { tls })];
    listeners = [first, second];
    transports = [
      webSocketTransport(first.url, { createSocket: trustingSocket }), http2Transport(second.url, { tls: { ca: TEST_CERTIFICATE } }),
    ];
  });

  afterAll(async () => {
    await Promise.all(listeners.map((listener) => listener.close()));
    await tested.server.close();
    model.dispose();
  });

  it.each([0, 1])("computes for those it knows, however much they send (listener %d)", async (index) => {
    for (const given of credentials) {
      const client = await handshake(transports[index]!, given);
      await client.expect("welcome");
      const { session } = await client.open(tested.fingerprint, { capacity: 256 });
      const stream = new RawStream(model, session);
      const ids = Array.from({ length: 200 }, (_, position) => (position * 7 + 3) % 61);
      const [expected] = await wholeLogits(model, ids);
      // More than a handshake may take, before and after each answer.
      for (let round = 0; round < 4; round++) {
        stream.truncate(0);
        await client.send(await stream.frame(ids, FRAME_FLAGS.value));
        const values = valuesOf(await client.result());
        expect(values.every((value, at) => Math.abs(value - expected![at]!) < 1e-4)).toBe(true);
      }
      await client.send(controlFrame("close", { session }));
      await client.expect("closed");
      stream.dispose();
      client.connection.close();
    }
  });

  it.each([0, 1])("holds no frame that is longer than its limits allow, whoever sends it (listener %d)", async (index) => {
    const client = await handshake(transports[index]!, credentials[0]!);
    await client.expect("welcome");
    const frame = makeFrame("activation", { payload: new Uint8Array(tested.server.payloadBytes + 1) });
    await client.send(frame).catch(() => undefined);
    // Not one of the session's answers: the transport itself has ended it.
    if (index === 0) await expect(client.receive()).rejects.toThrow("1009");
    else expect(controlMessage("error", (await client.receive())!)).toMatchObject({ code: "bad-frame" });
    await expect(client.receive().catch(() => undefined)).resolves.toBeUndefined();
  });

  it.each([0, 1])("tells others why not, and ends the connection (listener %d)", async (index) => {
    const wrong = [
      { bearerToken: "a token for Eve" }, { principal: "bob", secret: "a guess" }, { principal: "eve", secret: "a secret of Bob" },
    ];
    for (const given of wrong) {
      const client = await handshake(transports[index]!, given);
      const refusal = await client.receive();
      expect(controlMessage("error", refusal!).code).toBe("unauthorized");
      expect(await client.receive()).toBeUndefined();
    }
  });

  it("gives its metrics to whoever may read them", async () => {
    const listener = await listenWebSocket(tested.server, { metrics: { bearerToken: "for the scraper" } });
    const url = listener.url.replace("ws:", "http:");
    expect((await fetch(`${url}metrics`)).status).toBe(401);
    const text = await (await fetch(`${url}metrics`, { headers: { authorization: "Bearer for the scraper" } })).text();
    expect(text).toMatch(/^# HELP /m);
    expect(text).toMatch(/^# TYPE \S+ counter$/m);
    await listener.close();
  });
});
