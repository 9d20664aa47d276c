import { dispose, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { TINYLLAMA_HIDDEN_SIZE, tinyllamaPrompts, type ActivationPrompt } from "../tinyllama-activations.testing.ts";
import { ByteReader } from "./byte-reader.ts";
import { channelShuffleCoder } from "./channel-shuffle.ts";
import { cosineCoder } from "./cosine.ts";
import { searchFourierTokenShare } from "./fourier-search.ts";
import { fourierCoder, type FourierMode } from "./fourier.ts";
import { groupIntegerCoder } from "./group-integers.ts";
import { lowRankCoder } from "./low-rank.ts";
import type { RowCoder, RowTarget } from "./row-coder.ts";
import { topKCoder } from "./top-k.ts";

/** Compression against float16 at which codecs are compared. */
const RATIOS = [4, 7.6, 10, 16] as const;
/** Shares of the token frequencies of which our first measurement took the best, at each ratio. */
const SHARES = [0.15, 0.25, 0.5, 1];
/** Bytes of a message before its body: id, tokens, hiddenSize. */
const HEADER_BYTES = 5;

const prompts = tinyllamaPrompts();

/** ‖A′ - A‖ / ‖A‖ over all prompts, one message each. */
async function errorOf(coder: RowCoder, some: readonly ActivationPrompt[], targetOf: (values: number) => RowTarget): Promise<number> {
  let [difference, total] = [0, 0];
  for (const { tokens, values } of some) {
    using rows = tensor(values, [tokens, TINYLLAMA_HIDDEN_SIZE]);
    const target = targetOf(values.length);
    const message = await coder.encode(rows, target);
    if (target.kind === "bytes") expect(message.bytes.length).toBeLessThanOrEqual(target.bytes);
    if (target.kind === "elements") expect(message.elements).toBeLessThanOrEqual(target.elements);
    using decoded = await coder.decode(new ByteReader(coder.name, message.bytes), tokens, TINYLLAMA_HIDDEN_SIZE, "cpu");
    const after = await decoded.data("float32");
    for (let i = 0; i < values.length; i++) {
      difference += (after[i]! - values[i]!) ** 2;
      total += values[i]! ** 2;
    }
  }
  return Math.sqrt(difference / total);
}

const bytesAt =
  (ratio: number) =>
  (values: number): RowTarget => ({ kind: "bytes", bytes: Math.floor((2 * values) / ratio) - HEADER_BYTES });
const elementsAt =
  (ratio: number) =>
  (values: number): RowTarget => ({ kind: "elements", elements: Math.floor(values / ratio) });

describe.skipIf(prompts === undefined)("baselines on activations of TinyLlama-1.1B after block 1", { timeout: 120_000 }, () => {
  const all = prompts ?? [];
  const bestOfShares = async (make: (tokenShare: number) => RowCoder, targetOf: (values: number) => RowTarget): Promise<number> => {
    const errors: number[] = [];
    for (const share of SHARES) errors.push(await errorOf(make(share), all, targetOf));
    return Math.min(...errors);
  };
  const fourier =
    (mode: FourierMode) =>
    (tokenShare: number): RowCoder =>
      fourierCoder(mode, { shape: { kind: "tokenShare", tokenShare }, component: "float16" });
  const expectWithin3Percent = (actual: number, expected: number): void => expect(Math.abs(actual / expected - 1)).toBeLessThan(0.03);

  it.each([[0.673, 0.755, 0.821, 0.892]])("Fourier block, honest bytes", async (...expected) => {
    for (const [i, ratio] of RATIOS.entries()) expectWithin3Percent(await bestOfShares(fourier("hermitian"), bytesAt(ratio)), expected[i]!);
  });

  it.each([[0.549, 0.665, 0.694, 0.768]])("Fourier block, complex numbers counted once", async (...expected) => {
    for (const [i, ratio] of RATIOS.entries())
      expectWithin3Percent(await bestOfShares(fourier("hermitian"), elementsAt(ratio)), expected[i]!);
  });

  it.each([[0.619, 0.714, 0.76]])("Fourier block as the paper writes it, complex numbers counted once", async (...expected) => {
    for (const [i, error] of expected.entries())
      expectWithin3Percent(await bestOfShares(fourier("literal"), elementsAt(RATIOS[i]!)), error);
  });

  it.each([[0.678, 0.741, 0.807]])("Fourier low-pass, honest bytes", async (...expected) => {
    for (const [i, error] of expected.entries()) expectWithin3Percent(await bestOfShares(fourier("lowpass"), bytesAt(RATIOS[i]!)), error);
  });

  it.each([[0.675, 0.755, 0.821]])("cosine block, honest bytes", async (...expected) => {
    const coder = (tokenShare: number): RowCoder => cosineCoder({ shape: { kind: "tokenShare", tokenShare }, component: "float16" });
    for (const [i, error] of expected.entries()) expectWithin3Percent(await bestOfShares(coder, bytesAt(RATIOS[i]!)), error);
  });

  it("finds no order in the channels: shuffled, the Fourier block does as well", async () => {
    const coder = fourier("hermitian")(0.15);
    const [ordered, shuffled] = [
      await errorOf(coder, all, bytesAt(7.6)),
      await errorOf(channelShuffleCoder(coder, { seed: 1 }), all, bytesAt(7.6)),
    ];
    expect(Math.abs(shuffled / ordered - 1)).toBeLessThan(0.01);
  });

  it("is searched for the best share of tokens without coding", async () => {
    const rows = all.map(({ tokens, values }) => tensor(values, [tokens, TINYLLAMA_HIDDEN_SIZE]));
    const { tokenShare, relativeErrors } = await searchFourierTokenShare(rows);
    dispose(rows);
    for (const { tokenShare: share, relativeError } of relativeErrors) {
      expect(relativeError).toBeCloseTo(await errorOf(fourier("hermitian")(share), all, bytesAt(7.6)), 2);
    }
    const best = relativeErrors.find((each) => each.tokenShare === tokenShare)!;
    expect(relativeErrors.every(({ relativeError }) => relativeError >= best.relativeError)).toBe(true);
  });

  it.each([[0.363, 0.488, 0.53, 0.589]])("top-k", async (...expected) => {
    for (const [i, ratio] of RATIOS.entries()) expectWithin3Percent(await errorOf(topKCoder(), all, bytesAt(ratio)), expected[i]!);
  });

  it.each([[0.447, 0.566, 0.605, 0.655]])("svd", async (...expected) => {
    for (const [i, ratio] of RATIOS.entries()) expectWithin3Percent(await errorOf(lowRankCoder("svd"), all, bytesAt(ratio)), expected[i]!);
  });

  it.each([[0.571, 0.711, 0.751]])("qr by tokens, and less by channels", async (...expected) => {
    for (const [i, error] of expected.entries()) {
      expectWithin3Percent(await errorOf(lowRankCoder("qr", { pivots: "tokens" }), all, bytesAt(RATIOS[i]!)), error);
      expect(await errorOf(lowRankCoder("qr"), all, bytesAt(RATIOS[i]!))).toBeLessThan(0.93 * error);
    }
  });

  it.each([
    ["int8", 64, 0.013],
    ["int4", 32, 0.149],
    ["int4", 64, 0.196],
  ] as const)("%s in groups of %i", async (format, groupSize, expected) => {
    expectWithin3Percent(await errorOf(groupIntegerCoder(format, { groupSize }), all, () => ({ kind: "none" })), expected);
  });
});
