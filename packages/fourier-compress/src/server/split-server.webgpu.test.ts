import { memory } from "@frugal/tensor-core";
import { expect, it } from "vitest";
import { openLaneDevice } from "../webgpu-lane.testing.ts";
import { tinyModel } from "../tiny-model.testing.ts";
import { RawClient, RawStream, testServer, tokenOf, valuesOf, wholeLogits } from "./split-server.testing.ts";

await openLaneDevice();

it("serves several sessions from a model on WebGPU to clients on the CPU", async () => {
  const before = [memory().allocations, memory("webgpu").allocations];
  {
    using model = tinyModel();
    using served = tinyModel({ device: "webgpu" });
    const { server, fingerprint } = await testServer(served);
    const client = await RawClient.connect(server);
    const prompts = [[1, 5, 9, 7], [1, 8], [1, 22, 40]];
    const kinds = ["logits", "token", "logits"] as const;
    const handles: number[] = [];
    const streams: RawStream[] = [];
    for (const result of kinds) {
      const { session } = await client.open(fingerprint, { result });
      handles.push(session);
      streams.push(new RawStream(model, session));
    }
    for (const pieces of [prompts, [[11], [12], [13]]]) {
      const frames = await Promise.all(streams.map((stream, index) => stream.frame(pieces[index]!)));
      for (const frame of frames) await client.send(frame);
      for (const _ of frames) {
        const result = await client.result();
        const index = handles.indexOf(result.session);
        const fed = pieces === prompts ? [prompts[index]!] : [prompts[index]!, pieces[index]!];
        const expected = (await wholeLogits(model, ...fed)).at(-1)!;
        if (kinds[index] === "token") expect(tokenOf(result).id).toBe(expected.indexOf(Math.max(...expected)));
        else valuesOf(result).forEach((value, column) => expect(Math.abs(value - expected[column]!)).toBeLessThan(1e-3));
      }
    }
    for (const stream of streams) stream.dispose();
    await server.close();
  }
  expect([memory().allocations, memory("webgpu").allocations]).toEqual(before);
});
