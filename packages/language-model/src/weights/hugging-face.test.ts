import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readerFromBytes, serializeSafetensors, type RandomAccessReader, type SafetensorsTensor } from "@frugal/tensor-core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LanguageModelError, MissingResourceError, UnsupportedModelError, WeightFormatError } from "../errors.ts";
import { expectedWeights } from "./expected-weights.ts";
import { openHuggingFaceModel, type OpenModelFile } from "./hugging-face.ts";
import { configurationFromHuggingFace } from "./model-configuration.ts";
import { openWeights } from "./open-weights.ts";
import { readFloat32Weight } from "./read-weight.ts";

const qwen = {
  model_type: "qwen2",
  vocab_size: 10,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-6,
  rope_theta: 1000000,
  tie_word_embeddings: true,
  hidden_act: "silu",
  bos_token_id: 3,
  eos_token_id: [4, 5],
  torch_dtype: "bfloat16",
};
const llama3 = {
  ...qwen,
  model_type: "llama",
  tie_word_embeddings: false,
  eos_token_id: 5,
  rope_scaling: { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 32 },
};

/** All tensors of a configuration, the n-th filled with n. */
function weights(config: unknown, dtype: "F32" | "BF16" = "F32"): SafetensorsTensor[] {
  return [...expectedWeights(configurationFromHuggingFace(config))].map(([name, shape], index) => {
    const values = new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(index);
    const bytes =
      dtype === "F32"
        ? new Uint8Array(values.buffer)
        : new Uint8Array(Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16).buffer);
    return { name, dtype, shape, bytes };
  });
}

const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

function files(contents: Readonly<Record<string, Uint8Array>>): OpenModelFile {
  return async (name) => (Object.hasOwn(contents, name) ? readerFromBytes(contents[name] as Uint8Array, name) : undefined);
}

describe("configurationFromHuggingFace", () => {
  it("reads Qwen2 with biases and Llama 3 with its rope scaling", () => {
    expect(configurationFromHuggingFace(qwen)).toMatchObject({
      architecture: "qwen2",
      headDim: 2,
      attentionBias: true,
      attentionOutputBias: false,
      ropeLayout: "half",
      ropeTheta: 1e6,
      tieWordEmbeddings: true,
      bosTokenId: 3,
      eosTokenIds: [4, 5],
    });
    expect(configurationFromHuggingFace(llama3)).toMatchObject({
      attentionBias: false,
      eosTokenIds: [5],
      ropeScaling: { type: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositionEmbeddings: 32 },
    });
    const { rope_theta, ...modern } = qwen;
    expect(configurationFromHuggingFace({ ...modern, rope_parameters: { rope_type: "default", rope_theta } }).ropeTheta).toBe(1e6);
    expect(configurationFromHuggingFace({ ...llama3, rope_scaling: { type: "linear", factor: 2 } }).ropeScaling).toEqual({
      type: "linear",
      factor: 2,
    });
    expect(configurationFromHuggingFace({ ...llama3, num_key_value_heads: undefined, head_dim: 16 })).toMatchObject({
      numKeyValueHeads: 4,
      headDim: 16,
    });
    expect(configurationFromHuggingFace({ ...llama3, attention_bias: true })).toMatchObject({
      attentionBias: true,
      attentionOutputBias: true,
    });
  });

  it("names what is unsupported, missing or out of range", () => {
    const unsupported: [Record<string, unknown>, string][] = [
      [{ model_type: "gemma" }, '"gemma"'],
      [{ rope_scaling: { rope_type: "yarn", factor: 4 } }, '"yarn"'],
      [{ hidden_act: "gelu" }, '"gelu"'],
      [{ mlp_bias: true }, "mlp_bias"],
      [{ use_sliding_window: true }, "use_sliding_window"],
    ];
    for (const [change, message] of unsupported) {
      expect(() => configurationFromHuggingFace({ ...llama3, ...change })).toThrow(UnsupportedModelError);
      expect(() => configurationFromHuggingFace({ ...llama3, ...change })).toThrow(message);
    }
    const invalid: [Record<string, unknown>, string][] = [
      [{ hidden_size: undefined }, "hidden_size"],
      [{ vocab_size: -1 }, "vocabularySize"],
      [{ hidden_size: 1e12 }, "hiddenSize"],
      [{ num_attention_heads: 3 }, "headDim"],
      [{ num_attention_heads: 0 }, "num_attention_heads"],
      [{ num_key_value_heads: 3 }, "numKeyValueHeads"],
      [{ rms_norm_eps: NaN }, "rms_norm_eps"],
      [{ rope_scaling: { rope_type: "llama3", factor: 8 } }, "ropeScaling"],
      [{ num_hidden_layers: 1e6 }, "numHiddenLayers"],
    ];
    for (const [change, message] of invalid) {
      expect(() => configurationFromHuggingFace({ ...llama3, ...change }), message).toThrow(WeightFormatError);
      expect(() => configurationFromHuggingFace({ ...llama3, ...change })).toThrow(message);
    }
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(() => configurationFromHuggingFace(value)).toThrow(LanguageModelError);
      }),
    );
  });
});

describe("openHuggingFaceModel", () => {
  it("reads a single file, drops a tied head's copy and derived buffers", async () => {
    const extra: SafetensorsTensor[] = [
      { name: "lm_head.weight", dtype: "BF16", shape: [10, 8], bytes: new Uint8Array(160) },
      { name: "model.layers.0.self_attn.rotary_emb.inv_freq", dtype: "F32", shape: [1], bytes: new Uint8Array(4) },
    ];
    const file = await serializeSafetensors([...weights(qwen, "BF16"), ...extra]);
    const source = await openHuggingFaceModel(files({ "config.json": json(qwen), "model.safetensors": file }), "qwen");
    expect(source.descriptors.size).toBe(2 + 2 * 12);
    expect(source.descriptors.get("model.layers.1.self_attn.k_proj.bias")).toMatchObject({
      shape: [4],
      encoding: "bfloat16",
      byteLength: 8,
    });
    expect([...(await readFloat32Weight(source, "model.norm.weight"))]).toEqual(Array<number>(8).fill(25));
    await expect(source.read("lm_head.weight")).rejects.toBeInstanceOf(WeightFormatError);
  });

  it("reads shards by their index", async () => {
    const all = weights(llama3);
    const [first, second] = [all.slice(0, 7), all.slice(7)];
    const weightMap = Object.fromEntries([
      ...first.map(({ name }) => [name, "one.safetensors"]),
      ...second.map(({ name }) => [name, "two.safetensors"]),
    ]);
    const contents = {
      "config.json": json(llama3),
      "model.safetensors.index.json": json({ metadata: { total_size: 1 }, weight_map: weightMap }),
      "one.safetensors": await serializeSafetensors(first),
      "two.safetensors": await serializeSafetensors(second),
    };
    const source = await openHuggingFaceModel(files(contents), "llama");
    expect([...(await readFloat32Weight(source, "lm_head.weight"))].every((value) => value === all.length - 1)).toBe(true);

    const { "two.safetensors": _, ...incomplete } = contents;
    await expect(openHuggingFaceModel(files(incomplete), "llama")).rejects.toBeInstanceOf(MissingResourceError);
    const open = (map: Record<string, string>): Promise<unknown> =>
      openHuggingFaceModel(files({ ...contents, "model.safetensors.index.json": json({ weight_map: map }) }), "llama");
    await expect(open({ ...weightMap, "model.norm.weight": "../../etc/passwd" })).rejects.toBeInstanceOf(WeightFormatError);
    await expect(open({ ...weightMap, "model.norm.weight": "one.safetensors" })).rejects.toThrow("is not in one.safetensors");
    const { "model.norm.weight": __, ...unnamed } = weightMap;
    await expect(open(unnamed)).rejects.toThrow("hold 21 tensors");
  });

  it("refuses what is missing, misshapen or of another dtype, and closes what it opened", async () => {
    let opened = 0;
    const counting =
      (inner: OpenModelFile): OpenModelFile =>
      async (name) => {
        const reader: RandomAccessReader | undefined = await inner(name);
        if (reader === undefined) return undefined;
        opened++;
        return { ...reader, close: async () => void opened-- };
      };
    const open = async (tensors: SafetensorsTensor[]): Promise<unknown> =>
      openHuggingFaceModel(
        counting(files({ "config.json": json(qwen), "model.safetensors": await serializeSafetensors(tensors) })),
        "qwen",
      );
    const all = weights(qwen);
    await expect(open(all.slice(1))).rejects.toThrow("model.embed_tokens.weight [10, 8] is missing");
    await expect(open(all.map((tensor) => (tensor.name === "model.norm.weight" ? { ...tensor, shape: [4, 2] } : tensor)))).rejects.toThrow(
      "expected [8]",
    );
    await expect(
      open(all.map((tensor) => (tensor.name === "model.norm.weight" ? { ...tensor, dtype: "I32" as const } : tensor))),
    ).rejects.toThrow("is I32");
    await expect(open([...all, { name: "model.extra", dtype: "U8", shape: [0], bytes: new Uint8Array(0) }])).rejects.toBeInstanceOf(
      UnsupportedModelError,
    );
    await expect(openHuggingFaceModel(counting(files({ "config.json": json(qwen) })), "qwen")).rejects.toBeInstanceOf(MissingResourceError);
    await expect(openHuggingFaceModel(counting(files({})), "qwen")).rejects.toThrow("config.json");
    await expect(openHuggingFaceModel(counting(files({ "config.json": Uint8Array.of(0xff) })), "qwen")).rejects.toThrow("not JSON");
    const truncated = (await serializeSafetensors(all)).subarray(0, 500);
    await expect(
      openHuggingFaceModel(counting(files({ "config.json": json(qwen), "model.safetensors": truncated })), "qwen"),
    ).rejects.toBeInstanceOf(WeightFormatError);
    expect(opened).toBe(0);
  });
});

describe("openWeights", () => {
  it("tells formats apart, and says what to give where there is nothing", async () => {
    const folder = await mkdtemp(join(tmpdir(), "frugal-model-"));
    await expect(openWeights(join(folder, "absent"))).rejects.toThrow("Hugging Face folder");
    await expect(openWeights(folder)).rejects.toThrow("config.json");
    const file = join(folder, "model.gguf");
    await writeFile(file, "GGUF");
    await expect(openWeights(file)).rejects.toThrow("GGUF header");
    await writeFile(file, "abc");
    await expect(openWeights(file)).rejects.toThrow("neither a GGUF file");
    await writeFile(join(folder, "model.bin"), "abc");
    await expect(openWeights(join(folder, "model.bin"))).rejects.toThrow("llama2.c header");
    await writeFile(join(folder, "config.json"), JSON.stringify(qwen));
    await writeFile(join(folder, "model.safetensors"), await serializeSafetensors(weights(qwen)));
    const source = await openWeights(folder);
    expect(source.config.architecture).toBe("qwen2");
    await source.close();
    await rm(folder, { recursive: true });
  });
});
