import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createByteTokenizer, createHuggingFaceTokenizer, loadMobyDick, splitText, trainBytePairEncoding } from "@frugal/language-model";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FormatError, SettingsError } from "../errors.ts";
import { describeData, openData, openTokenizer, prepareData, tokenizeText } from "./prepare-data.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecefo-data-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const text = "Où est la baleine ? Call me Ishmael.\n\n".repeat(40);
const sample = "Où, “Ishmael” — \u{1F40B}?";

async function textFile(): Promise<string> {
  const path = join(folder, "text.txt");
  await writeFile(path, text);
  return path;
}

describe("prepareData", () => {
  it("writes the bytes of a text, and opens them again", async () => {
    const target = join(folder, "bytes");
    const prepared = await prepareData({ text: await textFile(), folder: target });
    const { train, validation } = splitText(text, 0.1);
    const data = await openData(target, prepared.sha256);
    expect(data.tokens).toEqual(Int32Array.from(new TextEncoder().encode(train)));
    expect(data.validation).toEqual(Int32Array.from(new TextEncoder().encode(validation)));
    expect(prepared).toMatchObject({ vocabularySize: 258, trainingTokens: data.tokens.length, validationTokens: data.validation.length });
    expect(await describeData(target)).toEqual(prepared);
    expect(createHash("sha256").update(await readFile(join(target, "tokens.bin"))).digest("hex")).toBe(prepared.sha256);
    const tokenizer = await openTokenizer(target);
    expect(tokenizer.decode(data.tokens.subarray(0, 30))).toBe(train.slice(0, 29));
    // The file that exported models carry means the same ids.
    const json = JSON.parse(await readFile(join(target, "tokenizer.json"), "utf8")) as unknown;
    const config = JSON.parse(await readFile(join(target, "tokenizer_config.json"), "utf8")) as unknown;
    const saved = createHuggingFaceTokenizer(json, config);
    const bytes = createByteTokenizer();
    expect(saved.vocabularySize).toBe(258);
    expect(saved.encode(sample)).toEqual(bytes.encode(sample));
    expect(saved.decode(bytes.encode(sample))).toBe(sample);
    expect([saved.bosTokenId, ...saved.eosTokenIds]).toEqual([bytes.bosTokenId, ...bytes.eosTokenIds]);
  });

  it("learns a vocabulary from the part that is trained on, or takes a tokenizer's file", async () => {
    const target = join(folder, "pairs");
    const prepared = await prepareData({ text: await textFile(), tokenizer: { bytePair: 270 }, validationFraction: 0.2, folder: target });
    const { train } = splitText(text, 0.2);
    const expected = trainBytePairEncoding(train, { vocabularySize: 270 });
    expect(prepared.vocabularySize).toBe(expected.vocabularySize);
    expect([...(await openData(target)).tokens]).toEqual(expected.encode(train));
    expect((await openTokenizer(target)).encode(sample)).toEqual(expected.encode(sample));

    const copy = join(folder, "copied");
    const file = join(target, "tokenizer.json");
    const again = await prepareData({ text: await textFile(), tokenizer: file, validationFraction: 0.2, folder: copy });
    expect(again.sha256).toBe(prepared.sha256);
    expect((await openTokenizer(copy)).encode(sample)).toEqual(expected.encode(sample));
    await expect(prepareData({ text, tokenizer: join(folder, "none.json"), folder: copy })).rejects.toThrow(FormatError);
    await expect(prepareData({ text: await textFile(), tokenizer: { bytePair: 5 }, folder: copy })).rejects.toThrow("vocabularySize 5");
    await expect(prepareData({ text: await textFile(), validationFraction: 2, folder: copy })).rejects.toThrow(SettingsError);
  });

  it("cuts long texts into pieces without changing their tokens", async () => {
    const mobyDick = await loadMobyDick();
    const tokenizer = trainBytePairEncoding(mobyDick.slice(0, 100_000), { vocabularySize: 300 });
    const long = mobyDick.slice(0, (1 << 20) + 5000);
    expect([...tokenizeText(long, tokenizer)]).toEqual(tokenizer.encode(long));
    const unspaced = "é\u{1F40B}".repeat(1 << 20);
    expect(Buffer.from(Uint8Array.from(tokenizeText(unspaced, createByteTokenizer()))).toString()).toBe(unspaced);
  });

  it("reads folders of texts in the order of their names", async () => {
    const source = join(folder, "texts");
    await mkdir(join(source, "b"), { recursive: true });
    await writeFile(join(source, "c.txt"), "three three three");
    await writeFile(join(source, "a.txt"), "one one one");
    await writeFile(join(source, "b", "x.txt"), "two two two");
    await writeFile(join(source, ".hidden"), Uint8Array.of(255));
    await prepareData({ text: [source], folder: join(folder, "joined") });
    const { tokens, validation } = await openData(join(folder, "joined"));
    expect(Buffer.from([...tokens, ...validation]).toString()).toBe("one one one\n\ntwo two two\n\nthree three three");
    await expect(prepareData({ text: join(folder, "nowhere"), folder })).rejects.toThrow(/nowhere: there is no such text/);
    await expect(prepareData({ text: join(source, ".hidden"), folder })).rejects.toThrow(/\.hidden: is not UTF-8/);
    await mkdir(join(folder, "void"));
    await expect(prepareData({ text: join(folder, "void"), folder })).rejects.toThrow("holds no files");
  });

  it("refuses data that are not what data.json says", async () => {
    const target = join(folder, "damaged");
    const source = await textFile();
    const { sha256 } = await prepareData({ text: source, folder: target });
    await expect(openData(target, "0".repeat(64))).rejects.toThrow(/data\.json: holds tokens of sha256/);
    await expect(openData(join(folder, "nothing"))).rejects.toThrow(/data\.json: there is no such file/);

    const tokens = await readFile(join(target, "tokens.bin"));
    await truncate(join(target, "tokens.bin"), tokens.length - 4);
    await expect(openData(target, sha256)).rejects.toThrow(/tokens\.bin: has \d+ bytes/);
    const changed = Buffer.from(tokens);
    changed[40]! ^= 1;
    await writeFile(join(target, "tokens.bin"), changed);
    await expect(openData(target, sha256)).rejects.toThrow(/tokens\.bin: has the sha256/);

    // Somebody writes a matching description of strange tokens.
    changed.writeInt32LE(258, 40);
    await writeFile(join(target, "tokens.bin"), changed);
    const path = join(target, "data.json");
    const description = await readFile(path, "utf8");
    await writeFile(path, description.replace(sha256, createHash("sha256").update(changed).digest("hex")));
    await expect(openData(target)).rejects.toThrow("token 10 is 258, the vocabulary has 258");
    const changes = [['"formatVersion": 1', '"formatVersion": 2'], ['"tokens": ', '"tokens": 999999999'], ["{", ""]] as const;
    for (const [before, after] of changes) {
      await writeFile(path, description.replace(before, after));
      await expect(openData(target)).rejects.toBeInstanceOf(FormatError);
    }
    await writeFile(path, description.replace('"vocabularySize": 258', '"vocabularySize": 300'));
    await expect(openTokenizer(target)).rejects.toThrow("has 258 tokens, data.json says 300");
  });
});
