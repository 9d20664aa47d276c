import { memory, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { scoreSequences } from "../evaluation/scoring.ts";
import { generateTokens, type NextTokenModel } from "../generation/generate.ts";
import { loadModel } from "../model/load-model.ts";
import { randomWeights, sourceOf, tinyConfiguration } from "../model/random-weights.testing.ts";
import { rawActivationCodec, type ActivationCodec } from "./activation-codec.ts";
import { SplitModel } from "./split-model.ts";

const config = tinyConfiguration({ eosTokenIds: [] });
const model = await loadModel(sourceOf(config, randomWeights(config)));
const prompt = [1, 8, 21];

async function tokens(of: NextTokenModel): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of generateTokens(of, prompt, { maxNewTokens: 20 })) ids.push(id);
  return ids;
}

describe("SplitModel", () => {
  it.each([0, 1, 2, 3])("split before block %i with exact activations changes nothing", async (splitBlock) => {
    const split = new SplitModel(model, { codec: rawActivationCodec(), splitBlock });
    expect(await tokens(split)).toEqual(await tokens(model));
    // The prompt in one message, then a message a token; the last token is not sent.
    expect(split.traffic).toEqual({ messages: 20, bytes: 20 * 8 + 22 * 32 * 4, float16Bytes: 22 * 32 * 2 });
    const sequences = [prompt, [1, 2, 3, 4, 5, 6, 7]];
    expect(await scoreSequences(split, sequences)).toEqual(await scoreSequences(model, sequences));
  });

  it("scores nearly the same through float16", async () => {
    const split = new SplitModel(model, { codec: rawActivationCodec("float16") });
    const sequence = [[1, 2, 3, 4, 5, 6, 7, 30, 31]];
    const [through, exact] = [await scoreSequences(split, sequence), await scoreSequences(model, sequence)];
    expect(through.logProbability).not.toBe(exact.logProbability);
    expect(Math.abs(through.logProbability - exact.logProbability)).toBeLessThan(0.02);
  });

  it("tells the codec where it is", async () => {
    const seen: unknown[] = [];
    const raw = rawActivationCodec();
    const codec: ActivationCodec = {
      name: "spy",
      encode: (hidden, context) => (seen.push([hidden.shape, context.positionOffset, context.block]), raw.encode(hidden, context)),
      decode: (bytes, context, device) => raw.decode(bytes, context, device),
    };
    const iterator = generateTokens(new SplitModel(model, { codec, splitBlock: 2 }), prompt, { maxNewTokens: 2 });
    for await (const _ of iterator);
    expect(seen).toEqual([[[3, 32], 0, 2], [[1, 32], 3, 2]]);
  });

  it("frees its activations, and refuses a split outside the model", async () => {
    const split = new SplitModel(model, { codec: rawActivationCodec() });
    await tokens(split);
    const before = memory().allocations;
    await tokens(split);
    expect(memory().allocations).toBe(before);
    expect(() => new SplitModel(model, { codec: rawActivationCodec(), splitBlock: 4 })).toThrow("splitBlock 4; use 0 to 3");
  });
});

describe("rawActivationCodec", () => {
  const context = { positionOffset: 0, block: 1, limits: { tokens: 4, hiddenSize: 3 } };

  it.each(["float32", "float16"] as const)("gives %s back bit by bit", async (dtype) => {
    const codec = rawActivationCodec(dtype);
    using hidden = tensor(Float32Array.of(1.5, -2, 0.25, 65504, 2 ** -24, -0), [2, 3]);
    const bytes = await codec.encode(hidden, context);
    expect(bytes.byteLength).toBe(8 + 6 * (dtype === "float32" ? 4 : 2));
    using decoded = await codec.decode(bytes, context, "cpu");
    expect(decoded.shape).toEqual([2, 3]);
    expect(await decoded.data("float32")).toEqual(await hidden.data("float32"));
  });

  it("refuses what is not a message within the limits", async () => {
    const codec = rawActivationCodec();
    using hidden = tensor(new Float32Array(6), [2, 3]);
    const bytes = await codec.encode(hidden, context);
    const decode = (message: Uint8Array): Promise<unknown> => codec.decode(message, context, "cpu");
    await expect(decode(bytes.subarray(0, 5))).rejects.toThrow("shorter than the header");
    await expect(decode(bytes.subarray(0, -1))).rejects.toThrow("not a message");
    const huge = bytes.slice();
    new DataView(huge.buffer).setUint32(0, 0xffff_ffff, true);
    await expect(decode(huge)).rejects.toThrow("[4294967295, 3] are not a message within [4, 3]");
    using flat = tensor(new Float32Array(6));
    await expect(codec.encode(flat, context)).rejects.toThrow("float32 of rank 1");
  });
});
