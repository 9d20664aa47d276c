import { memory } from "@frugal/tensor-core";
import { expect, it } from "vitest";
import { controlFrame } from "../wire/control-messages.ts";
import { encodeFrame, FRAME_HEADER_BYTES } from "../wire/frame.ts";
import { crc32c } from "../wire/crc32c.ts";
import { tinyModel } from "../tiny-model.testing.ts";
import { RawClient, RawStream, testServer, valuesOf, wholeLogits } from "./split-server.testing.ts";

/** Numbers below `bound`, the same in every run (Marsaglia's xorshift32). */
function randomNumbers(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
}

/** Gives a damaged frame a checksum that holds, so that what is behind it is tried as well. */
function repaired(bytes: Uint8Array): Uint8Array {
  if (bytes.length < FRAME_HEADER_BYTES) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(36, bytes.length - FRAME_HEADER_BYTES, true);
  view.setUint32(40, crc32c(bytes.subarray(FRAME_HEADER_BYTES), crc32c(bytes.subarray(0, 40))), true);
  return bytes;
}

it("outlives frames that are damaged in every way, and serves others meanwhile", async () => {
  const before = memory().allocations;
  const model = tinyModel();
  const { server, fingerprint } = await testServer(model, {
    // The attackers' sessions would otherwise share the honest one's steps, and round its results.
    exact: true,
    limits: { sessions: 8, sessionsPerClient: 8, framesPerSecond: 1e6, bytesPerSecond: 1e9, prefixBytes: 20_000 },
  });
  const random = randomNumbers(2463534242);
  const honest = await RawClient.connect(server);
  const own = await honest.open(fingerprint);
  const stream = new RawStream(model, own.session);
  await honest.send(await stream.frame([1, 5, 9]));
  await honest.result();

  const attacker = new RawStream(model, 1);
  const activation = encodeFrame(await attacker.frame([1, 5, 9, 7]));
  attacker.dispose();
  const open = encodeFrame(
    controlFrame("open", { request: 1, fingerprint, splitBlock: 1, codec: "float32", result: "logits", capacity: 64 }),
  );
  const templates = [
    activation, activation, activation, open, encodeFrame(controlFrame("close", { session: 1 })),
    encodeFrame(controlFrame("resume", { request: 2, id: "ab".repeat(16), secret: "cd".repeat(32), received: 0 })),
  ];
  const atFirst = memory().peakBytes;
  let connections = 0;
  for (let sent = 0; sent < 4000; ) {
    const client = await RawClient.connect(server, { highWaterMark: 1 << 24 });
    connections++;
    await client.open(fingerprint, { capacity: 64 }).catch(() => undefined);
    // Until the server has enough of it, at the latest after fifty frames.
    for (let frame = 0; frame < 50; frame++, sent++) {
      let bytes: Uint8Array = templates[random(templates.length)]!.slice();
      const damage = random(8);
      if (damage < 5) for (let flips = 1 + random(4); flips > 0; flips--) bytes[8 + random(bytes.length - 8)]! ^= 1 << random(8);
      if (damage === 5) bytes = bytes.slice(0, random(bytes.length));
      if (damage === 6) bytes = Uint8Array.from({ length: random(200) }, () => random(256));
      if (random(10) > 0) repaired(bytes);
      try {
        await client.connection.send(bytes);
      } catch {
        break;
      }
    }
    client.connection.close();
    await expect.poll(() => server.statistics().connections).toBe(1);
  }
  expect(connections).toBeGreaterThan(20);
  expect(server.statistics().sessions).toBeLessThanOrEqual(8);
  expect(memory().peakBytes - atFirst).toBeLessThan(4 << 20);
  await honest.send(await stream.frame([4]));
  expect(valuesOf(await honest.result())).toEqual((await wholeLogits(model, [1, 5, 9], [4]))[1]);
  stream.dispose();
  await server.close();
  model.dispose();
  expect(memory().allocations).toBe(before);
});
