import { createServer, type Server } from "node:http";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { DownloadError, MissingResourceError, UnsupportedModelError } from "../errors.ts";
import { loadModel } from "../model/load-model.ts";
import { randomWeights, sourceOf, tinyConfiguration } from "../model/random-weights.testing.ts";
import { saveModel } from "../model/save-model.ts";
import { trainBytePairEncoding } from "../tokenizer/byte-pair-training.ts";
import { fetchHubModel, isHubName } from "./hub-model.ts";
import { openPretrained } from "./open-pretrained.ts";

const commit = "0123456789abcdef0123456789abcdef01234567";

/** The part of the hub's interface that downloads use, over files in memory. */
function startHub(files: ReadonlyMap<string, Uint8Array>, requests: string[]): Promise<Server> {
  const server = createServer((request, response) => {
    const url = decodeURIComponent(request.url!);
    requests.push(`${request.method} ${url}`);
    const send = (status: number, body: unknown): void =>
      void response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    if (!url.includes("owner/tiny")) return send(401, { error: "Invalid username or password." });
    if (url.startsWith("/api/models/owner/tiny/revision/main")) return send(200, { _id: "1", id: "owner/tiny", sha: commit });
    if (url === `/api/models/owner/tiny/paths-info/${commit}`) {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        const { paths } = JSON.parse(body) as { paths: string[] };
        send(200, paths.map((path) => ({ path, type: "file", oid: `oid-${path}`, size: files.get(path)!.length })));
      });
      return;
    }
    const content = files.get(url.split("/").at(-1)!);
    if (content === undefined) return send(404, { error: "Entry not found" });
    if (request.method === "HEAD") return void response.writeHead(200).end();
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "") ?? [];
    const part = from === undefined ? content : content.subarray(Number(from), Number(to) + 1);
    const range = from === undefined ? {} : { "Content-Range": `bytes ${from}-${to}/${content.length}` };
    response.writeHead(from === undefined ? 200 : 206, { ETag: '"1"', "Content-Length": part.length, ...range }).end(part);
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

describe("fetchHubModel", () => {
  const files = new Map<string, Uint8Array>();
  const requests: string[] = [];
  let folder: string;
  let server: Server;
  let endpoint: string;
  beforeAll(async () => {
    vi.spyOn(console, "debug").mockReturnValue();
    folder = await mkdtemp(join(tmpdir(), "frugal-hub-"));
    const config = tinyConfiguration();
    using model = await loadModel(sourceOf(config, randomWeights(config)));
    await saveModel(model, join(folder, "model"));
    for (const name of ["config.json", "model.safetensors"]) files.set(name, await readFile(join(folder, "model", name)));
    files.set("tokenizer.json", new TextEncoder().encode(JSON.stringify(trainBytePairEncoding("a b a b", { vocabularySize: 257 }))));
    server = await startHub(files, requests);
    endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => (requests.length = 0));
  afterAll(async () => {
    vi.restoreAllMocks();
    server.close();
    await rm(folder, { recursive: true });
  });

  it("downloads a model once, and opens it with its tokenizer", async () => {
    const hub = { endpoint, cacheFolder: join(folder, "cache") };
    const named: string[] = [];
    const opened = await openPretrained("owner/tiny", { hub: { ...hub, onFile: (path) => void named.push(path) } });
    expect(named).toEqual(["config.json", "tokenizer.json", "model.safetensors"]);
    expect(opened.source.config).toEqual(tinyConfiguration());
    const tokenizer = await opened.loadTokenizer();
    expect(tokenizer.decode(tokenizer.encode("ab ba"))).toBe("ab ba");
    await opened.source.close();
    requests.length = 0;
    expect(await fetchHubModel("owner/tiny", hub)).toContain(commit);
    expect(requests.filter((request) => request.startsWith("GET /owner"))).toEqual([]);
  });

  it("refuses models it cannot run before their weights are downloaded", async () => {
    const original = files.get("config.json")!;
    const other = { ...(JSON.parse(new TextDecoder().decode(original)) as object), model_type: "gpt_neox" };
    files.set("config.json", new TextEncoder().encode(JSON.stringify(other)));
    try {
      const loading = fetchHubModel("owner/tiny", { endpoint, cacheFolder: join(folder, "other") });
      await expect(loading).rejects.toBeInstanceOf(UnsupportedModelError);
      expect(requests.some((request) => request.includes("safetensors"))).toBe(false);
    } finally {
      files.set("config.json", original);
    }
  });

  it("says what the hub said, and what is missing", async () => {
    const hub = { endpoint, cacheFolder: join(folder, "none") };
    await expect(fetchHubModel("owner/secret", hub)).rejects.toThrow("Invalid username or password");
    await expect(fetchHubModel("owner/secret", hub)).rejects.toBeInstanceOf(DownloadError);
    const weights = files.get("model.safetensors")!;
    files.delete("model.safetensors");
    try {
      await expect(fetchHubModel("owner/tiny", hub)).rejects.toBeInstanceOf(MissingResourceError);
    } finally {
      files.set("model.safetensors", weights);
    }
    await expect(fetchHubModel("owner/tiny", { ...hub, signal: AbortSignal.abort() })).rejects.toThrow("abort");
    await expect(fetchHubModel("owner/tiny", { ...hub, endpoint: "http://127.0.0.1:1" })).rejects.toBeInstanceOf(DownloadError);
  });
});

describe("isHubName", () => {
  it("tells names from paths", () => {
    expect(["Qwen/Qwen2.5-0.5B", "a/b_c"].every(isHubName)).toBe(true);
    expect(["model", "./a/b", "/a/b", "a/b/c", "../b", "a\\b", "a/../b"].some(isHubName)).toBe(false);
  });
});
