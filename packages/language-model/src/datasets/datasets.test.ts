import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DatasetError, MissingResourceError } from "../errors.ts";
import { loadMobyDick, loadStateOfTheUnion, loadTextFile, splitText } from "./text-source.ts";
import { createTokenDataset } from "./token-dataset.ts";

const ids = (length: number): Int32Array => Int32Array.from({ length }, (_, index) => index);

describe("createTokenDataset", () => {
  it("visits every sequence of an epoch once, each with its next tokens", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 300 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer(),
        (length, sequenceLength, batchSize, seed) => {
          fc.pre(length > sequenceLength);
          const dataset = createTokenDataset(ids(length), { sequenceLength, batchSize, seed });
          const starts = new Set<number>();
          const steps = Math.ceil(dataset.sequencesPerEpoch / batchSize);
          for (let step = 0; step < steps; step++) {
            const { inputs, targets } = dataset.batch(step);
            for (let row = 0; row < batchSize && step * batchSize + row < dataset.sequencesPerEpoch; row++) {
              const start = inputs[row * sequenceLength] as number;
              starts.add(start);
              for (let at = 0; at < sequenceLength; at++) {
                expect(inputs[row * sequenceLength + at]).toBe(start + at);
                expect(targets[row * sequenceLength + at]).toBe(start + at + 1);
              }
            }
          }
          expect(starts.size).toBe(dataset.sequencesPerEpoch);
          expect(new Set([...starts].map((start) => start % sequenceLength)).size).toBe(1);
        },
      ),
    );
  });

  it("is a pure function of seed and step", () => {
    const options = { sequenceLength: 8, batchSize: 4 };
    const one = createTokenDataset(ids(1000), { ...options, seed: 3 });
    const other = createTokenDataset(ids(1000), { ...options, seed: 3 });
    const late = one.batch(500);
    for (let step = 0; step < 40; step++) other.batch(step);
    expect(other.batch(500)).toEqual(late);
    expect(createTokenDataset(ids(1000), { ...options, seed: 4 }).batch(500)).not.toEqual(late);
    // What batches hold is part of a run's identity: these numbers may not change between versions.
    expect([...one.batch(0).inputs].filter((_, at) => at % 8 === 0)).toMatchInlineSnapshot(`
      [
        516,
        964,
        124,
        596,
      ]
    `);
  });

  it("cuts elsewhere and in another order in each epoch", () => {
    const dataset = createTokenDataset(ids(1000), { sequenceLength: 10, batchSize: 98, seed: 1 });
    const epochs = [0, 1, 2, 3].map((step) => [...dataset.batch(step).inputs].filter((_, at) => at % 10 === 0));
    expect(new Set(epochs.map((starts) => (starts[0] as number) % 10)).size).toBeGreaterThan(1);
    expect(new Set(epochs.map((starts) => starts.map((start) => Math.floor(start / 10)).join())).size).toBe(4);
  });

  it("goes in order without shuffling, and refuses what makes no batch", () => {
    const dataset = createTokenDataset(ids(21), { sequenceLength: 5, batchSize: 2, shuffle: false });
    expect(dataset.sequencesPerEpoch).toBe(4);
    expect([...dataset.batch(1).inputs]).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    expect([...dataset.batch(1).targets].at(-1)).toBe(20);
    expect(() => createTokenDataset(ids(5), { sequenceLength: 5, batchSize: 1 })).toThrow(DatasetError);
    expect(() => createTokenDataset(ids(50), { sequenceLength: 0, batchSize: 1 })).toThrow("sequenceLength 0");
    expect(() => createTokenDataset(ids(50), { sequenceLength: 5, batchSize: 1.5 })).toThrow("batchSize 1.5");
    expect(() => createTokenDataset(ids(50), { sequenceLength: 5, batchSize: 1, seed: NaN })).toThrow("seed");
    expect(() => dataset.batch(-1)).toThrow("step -1");
  });
});

describe("text sources", () => {
  it("loads the npm corpora", async () => {
    const mobyDick = await loadMobyDick();
    expect(mobyDick.length).toBeGreaterThan(1_150_000);
    expect(mobyDick).toContain("Call me Ishmael.");
    const speeches = await loadStateOfTheUnion();
    expect(speeches.length).toBeGreaterThan(8_000_000);
    expect(speeches.slice(0, 2000)).toContain("Fellow-Citizens of the Senate");
  });

  it("splits at a paragraph or a space and loses nothing", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("a", " ", "\n\n"), minLength: 20, maxLength: 400 }),
        fc.double({ min: 0.05, max: 0.5, noNaN: true }),
        (text, fraction) => {
          fc.pre(text.slice(1, text.length / 2).includes(" "));
          const { train, validation } = splitText(text, fraction);
          expect(train + validation).toBe(text);
          expect(Math.min(train.length, validation.length)).toBeGreaterThan(0);
        },
      ),
    );
    expect(splitText(`${"a".repeat(85)}\n\n${"b".repeat(13)}`).validation).toBe("b".repeat(13));
    expect(splitText("one\ntwo\nthree\nfour\nfive\n")).toEqual({ train: "one\ntwo\nthree\nfour", validation: "\nfive\n" });
    expect(splitText("one\ttwo\r\nthree", 0.4)).toEqual({ train: "one\ttwo\r", validation: "\nthree" });
    expect(() => splitText(" word")).toThrow(DatasetError);
    expect(() => splitText("word")).toThrow(DatasetError);
    expect(() => splitText("two words", 1)).toThrow("validationFraction 1");
  });

  it("reads UTF-8 files and says what is wrong with others", async () => {
    const folder = await mkdtemp(join(tmpdir(), "frugal-text-"));
    const path = join(folder, "text.txt");
    await writeFile(path, "Où est la baleine ?");
    expect(await loadTextFile(path)).toBe("Où est la baleine ?");
    await writeFile(path, Uint8Array.of(0x61, 0xff));
    await expect(loadTextFile(path)).rejects.toThrow("not UTF-8");
    await writeFile(path, "");
    await expect(loadTextFile(path)).rejects.toThrow("empty");
    await expect(loadTextFile(join(folder, "absent.txt"))).rejects.toBeInstanceOf(MissingResourceError);
    await rm(folder, { recursive: true });
  });
});
