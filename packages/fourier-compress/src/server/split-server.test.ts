import { memory } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { FRAME_FLAGS } from "../wire/frame.ts";
import { tinyModel } from "../tiny-model.testing.ts";
import { RawClient, RawStream, testServer, valuesOf, wholeLogits } from "./split-server.testing.ts";

describe("createSplitServer", () => {
  it("computes what the unsplit model does, to the bit, and frees all", async () => {
    const before = memory().allocations;
    {
      using model = tinyModel();
      const { server, fingerprint } = await testServer(model);
      const client = await RawClient.connect(server);
      const opened = await client.open(fingerprint);
      const stream = new RawStream(model, opened.session);
      await client.send(await stream.frame([1, 5, 9, 7]));
      const first = await client.result();
      await client.send(await stream.frame([11]));
      const second = await client.result();
      const whole = await wholeLogits(model, [1, 5, 9, 7], [11]);
      expect([first.sequence, first.position, first.tokens, first.flags]).toEqual([1, 4, 1, FRAME_FLAGS.value]);
      expect(valuesOf(first)).toEqual(whole[0]);
      expect(valuesOf(second)).toEqual(whole[1]);
      stream.dispose();
      expect(server.payloadBytes).toBe(131072);
      expect(server.statistics()).toMatchObject({ connections: 1, sessions: 1, steps: 2, tokens: 5 });
      await server.close();
      expect(server.statistics()).toMatchObject({ connections: 0, sessions: 0, cacheBytes: 0 });
    }
    expect(memory().allocations).toBe(before);
  });
});
