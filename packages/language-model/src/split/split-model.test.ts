import { memory, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { scoreSequences } from "../evaluation/scoring.ts";
import { generateTokens, type NextTokenModel } from "../generation/generate.ts";
import { loadModel } from "../model/load-model.ts";
import { randomWeights, sourceOf, tinyConfiguration } from "../model/random-weights.testing.ts";
import { rawActivationCodec, type ActivationCodec, type ActivationContext } from "./activation-codec.ts";
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
      encode: (hidden, context) => (seen.push([hidden.shape, context]), raw.encode(hidden, context)),
      decode: (bytes, context, device) => raw.decode(bytes, context, device),
    };
    const iterator = generateTokens(new SplitModel(model, { codec, splitBlock: 2 }), prompt, { maxNewTokens: 2 });
    for await (const _ of iterator);
    const same = { kind: "activation", block: 2, streamId: "0" };
    expect(seen).toEqual([
      [[3, 32], { ...same, sequences: [{ positionOffset: 0, tokens: 3 }], limits: { tokens: 3, hiddenSize: 32 } }],
      [[1, 32], { ...same, sequences: [{ positionOffset: 3, tokens: 1 }], limits: { tokens: 1, hiddenSize: 32 } }],
    ]);
  });

  it("sends the sequences of a batch in one message", async () => {
    const seen: ActivationContext[] = [];
    const raw = rawActivationCodec();
    const codec: ActivationCodec = { ...raw, encode: (hidden, context) => (seen.push(context), raw.encode(hidden, context)) };
    const split = new SplitModel(model, { codec });
    using ids = tensor(Int32Array.of(1, 2, 3, 4, 5, 6), [2, 3]);
    using cache = model.createCache({ batch: 2 });
    using through = await split.forward(ids, { cache });
    using exact = model.forward(ids);
    expect(through.shape).toEqual([2, 3, 37]);
    expect(await through.data("float32")).toEqual(await exact.data("float32"));
    using more = tensor(Int32Array.of(7, 8), [2, 1]);
    (await split.forward(more, { cache, lastOnly: true })).dispose();
    (await split.forward(ids)).dispose();
    expect(seen.map(({ sequences, limits, streamId }) => [sequences, limits.tokens, streamId])).toEqual([
      [[{ positionOffset: 0, tokens: 3 }, { positionOffset: 0, tokens: 3 }], 6, "0"],
      [[{ positionOffset: 3, tokens: 1 }, { positionOffset: 3, tokens: 1 }], 2, "0"],
      [[{ positionOffset: 0, tokens: 3 }, { positionOffset: 0, tokens: 3 }], 6, "1"],
    ]);
  });

  it("frees its activations when a codec fails or changes their shape", async () => {
    const raw = rawActivationCodec();
    using ids = tensor(Int32Array.of(1, 2, 3), [1, 3]);
    const before = memory().allocations;
    const fail = (): never => {
      throw new Error("codec failed");
    };
    for (const codec of [{ ...raw, encode: async () => fail() }, { ...raw, decode: async () => fail() }] satisfies ActivationCodec[]) {
      await expect(new SplitModel(model, { codec }).forward(ids)).rejects.toThrow("codec failed");
      expect(memory().allocations).toBe(before);
    }
    const shrinking: ActivationCodec = { ...raw, decode: async () => tensor(new Float32Array(32), [1, 32]) };
    await expect(new SplitModel(model, { codec: shrinking }).forward(ids)).rejects.toThrow("decoded [1, 32], sent [3, 32]");
    using cache = model.createCache({ capacity: 2 });
    const withCache = memory().allocations;
    await expect(new SplitModel(model, { codec: raw }).forward(ids, { cache })).rejects.toThrow("3 tokens do not fit");
    expect([memory().allocations, cache.length]).toEqual([withCache, 0]);
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
  const context: ActivationContext = {
    kind: "activation", block: 1, streamId: "0", sequences: [{ positionOffset: 0, tokens: 2 }], limits: { tokens: 4, hiddenSize: 3 },
  };

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
    const wider = { ...context, limits: { tokens: 4, hiddenSize: 5 } };
    await expect(codec.decode(bytes, wider, "cpu")).rejects.toThrow("[2, 3] are not a message within [4, 5]");
    using flat = tensor(new Float32Array(6));
    await expect(codec.encode(flat, context)).rejects.toThrow("got [6]");
  });

  it.each([65520, -1e6, Infinity, NaN])("says where %d does not fit into float16", async (value) => {
    using hidden = tensor(Float32Array.of(1, 2, 3, 65519, value, 6), [2, 3]);
    const before = memory().allocations;
    await expect(rawActivationCodec("float16").encode(hidden, context)).rejects.toThrow("row 1, feature 1 is not a finite float16");
    expect(memory().allocations).toBe(before);
  });
});
