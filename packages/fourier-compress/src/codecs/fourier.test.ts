import { memory, tensor } from "@frugal/tensor-core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CodecMessageError, CodecTargetError, SettingsError } from "../errors.ts";
import { ByteReader } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import { halfWidth, type FourierMode } from "./fourier-bins.ts";
import { FourierEnergy } from "./fourier-energy.ts";
import { searchFourierTokenShare, TOKEN_SHARES } from "./fourier-search.ts";
import { blockSequence } from "./fourier-shape.ts";
import { chooseBins, fourierCoder, readSpectrum, type FourierShape } from "./fourier.ts";
import { expectHardened, randomValues, relativeError, throughCoder } from "./row-coder.testing.ts";

const modes: readonly FourierMode[] = ["literal", "hermitian", "lowpass"];
const share: FourierShape = { kind: "tokenShare", tokenShare: 0.25 };
const shapes: readonly FourierShape[] = [{ kind: "proportional" }, { kind: "fixed", tokens: 3 }, share];

/** Rows that are smooth along both axes, and a little noise. */
function smoothRows(tokens: number, hiddenSize: number): Float32Array {
  return randomValues(tokens * hiddenSize, 3).map((noise, i) => {
    const [s, d] = [Math.floor(i / hiddenSize) / tokens, (i % hiddenSize) / hiddenSize];
    return Math.cos(2 * Math.PI * (s + d)) + 0.5 * Math.sin(2 * Math.PI * (2 * s - 3 * d)) + 0.7 + 0.05 * noise;
  });
}

describe.each(modes)("fourierCoder %s", (mode) => {
  it.each([
    [1, 1],
    [1, 288],
    [7, 1],
    [6, 10],
    [13, 31],
    [32, 48],
  ] as const)("carries all of %i × %i rows when bytes allow", async (tokens, hiddenSize) => {
    const values = randomValues(tokens * hiddenSize);
    for (const shape of shapes) {
      const exact = await throughCoder(fourierCoder(mode, { shape, component: "float32" }), values, [tokens, hiddenSize], {
        kind: "bytes",
        bytes: 4 * values.length + 8,
      });
      expect(relativeError(exact.values, values)).toBeLessThan(1e-6);
      const half = await throughCoder(fourierCoder(mode, { shape, component: "float16" }), values, [tokens, hiddenSize], {
        kind: "bytes",
        bytes: 2 * values.length + 8,
      });
      expect(relativeError(half.values, values)).toBeLessThan(2 ** -11);
      // Nothing is sent twice: a number for each of the rows, and a header.
      expect(half.bytes.length - 2 * values.length).toBeLessThan(8);
    }
  });

  it("fills bytes and elements, and no more", async () => {
    const values = smoothRows(24, 40);
    for (const shape of [shapes[1]!, share]) {
      const coder = fourierCoder(mode, { shape, component: "float16" });
      for (const bytes of [100, 301, 640]) {
        const message = await throughCoder(coder, values, [24, 40], { kind: "bytes", bytes });
        expect(message.bytes.length).toBeGreaterThan(bytes - 2 * 2 * 40);
      }
      const message = await throughCoder(coder, values, [24, 40], { kind: "elements", elements: 96 });
      expect(message.elements).toBeGreaterThan(96 - 12);
    }
  });

  it.each([0.9, 0.3, 0.04, 0.003])("meets a relative error of %d with the smallest block", async (wanted) => {
    const values = smoothRows(24, 40);
    for (const shape of shapes) {
      const coder = fourierCoder(mode, { shape, component: "float16" });
      const message = await throughCoder(coder, values, [24, 40], { kind: "relativeError", relativeError: wanted });
      expect(relativeError(message.values, values)).toBeLessThanOrEqual(wanted);
      if (message.bytes.length < 30) continue;
      const smaller = await throughCoder(coder, values, [24, 40], { kind: "bytes", bytes: message.bytes.length - 1 });
      if (mode !== "literal" || smaller.elements < message.elements)
        expect(relativeError(smaller.values, values)).toBeGreaterThan(0.999 * wanted);
    }
  });

  it("needs float32 for errors below float16's", async () => {
    const values = randomValues(60);
    const target = { kind: "relativeError", relativeError: 1e-5 } as const;
    await expect(throughCoder(fourierCoder(mode, { shape: share, component: "float16" }), values, [6, 10], target)).rejects.toThrow(
      CodecTargetError,
    );
    const message = await throughCoder(fourierCoder(mode, { shape: share, component: "float32" }), values, [6, 10], target);
    expect(relativeError(message.values, values)).toBeLessThan(1e-5);
  });

  it("takes numbers of any size, and refuses those that its float32 sums cannot hold", async () => {
    const coder = fourierCoder(mode, { shape: share, component: "float16" });
    for (const factor of [1e-30, 1e-9, 1e9, 1e20]) {
      const values = randomValues(60).map((value) => value * factor);
      const message = await throughCoder(coder, values, [6, 10], { kind: "bytes", bytes: 200 });
      expect(relativeError(message.values, values)).toBeLessThan(2 ** -11);
    }
    const zero = await throughCoder(coder, new Float32Array(60), [6, 10], { kind: "relativeError", relativeError: 0.1 });
    expect(zero.values.every((value) => value === 0)).toBe(true);
    expect(zero.bytes.length).toBeLessThan(6);
    await expect(throughCoder(coder, new Float32Array(60).fill(1e37), [6, 10], { kind: "bytes", bytes: 200 })).rejects.toThrow(
      CodecTargetError,
    );
    await expect(throughCoder(coder, randomValues(60), [6, 10], { kind: "bytes", bytes: 4 })).rejects.toThrow(CodecTargetError);
  });

  it("loses what Parseval says for any size, shape and target", async () => {
    const side = fc.integer({ min: 1, max: 24 });
    await fc.assert(
      fc.asyncProperty(
        side,
        side,
        fc.constantFrom(...shapes),
        fc.double({ min: 0, max: 1, noNaN: true }),
        async (tokens, hiddenSize, shape, part) => {
          const grid = { tokens, hiddenSize };
          const values = randomValues(tokens * hiddenSize, 31 * tokens + hiddenSize);
          const target = { kind: "elements", elements: 1 + Math.floor(part * values.length) } as const;
          const message = await throughCoder(fourierCoder(mode, { shape, component: "float32" }), values, [tokens, hiddenSize], target);
          using rows = tensor(values, [tokens, hiddenSize]);
          const energy = new FourierEnergy(await readSpectrum(rows, halfWidth(hiddenSize)), grid);
          const bins = chooseBins("fourier", mode, { shape, component: "float32" }, grid, target);
          expect(message.elements).toBe(bins.sentBins);
          expect(relativeError(message.values, values) ** 2).toBeCloseTo(energy.lost(bins) / energy.total, 5);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("refuses what is no message, and leaves no tensor behind", async () => {
    using rows = tensor(randomValues(7 * 12), [7, 12]);
    const coder = fourierCoder(mode, { shape: share, component: "float16" });
    await expectHardened(coder, rows, { kind: "bytes", bytes: 90 });
    await expectHardened(fourierCoder(mode, { shape: share, component: "float32" }), rows, { kind: "bytes", bytes: 120 });
    const huge = new ByteWriter();
    huge.varint(2 ** 32 - 2);
    huge.varint(2 ** 32 - 1);
    const before = memory().allocations;
    await expect(coder.decode(new ByteReader("fourier", huge.finish()), 7, 12, "cpu")).rejects.toThrow(CodecMessageError);
    await coder.encode(rows, { kind: "relativeError", relativeError: 0.5 });
    expect(memory().allocations).toBe(before);
  });
});

describe("fourier shapes", () => {
  it.each(shapes)("gives blocks that each hold the one before, up to all: %j", (shape) => {
    for (const largest of [
      { tokens: 1, channels: 1 },
      { tokens: 1, channels: 9 },
      { tokens: 9, channels: 1 },
      { tokens: 12, channels: 7 },
    ]) {
      const blocks = blockSequence(shape, largest, (tokenShare) => Math.round(tokenShare * largest.tokens));
      const all = Array.from({ length: blocks.length }, (_, index) => blocks.at(index));
      expect(all[0]).toEqual({ tokens: 1, channels: 1 });
      expect(all.at(-1)).toEqual(largest);
      all.slice(1).forEach((block, index) => {
        expect(block.tokens).toBeGreaterThanOrEqual(all[index]!.tokens);
        expect(block.channels).toBeGreaterThanOrEqual(all[index]!.channels);
      });
    }
  });

  it("refuses shapes out of range", () => {
    const make = (shape: FourierShape) => (): unknown => fourierCoder("literal", { shape, component: "float16" });
    expect(make({ kind: "fixed", tokens: 0 })).toThrow(SettingsError);
    expect(make({ kind: "tokenShare", tokenShare: 1.5 })).toThrow(SettingsError);
    expect(make({ kind: "tokenShare", tokenShare: NaN })).toThrow(SettingsError);
    expect(make({ kind: "square" } as unknown as FourierShape)).toThrow(SettingsError);
  });
});

describe("searchFourierTokenShare", () => {
  it("finds the share of rows whose frequencies it is", async () => {
    // All of the tokens' frequencies, the lowest few of the channels'.
    const noise = randomValues(32 * 3, 5);
    const values = Float32Array.from({ length: 32 * 64 }, (_, i) => {
      const [s, d] = [Math.floor(i / 64), (i % 64) / 64];
      return noise[3 * s]! + noise[3 * s + 1]! * Math.cos(2 * Math.PI * d) + noise[3 * s + 2]! * Math.sin(2 * Math.PI * d);
    });
    using rows = tensor(values, [32, 64]);
    const before = memory().allocations;
    const result = await searchFourierTokenShare([rows], { ratio: 16 });
    expect(result.tokenShare).toBe(1);
    expect(result.relativeErrors.map((each) => each.tokenShare)).toEqual(TOKEN_SHARES);
    expect(memory().allocations).toBe(before);
    // The same the other way round, where the fewest token frequencies are enough.
    using turned = rows.transpose();
    const other = await searchFourierTokenShare([turned], { ratio: 10, of: "elements" });
    expect(other.tokenShare).toBe(0.1);
    const coder = fourierCoder("hermitian", { shape: { kind: "tokenShare", tokenShare: 0.1 }, component: "float32" });
    const message = await coder.encode(turned, { kind: "elements", elements: Math.floor(turned.size / 10) });
    using decoded = await coder.decode(new ByteReader("fourier", message.bytes), 64, 32, "cpu");
    const turnedValues = await turned.data("float32");
    expect(relativeError(await decoded.data("float32"), turnedValues)).toBeCloseTo(other.relativeErrors[0]!.relativeError, 5);
  });

  it("needs prompts", async () => {
    await expect(searchFourierTokenShare([])).rejects.toThrow(SettingsError);
  });
});
