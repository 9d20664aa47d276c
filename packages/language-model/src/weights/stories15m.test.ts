import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ChecksumError, MissingResourceError } from "../errors.ts";
import { openStories15m, STORIES15M_BYTES } from "./stories15m.ts";

describe("openStories15m", () => {
  it("opens the weights of the installed package after checking them", async () => {
    const source = await openStories15m();
    expect(source.config).toMatchObject({ hiddenSize: 288, intermediateSize: 768, numHiddenLayers: 6, vocabularySize: 32000 });
    const embedding = await source.read("model.embed_tokens.weight");
    expect(embedding.byteLength).toBe(32000 * 288 * 4);
    await source.close();
  });

  it("says what to install when the file is missing, and refuses other bytes", async () => {
    const folder = await mkdtemp(join(tmpdir(), "stories15m-"));
    await expect(openStories15m(join(folder, "absent.data"))).rejects.toThrow("npm install");
    const short = join(folder, "short.data");
    await writeFile(short, new Uint8Array(100));
    await expect(openStories15m(short)).rejects.toBeInstanceOf(MissingResourceError);
    const wrong = join(folder, "wrong.data");
    await writeFile(wrong, "");
    await truncate(wrong, STORIES15M_BYTES);
    await expect(openStories15m(wrong)).rejects.toBeInstanceOf(ChecksumError);
    await rm(folder, { recursive: true });
  });
});
