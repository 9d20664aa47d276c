import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { parseRange, sendFile, type ServedFile } from "./served-file.ts";

describe("parseRange", () => {
  it.each([
    ["bytes=0-3", { first: 0, last: 3 }], ["bytes=4-", { first: 4, last: 9 }], ["bytes=-3", { first: 7, last: 9 }],
    ["bytes=8-100", { first: 8, last: 9 }], ["bytes=-100", { first: 0, last: 9 }], ["bytes=10-", "unsatisfiable"],
    ["bytes=-0", "unsatisfiable"], ["bytes=3-2", undefined], ["bytes=0-1,4-5", undefined], ["items=0-1", undefined], ["bytes=-", undefined],
    ["bytes=99999999999999999999-", undefined], [undefined, undefined],
  ])("reads %s of ten bytes", (header, expected) => {
    expect(parseRange(header, 10)).toEqual(expected);
  });
});

describe("sendFile", () => {
  it("sends ranges, of memory and of files alike, and nothing twice", async () => {
    const own = new Uint8Array(await (await import("node:fs/promises")).readFile(import.meta.filename));
    const common = { contentType: "text/plain", byteLength: own.length, tag: "a" };
    const files: ServedFile[] = [{ ...common, content: own }, { ...common, content: { path: import.meta.filename } }];
    const server = createServer((request, response) => void sendFile(request, response, files[Number(request.url!.slice(1))]!));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    for (const path of ["/0", "/1"]) {
      const part = await fetch(origin + path, { headers: { range: "bytes=5-24" } });
      expect([part.status, part.headers.get("content-range")]).toEqual([206, `bytes 5-24/${own.length}`]);
      expect(new Uint8Array(await part.arrayBuffer())).toEqual(own.slice(5, 25));
      const whole = await fetch(origin + path);
      expect([whole.status, whole.headers.get("cross-origin-embedder-policy")]).toEqual([200, "require-corp"]);
      expect(new Uint8Array(await whole.arrayBuffer())).toEqual(own);
      expect((await fetch(origin + path, { headers: { range: `bytes=${own.length}-` } })).status).toBe(416);
      expect((await fetch(origin + path, { headers: { "if-none-match": '"a"' } })).status).toBe(304);
      const head = await fetch(origin + path, { method: "HEAD" });
      expect([head.headers.get("content-length"), await head.text()]).toEqual([String(own.length), ""]);
    }
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
});
