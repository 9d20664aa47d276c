import { uniform } from "../src/inputs.ts";
import type { Prepared, TrainingShape } from "../src/workload.ts";
import type { Jax } from "./jax-js.ts";

type JaxArray = InstanceType<Jax["Array"]>;
type Block = Record<"norm1" | "query" | "key" | "value" | "output" | "norm2" | "gate" | "up" | "down", JaxArray>;
interface Weights extends Record<string, JaxArray | Block[]> {
  readonly blocks: Block[];
  readonly norm: JaxArray;
  readonly head: JaxArray;
}

/**
 * Jitted loss and gradients of the Llama that `shape` describes. The inputs of the first block are fixed, not looked up in a trained
 * embedding, and no update follows: both make its work less than ours.
 */
export function prepareJaxTraining(jax: Jax, shape: TrainingShape): Prepared {
  const { numpy: np, nn, jit, valueAndGrad, blockUntilReady, tree } = jax;
  const { layers, hiddenSize, heads, intermediateSize, vocabularySize, batchSize, sequenceLength } = shape;
  const headDim = hiddenSize / heads;
  const half = headDim / 2;
  const rows = batchSize * sequenceLength;
  let seed = 10;
  const weight = (inputs: number, outputs: number): JaxArray =>
    np.array(
      uniform(inputs * outputs, seed++).map((value) => value * 0.03),
      { shape: [inputs, outputs] },
    );
  const gain = (): JaxArray => np.ones([hiddenSize]);
  const weights: Weights = {
    blocks: Array.from({ length: layers }, () => ({
      norm1: gain(),
      query: weight(hiddenSize, hiddenSize),
      key: weight(hiddenSize, hiddenSize),
      value: weight(hiddenSize, hiddenSize),
      output: weight(hiddenSize, hiddenSize),
      norm2: gain(),
      gate: weight(hiddenSize, intermediateSize),
      up: weight(hiddenSize, intermediateSize),
      down: weight(intermediateSize, hiddenSize),
    })),
    norm: gain(),
    head: weight(hiddenSize, vocabularySize),
  };
  const angles = Float32Array.from(
    { length: sequenceLength * half },
    (_, i) => Math.floor(i / half) / 10000 ** ((2 * (i % half)) / headDim),
  );
  const fixed = {
    inputs: np.array(uniform(rows * hiddenSize, 1), { shape: [rows, hiddenSize] }),
    targets: np.array(Int32Array.from({ length: rows }, (_, i) => (i * 7919) % vocabularySize)),
    cosine: np.array(angles.map(Math.cos), { shape: [1, sequenceLength, 1, half] }),
    sine: np.array(angles.map(Math.sin), { shape: [1, sequenceLength, 1, half] }),
  };

  const rmsNorm = (x: JaxArray, scale: JaxArray): JaxArray =>
    x.ref.div(np.sqrt(np.mean(x.ref.mul(x), -1, { keepdims: true }).add(1e-5))).mul(scale);
  const rotate = (x: JaxArray, cosine: JaxArray, sine: JaxArray): JaxArray => {
    const [first, second] = np.split(x, 2, -1) as [JaxArray, JaxArray];
    return np.concatenate([first.ref.mul(cosine.ref).sub(second.ref.mul(sine.ref)), first.mul(sine).add(second.mul(cosine))], -1);
  };
  const loss = (w: Weights, { inputs, targets, cosine, sine }: typeof fixed): JaxArray => {
    let hidden = inputs;
    for (const block of w.blocks) {
      const x = rmsNorm(hidden.ref, block.norm1);
      const project = (matrix: JaxArray): JaxArray => np.matmul(x.ref, matrix).reshape([batchSize, sequenceLength, heads, headDim]);
      const query = rotate(project(block.query), cosine.ref, sine.ref);
      const key = rotate(project(block.key), cosine.ref, sine.ref);
      const mixed = nn.dotProductAttention(query, key, project(block.value), { isCausal: true }).reshape([rows, hiddenSize]);
      x.dispose();
      hidden = hidden.add(np.matmul(mixed, block.output));
      const y = rmsNorm(hidden.ref, block.norm2);
      hidden = hidden.add(np.matmul(nn.silu(np.matmul(y.ref, block.gate)).mul(np.matmul(y, block.up)), block.down));
    }
    cosine.dispose();
    sine.dispose();
    const logProbabilities = nn.logSoftmax(np.matmul(rmsNorm(hidden, w.norm), w.head), -1);
    return np.sum(logProbabilities.mul(nn.oneHot(targets, vocabularySize))).mul(-1 / rows);
  };
  const step = jit(valueAndGrad(loss as never) as never) as unknown as (w: Weights, inputs: typeof fixed) => [JaxArray, Weights];
  return {
    runAsync: async () => {
      const result = step(tree.ref(weights as never) as unknown as Weights, tree.ref(fixed as never) as unknown as typeof fixed);
      await blockUntilReady(result as never);
      tree.dispose(result as never);
    },
    sample: () => [],
  };
}
