import { loadLlamaTokenizer, openStories15m, type ModelConfiguration, type WeightSource } from "@frugal/language-model";
import { onnxModel, type Graph, type Initializer, type Node } from "../src/onnx-model.ts";
import type { Prepared } from "../src/workload.ts";
import { prompt } from "./frugal-generation.ts";
import { sessionOptions, type Runtime } from "./onnxruntime.ts";

/** Rows and columns exchanged: ONNX multiplies from the left. */
function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) result[column * rows + row] = values[row * columns + column]!;
  return result;
}

/**
 * The decoder as exporters for ONNX Runtime write it: its fused attention with rotary embedding and cache, and the choice of the
 * token, in the graph.
 */
async function decoder(source: WeightSource): Promise<Graph> {
  const {
    hiddenSize,
    numHiddenLayers,
    numAttentionHeads,
    numKeyValueHeads,
    headDim,
    maxPositionEmbeddings,
    rmsNormEps,
    ropeTheta,
    vocabularySize,
    ropeLayout,
  } = source.config;
  const initializers: Initializer[] = [];
  const nodes: Node[] = [];
  const read = async (name: string): Promise<Float32Array> => {
    const bytes = await source.read(name);
    return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  };
  const weight = async (name: string, transpose = true): Promise<string> => {
    const { shape } = source.descriptors.get(name)!;
    const values = await read(name);
    if (shape.length === 2 && transpose)
      initializers.push({ name, shape: [shape[1]!, shape[0]!], values: transposed(values, shape[0]!, shape[1]!) });
    else initializers.push({ name, shape, values });
    return name;
  };
  let count = 0;
  const apply = (operator: string, inputs: readonly string[], extra: Partial<Node> = {}): string => {
    const output = `value${count++}`;
    nodes.push({ operator, inputs, outputs: [output], ...extra });
    return output;
  };
  const norm = async (x: string, name: string): Promise<string> =>
    apply("SimplifiedLayerNormalization", [x, await weight(name)], { integers: { axis: -1 }, floats: { epsilon: rmsNormEps } });

  const half = headDim / 2;
  const angle = (i: number): number => Math.floor(i / half) / ropeTheta ** ((2 * (i % half)) / headDim);
  for (const [name, f] of [
    ["cosine", Math.cos],
    ["sine", Math.sin],
  ] as const) {
    initializers.push({
      name,
      shape: [maxPositionEmbeddings, half],
      values: Float32Array.from({ length: maxPositionEmbeddings * half }, (_, i) => f(angle(i))),
    });
  }

  let hidden = apply("Gather", [await weight("model.embed_tokens.weight", false), "ids"]);
  for (let layer = 0; layer < numHiddenLayers; layer++) {
    const name = (part: string): string => `model.layers.${layer}.${part}.weight`;
    const x = await norm(hidden, name("input_layernorm"));
    const [query, key, value] = [
      apply("MatMul", [x, await weight(name("self_attn.q_proj"))]),
      apply("MatMul", [x, await weight(name("self_attn.k_proj"))]),
      apply("MatMul", [x, await weight(name("self_attn.v_proj"))]),
    ];
    nodes.push({
      operator: "GroupQueryAttention",
      domain: "com.microsoft",
      inputs: [query, key, value, `pastKey${layer}`, `pastValue${layer}`, "lastPosition", "totalLength", "cosine", "sine"],
      outputs: [`mixed${layer}`, `key${layer}`, `value_${layer}`],
      integers: {
        num_heads: numAttentionHeads,
        kv_num_heads: numKeyValueHeads,
        do_rotary: 1,
        rotary_interleaved: ropeLayout === "half" ? 0 : 1,
      },
    });
    hidden = apply("Add", [hidden, apply("MatMul", [`mixed${layer}`, await weight(name("self_attn.o_proj"))])]);
    const y = await norm(hidden, name("post_attention_layernorm"));
    const gate = apply("QuickGelu", [apply("MatMul", [y, await weight(name("mlp.gate_proj"))])], {
      domain: "com.microsoft",
      floats: { alpha: 1 },
    });
    const product = apply("Mul", [gate, apply("MatMul", [y, await weight(name("mlp.up_proj"))])]);
    hidden = apply("Add", [hidden, apply("MatMul", [product, await weight(name("mlp.down_proj"))])]);
  }
  initializers.push({ name: "last", shape: [1], values: BigInt64Array.of(-1n) });
  const final = apply("Gather", [await norm(hidden, "model.norm.weight"), "last"], { integers: { axis: 1 } });
  const embedding = await read("model.embed_tokens.weight");
  initializers.push({ name: "head", shape: [hiddenSize, vocabularySize], values: transposed(embedding, vocabularySize, hiddenSize) });
  nodes.push({ operator: "ArgMax", inputs: [apply("MatMul", [final, "head"])], outputs: ["token"], integers: { axis: -1, keepdims: 0 } });

  const cache = Array.from({ length: numHiddenLayers }, (_, layer) => layer);
  const cacheShape = (length: string): (number | string)[] => [1, numKeyValueHeads, length, headDim];
  return {
    nodes,
    initializers,
    inputs: [
      { name: "ids", type: "int64", shape: [1, "sequence"] },
      { name: "lastPosition", type: "int32", shape: [1] },
      { name: "totalLength", type: "int32", shape: [] },
      ...cache.flatMap((layer) =>
        [`pastKey${layer}`, `pastValue${layer}`].map((name) => ({ name, type: "float32" as const, shape: cacheShape("past") })),
      ),
    ],
    outputs: [
      { name: "token", type: "int64", shape: [1, 1] },
      ...cache.flatMap((layer) =>
        [`key${layer}`, `value_${layer}`].map((name) => ({ name, type: "float32" as const, shape: cacheShape("total") })),
      ),
    ],
  };
}

type Feeds = Record<string, InstanceType<Runtime["Tensor"]>>;

/** The cache before the first token. */
function emptyCache(runtime: Runtime, { numHiddenLayers, numKeyValueHeads, headDim }: ModelConfiguration): Feeds {
  const empty = new runtime.Tensor("float32", new Float32Array(0), [1, numKeyValueHeads, 0, headDim]);
  return Object.fromEntries(
    Array.from({ length: numHiddenLayers }, (_, layer) => [
      [`pastKey${layer}`, empty],
      [`pastValue${layer}`, empty],
    ]).flat(),
  ) as Feeds;
}

/**
 * Greedy continuation of stories15M by a graph with a cache: what transformers.js would run, if an ONNX export of this model could
 * be installed.
 */
export async function prepareOnnxGeneration(
  runtime: Runtime,
  providers: readonly string[],
  threads: number,
  tokens: number,
): Promise<Prepared> {
  const source = await openStories15m();
  const { config } = source;
  const model = onnxModel(await decoder(source));
  await source.close();
  const session = await runtime.InferenceSession.create(model, { ...sessionOptions(threads), executionProviders: providers });
  const tokenizer = await loadLlamaTokenizer();
  const promptIds = tokenizer.encode(prompt);

  const generate = async (): Promise<number[]> => {
    const ids: number[] = [];
    let cache = emptyCache(runtime, config);
    let pending: readonly number[] = promptIds;
    let length = 0;
    while (ids.length < tokens) {
      length += pending.length;
      const results = await session.run({
        ...cache,
        ids: new runtime.Tensor("int64", BigInt64Array.from(pending, BigInt), [1, pending.length]),
        lastPosition: new runtime.Tensor("int32", Int32Array.of(length - 1), [1]),
        totalLength: new runtime.Tensor("int32", Int32Array.of(length), []),
      });
      const token = Number((results["token"]!.data as BigInt64Array)[0]);
      ids.push(token);
      pending = [token];
      cache = Object.fromEntries(
        Array.from({ length: config.numHiddenLayers }, (_, layer) => [
          [`pastKey${layer}`, results[`key${layer}`]!],
          [`pastValue${layer}`, results[`value_${layer}`]!],
        ]).flat(),
      ) as Feeds;
    }
    return ids;
  };
  return { runAsync: async () => void (await generate()), sample: generate, dispose: () => session.release() };
}
