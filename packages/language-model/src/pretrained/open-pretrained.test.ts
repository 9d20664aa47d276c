import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { MissingResourceError, WeightFormatError } from "../errors.ts";
import { sharedData } from "../weights/shared-data.testing.ts";
import { openPretrained } from "./open-pretrained.ts";

describe("openPretrained", () => {
  let folder: string;
  beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "frugal-pretrained-"))));
  afterEach(() => vi.unstubAllEnvs());
  afterAll(() => rm(folder, { recursive: true }));

  it("knows stories15M by name", async () => {
    const { source, loadTokenizer } = await openPretrained("stories15M");
    const tokenizer = await loadTokenizer();
    expect([source.config.hiddenSize, tokenizer.vocabularySize]).toEqual([288, 32000]);
    await source.close();
  });

  it("looks for TinyLlama in the cache folder and says how to fetch it", async () => {
    vi.stubEnv("FRUGAL_CACHE", folder);
    await expect(openPretrained("tinyllama")).rejects.toThrow(`TinyLlama is not at ${folder}`);
    await expect(openPretrained("tinyllama")).rejects.toThrow("language-model fetch tinyllama");
    await writeFile(join(folder, "tinyllama-1.1b-chat-iq2_xxs.gguf"), "GGUF and nothing more");
    await expect(openPretrained("tinyllama")).rejects.toBeInstanceOf(WeightFormatError);
  });

  const weights = sharedData("stories260K", "stories260K.bin");
  it.skipIf(weights === undefined)("takes a llama2.c tokenizer from beside the weights, or as told", async () => {
    const path = join(folder, "model.bin");
    await copyFile(weights!, path);
    const { source, loadTokenizer } = await openPretrained(path);
    await expect(loadTokenizer()).rejects.toBeInstanceOf(MissingResourceError);
    await source.close();
    const vocabulary = sharedData("stories260K", "tok512.bin")!;
    const told = await openPretrained(path, { tokenizer: vocabulary });
    expect((await told.loadTokenizer()).vocabularySize).toBe(512);
    await told.source.close();
    await copyFile(vocabulary, join(folder, "tokenizer.bin"));
    const found = await openPretrained(path);
    expect((await found.loadTokenizer()).vocabularySize).toBe(512);
    await found.source.close();
    const wrong = await openPretrained(path, { tokenizer: join(folder, "absent") });
    await expect(wrong.loadTokenizer()).rejects.toThrow("There is no tokenizer at");
    await wrong.source.close();
  });

  it.each(["models/absent.gguf", "models/absent.BIN", "models/model.safetensors", "packages/absent", "./absent", "../a/b", "/a/b"])(
    "takes %s for a path, and asks no network for it", async (name) => {
      vi.stubGlobal("fetch", () => expect.unreachable("the network was asked"));
      await mkdir(join(folder, "packages"), { recursive: true });
      const cwd = process.cwd();
      process.chdir(folder);
      try {
        const opening = openPretrained(name);
        await expect(opening).rejects.toThrow(`There is no model at ${name}`);
        await expect(opening).rejects.toBeInstanceOf(MissingResourceError);
      } finally {
        process.chdir(cwd);
        vi.unstubAllGlobals();
      }
    },
  );

  it("says what it could have been given", async () => {
    await expect(openPretrained("nothing")).rejects.toThrow("stories15M or tinyllama");
  });
});
