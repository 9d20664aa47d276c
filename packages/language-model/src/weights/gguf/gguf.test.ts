import { readerFromBytes, type RandomAccessReader } from "@frugal/tensor-core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LanguageModelError, UnsupportedModelError, WeightFormatError } from "../../errors.ts";
import { readFloat32Weight, readGroupedWeight } from "../read-weight.ts";
import { ByteWriter, writeGguf, type Metadata, type TensorToWrite } from "./gguf-writer.testing.ts";
import { openGguf } from "./gguf.ts";

const HIDDEN = 32;
const HEAD_DIM = 16;
const VOCABULARY = 8;
const FEED_FORWARD = 64;

const metadata = (architecture: string, extra: Metadata = []): Metadata => [
  ["general.architecture", "string", architecture],
  [`${architecture}.context_length`, "u32", 128],
  [`${architecture}.embedding_length`, "u32", HIDDEN],
  [`${architecture}.block_count`, "u32", 1],
  [`${architecture}.feed_forward_length`, "u32", FEED_FORWARD],
  [`${architecture}.attention.head_count`, "u32", 2],
  [`${architecture}.attention.head_count_kv`, "u32", 1],
  [`${architecture}.attention.layer_norm_rms_epsilon`, "f32", 1e-6],
  [`${architecture}.rope.freq_base`, "f32", 500000],
  ["tokenizer.ggml.bos_token_id", "u32", 1],
  ["tokenizer.ggml.eos_token_id", "u32", 2],
  ...extra,
];

function floats(name: string, shape: readonly number[], first = 0): TensorToWrite {
  const count = shape.reduce((product, size) => product * size, 1);
  const values = Float32Array.from({ length: count }, (_, index) => first + index);
  return { name, shape, type: 0, bytes: new Uint8Array(values.buffer) };
}

/** Q8_0 blocks of scale 0.5 that hold 0, 0.5, 1, ... in each block. */
function q8(name: string, shape: readonly number[]): TensorToWrite {
  const count = shape.reduce((product, size) => product * size, 1) / 32;
  const block = Uint8Array.from({ length: 34 }, (_, at) => (at === 0 ? 0 : at === 1 ? 0x38 : at - 2));
  return { name, shape, type: 8, bytes: new Uint8Array(Buffer.concat(Array<Uint8Array>(count).fill(block))) };
}

const tensors = (biases: boolean): TensorToWrite[] => [
  floats("token_embd.weight", [VOCABULARY, HIDDEN], 1000),
  floats("blk.0.attn_norm.weight", [HIDDEN]),
  q8("blk.0.attn_q.weight", [2 * HEAD_DIM, HIDDEN]),
  q8("blk.0.attn_k.weight", [HEAD_DIM, HIDDEN]),
  q8("blk.0.attn_v.weight", [HEAD_DIM, HIDDEN]),
  ...(biases
    ? [floats("blk.0.attn_q.bias", [2 * HEAD_DIM]), floats("blk.0.attn_k.bias", [HEAD_DIM]), floats("blk.0.attn_v.bias", [HEAD_DIM])]
    : []),
  q8("blk.0.attn_output.weight", [HIDDEN, 2 * HEAD_DIM]),
  floats("blk.0.ffn_norm.weight", [HIDDEN]),
  q8("blk.0.ffn_gate.weight", [FEED_FORWARD, HIDDEN]),
  q8("blk.0.ffn_up.weight", [FEED_FORWARD, HIDDEN]),
  q8("blk.0.ffn_down.weight", [HIDDEN, FEED_FORWARD]),
  floats("output_norm.weight", [HIDDEN], 7),
];

const llama = writeGguf(metadata("llama"), tensors(false));

function spied(bytes: Uint8Array): { reader: RandomAccessReader; largest: () => number } {
  const inner = readerFromBytes(bytes);
  let largest = 0;
  const read = (offset: number, length: number): Promise<Uint8Array> => {
    largest = Math.max(largest, length);
    return inner.read(offset, length);
  };
  return { reader: { ...inner, read }, largest: () => largest };
}

describe("openGguf", () => {
  it.each([2, 3])("reads version %i into Hugging Face names", async (version) => {
    const source = await openGguf(readerFromBytes(writeGguf(metadata("llama"), tensors(false), version)));
    expect(source.config).toMatchObject({
      architecture: "llama",
      vocabularySize: 8,
      hiddenSize: 32,
      intermediateSize: 64,
      numHiddenLayers: 1,
      numAttentionHeads: 2,
      numKeyValueHeads: 1,
      headDim: 16,
      maxPositionEmbeddings: 128,
      ropeTheta: 500000,
      ropeLayout: "interleaved",
      tieWordEmbeddings: true,
      attentionBias: false,
      bosTokenId: 1,
      eosTokenIds: [2],
    });
    expect(source.config.rmsNormEps).toBeCloseTo(1e-6, 12);
    expect(source.descriptors.get("model.layers.0.self_attn.k_proj.weight")).toMatchObject({
      shape: [16, 32],
      encoding: "Q8_0",
      byteLength: 544,
    });
    expect((await readFloat32Weight(source, "model.norm.weight"))[0]).toBe(7);
    expect((await readFloat32Weight(source, "model.embed_tokens.weight"))[33]).toBe(1033);
    expect((await readFloat32Weight(source, "model.layers.0.mlp.down_proj.weight")).slice(0, 3)).toEqual(Float32Array.of(0, 0.5, 1));
    expect((await readGroupedWeight(source, "model.layers.0.mlp.down_proj.weight")).format).toBe("int8");
    await expect(source.read("lm_head.weight")).rejects.toBeInstanceOf(WeightFormatError);
  });

  it("reads qwen2 with biases and half rotation, and another alignment", async () => {
    const extra: Metadata = [["general.alignment", "u32", 64]];
    const source = await openGguf(readerFromBytes(writeGguf(metadata("qwen2", extra), tensors(true), 3, 64)));
    expect(source.config).toMatchObject({ architecture: "qwen2", ropeLayout: "half", attentionBias: true, attentionOutputBias: false });
    expect(source.descriptors.get("model.layers.0.self_attn.q_proj.bias")?.shape).toEqual([32]);
    expect((await readFloat32Weight(source, "model.norm.weight"))[0]).toBe(7);
  });

  it("takes llama3 frequencies and linear scaling into the configuration", async () => {
    const factors = floats("rope_freqs.weight", [HEAD_DIM / 2], 1);
    const source = await openGguf(readerFromBytes(writeGguf(metadata("llama"), [...tensors(false), factors])));
    expect(source.config.ropeScaling).toEqual({ type: "factors", factors: [1, 2, 3, 4, 5, 6, 7, 8] });
    expect(source.descriptors.has("rope_freqs.weight")).toBe(false);
    const linear: Metadata = [
      ["llama.rope.scaling.type", "string", "linear"],
      ["llama.rope.scaling.factor", "f32", 4],
    ];
    expect((await openGguf(readerFromBytes(writeGguf(metadata("llama", linear), tensors(false))))).config.ropeScaling).toEqual({
      type: "linear",
      factor: 4,
    });
  });

  it("names what it does not support", async () => {
    const open = (bytes: Uint8Array): Promise<unknown> => openGguf(readerFromBytes(bytes));
    await expect(open(writeGguf(metadata("gemma"), tensors(false)))).rejects.toThrow('architecture "gemma"');
    const yarn: Metadata = [["llama.rope.scaling.type", "string", "yarn"]];
    await expect(open(writeGguf(metadata("llama", yarn), tensors(false)))).rejects.toThrow('rope scaling "yarn"');
    const extra = floats("blk.0.attn_q_norm.weight", [HEAD_DIM]);
    await expect(open(writeGguf(metadata("llama"), [...tensors(false), extra]))).rejects.toBeInstanceOf(UnsupportedModelError);
    const iq1 = { ...floats("rope_freqs.weight", [32]), type: 19 };
    await expect(open(writeGguf(metadata("llama"), [...tensors(false), iq1]))).rejects.toThrow("IQ1_S");
  });

  it("refuses tensors that overlap, leave the file, or do not fit the model", async () => {
    const open = (bytes: Uint8Array): Promise<unknown> => openGguf(readerFromBytes(bytes));
    await expect(open(llama.subarray(0, llama.length - 128))).rejects.toThrow("ends at byte");
    await expect(open(writeGguf(metadata("llama"), tensors(false).slice(1)))).rejects.toBeInstanceOf(WeightFormatError);
    const wrong = tensors(false).map((tensor) => (tensor.name === "output_norm.weight" ? floats(tensor.name, [HIDDEN + 1]) : tensor));
    await expect(open(writeGguf(metadata("llama"), wrong))).rejects.toThrow("expected [32]");
    // The second tensor's offset is the last field of its row of the table: made 0, it overlaps the first.
    const overlapping = llama.slice();
    const name = Buffer.from(overlapping).indexOf("blk.0.attn_norm.weight");
    new DataView(overlapping.buffer).setBigUint64(name + "blk.0.attn_norm.weight".length + 4 + 8 + 4, 0n, true);
    await expect(open(overlapping)).rejects.toThrow("overlaps");
    const cutBlock = [...tensors(false).slice(1), { ...q8("token_embd.weight", [1, 32]), shape: [8, 33] }];
    await expect(open(writeGguf(metadata("llama"), cutBlock))).rejects.toThrow("not whole Q8_0 blocks");
  });

  it("refuses NaN weights by name", async () => {
    const nan = tensors(false).map((tensor) => (tensor.name === "output_norm.weight" ? floats(tensor.name, [HIDDEN], NaN) : tensor));
    const source = await openGguf(readerFromBytes(writeGguf(metadata("llama"), nan)));
    await expect(readFloat32Weight(source, "model.norm.weight")).rejects.toThrow("model.norm.weight: value 0 is NaN");
  });

  it("believes no count, length or offset: hostile headers cost no large read", async () => {
    const magic = (): ByteWriter => new ByteWriter().bytes(new TextEncoder().encode("GGUF"));
    const huge = 2n ** 63n;
    const hostile: [string, Uint8Array][] = [
      ["not a GGUF file", new Uint8Array(64)],
      ["version 1", magic().u32(1).u64(0).u64(0).finish()],
      ["big-endian", magic().u32(0x03000000).u64(0).u64(0).finish()],
      ["number of tensors", magic().u32(3).u64(huge).u64(0).finish()],
      ["metadata entries", magic().u32(3).u64(0).u64(huge).finish()],
      ["length of a metadata key", magic().u32(3).u64(0).u64(1).u64(huge).bytes(new Uint8Array(64)).finish()],
      ["length of a string", magic().u32(3).u64(0).u64(1).string("k").u32(8).u64(huge).finish()],
      ["array's length", magic().u32(3).u64(0).u64(1).string("k").u32(9).u32(0).u64(huge).finish()],
      [
        "nested",
        magic()
          .u32(3)
          .u64(0)
          .u64(1)
          .string("k")
          .bytes(new Uint8Array(Uint32Array.from({ length: 60 }, (_, at) => (at % 3 === 0 ? 9 : at % 3)).buffer))
          .finish(),
      ],
      ["value type 13", magic().u32(3).u64(0).u64(1).string("k").u32(13).u64(0).finish()],
      ["power of two", magic().u32(3).u64(0).u64(1).string("general.alignment").u32(4).u32(24).finish()],
      ["occurs twice", magic().u32(3).u64(0).u64(2).string("k").u32(4).u32(1).string("k").u32(4).u32(1).finish()],
      ["dimensions", magic().u32(3).u64(1).u64(0).string("t").u32(9).bytes(new Uint8Array(64)).finish()],
      ["is 0", magic().u32(3).u64(1).u64(0).string("t").u32(1).u64(0).u32(0).u64(0).bytes(new Uint8Array(64)).finish()],
      [
        "counted",
        magic()
          .u32(3)
          .u64(1)
          .u64(0)
          .string("t")
          .u32(2)
          .u64(2n ** 50n)
          .u64(2n ** 50n)
          .u32(0)
          .u64(0)
          .finish(),
      ],
    ];
    for (const [message, bytes] of hostile) {
      const { reader, largest } = spied(bytes);
      const error = await openGguf(reader).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error, message).toBeInstanceOf(WeightFormatError);
      if (message !== "nested") expect((error as Error).message).toContain(message);
      expect(largest()).toBeLessThanOrEqual(1 << 16);
    }
  });

  it("stays within its bounds even where the file is as large as its header claims", async () => {
    const start = new ByteWriter().bytes(new TextEncoder().encode("GGUF")).u32(3);
    const claims = [
      start
        .u64(0)
        .u64(1)
        .u64(2n ** 40n)
        .finish(),
      new ByteWriter()
        .bytes(new TextEncoder().encode("GGUF"))
        .u32(3)
        .u64(0)
        .u64(1)
        .string("k")
        .u32(8)
        .u64(2n ** 40n)
        .finish(),
      new ByteWriter()
        .bytes(new TextEncoder().encode("GGUF"))
        .u32(3)
        .u64(0)
        .u64(1)
        .string("k")
        .u32(9)
        .u32(8)
        .u64(2n ** 40n)
        .finish(),
      new ByteWriter()
        .bytes(new TextEncoder().encode("GGUF"))
        .u32(3)
        .u64(2n ** 40n)
        .u64(0)
        .finish(),
      // An array of the largest length whose strings never end: zeros are empty strings, so the header limit is what stops it.
      new ByteWriter()
        .bytes(new TextEncoder().encode("GGUF"))
        .u32(3)
        .u64(0)
        .u64(1)
        .string("k")
        .u32(9)
        .u32(8)
        .u64(1 << 22)
        .finish(),
    ];
    for (const head of claims) {
      let total = 0;
      const sparse: RandomAccessReader = {
        byteLength: 2 ** 50,
        description: "sparse",
        async read(offset, length) {
          total += length;
          const bytes = new Uint8Array(length);
          if (offset < head.length) bytes.set(head.subarray(offset, offset + length));
          return bytes;
        },
        close: async () => {},
      };
      await expect(openGguf(sparse)).rejects.toBeInstanceOf(WeightFormatError);
      expect(total).toBeLessThan(1 << 26);
    }
  });

  it("gives typed errors for truncated, flipped and random bytes, reading no more than one header window", async () => {
    const attempt = async (bytes: Uint8Array): Promise<void> => {
      const { reader, largest } = spied(bytes);
      const error = await openGguf(reader).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (error !== undefined) expect(error).toBeInstanceOf(LanguageModelError);
      expect(largest()).toBeLessThanOrEqual(1 << 16);
    };
    const headerBytes = Buffer.from(llama).indexOf("output_norm.weight") + 64;
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), attempt));
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), (tail) => attempt(new Uint8Array(Buffer.concat([llama.subarray(0, 8), tail])))),
    );
    await fc.assert(fc.asyncProperty(fc.nat(llama.length - 1), (length) => attempt(llama.subarray(0, length))));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(headerBytes), fc.nat(255)), { minLength: 1, maxLength: 4 }), async (changes) => {
        const damaged = llama.slice();
        for (const [at, value] of changes) damaged[at] = value;
        await attempt(damaged);
      }),
      { numRuns: 400 },
    );
  });
});
