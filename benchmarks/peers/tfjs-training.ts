import { registerHooks } from "node:module";
import type { Tensor, Variable } from "@tensorflow/tfjs-core";
import { uniform } from "../src/inputs.ts";
import type { Prepared, TrainingShape } from "../src/workload.ts";
import type { Tensorflow } from "./tfjs.ts";

/**
 * Gradients come in ES modules whose imports lack the extensions that Node wants; they register themselves for all copies of the
 * library.
 */
async function registerGradients(): Promise<void> {
  const hooks = registerHooks({
    resolve: (specifier, context, next) =>
      next(/^\.{1,2}\/.*(?<!\.js)$/.test(specifier) && context.parentURL?.includes("/tfjs-core/") ? `${specifier}.js` : specifier, context),
  });
  await import("@tensorflow/tfjs-core/dist/register_all_gradients.js" as string);
  hooks.deregister();
}

/**
 * Forward and backward pass of the Llama that `shape` describes. The inputs of the first block are fixed, not looked up in a trained
 * embedding, since the backend has no kernel for that gradient; no update follows. Both make its work less than ours.
 */
export async function prepareTfjsTraining(tf: Tensorflow, shape: TrainingShape): Promise<Prepared> {
  await registerGradients();
  const { layers, hiddenSize, heads, intermediateSize, vocabularySize, batchSize, sequenceLength } = shape;
  const headDim = hiddenSize / heads;
  const rows = batchSize * sequenceLength;
  let seed = 10;
  const weight = (inputs: number, outputs: number): Variable =>
    tf.variable(tf.mul(tf.tensor2d(uniform(inputs * outputs, seed++), [inputs, outputs]), 0.03));
  const gain = (): Variable => tf.variable(tf.ones([hiddenSize]));
  const blocks = Array.from({ length: layers }, () => ({
    norm1: gain(),
    query: weight(hiddenSize, hiddenSize),
    key: weight(hiddenSize, hiddenSize),
    value: weight(hiddenSize, hiddenSize),
    output: weight(hiddenSize, hiddenSize),
    norm2: gain(),
    gate: weight(hiddenSize, intermediateSize),
    up: weight(hiddenSize, intermediateSize),
    down: weight(intermediateSize, hiddenSize),
  }));
  const norm = gain();
  const head = weight(hiddenSize, vocabularySize);
  const variables = [...blocks.flatMap((block) => Object.values(block)), norm, head];

  const inputs = tf.tensor2d(uniform(rows * hiddenSize, 1), [rows, hiddenSize]);
  const targets = tf.oneHot(
    tf.tensor1d(
      Int32Array.from({ length: rows }, (_, i) => (i * 7919) % vocabularySize),
      "int32",
    ),
    vocabularySize,
  );
  const angles = Float32Array.from(
    { length: sequenceLength * (headDim / 2) },
    (_, i) => Math.floor(i / (headDim / 2)) / 10000 ** ((2 * (i % (headDim / 2))) / headDim),
  );
  const cosine = tf.tensor(angles.map(Math.cos), [1, 1, sequenceLength, headDim / 2]);
  const sine = tf.tensor(angles.map(Math.sin), [1, 1, sequenceLength, headDim / 2]);
  const mask = tf.tensor2d(
    Float32Array.from({ length: sequenceLength ** 2 }, (_, i) => (i % sequenceLength > Math.floor(i / sequenceLength) ? -1e9 : 0)),
    [sequenceLength, sequenceLength],
  );

  const rmsNorm = (x: Tensor, scale: Tensor): Tensor => tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-5))), scale);
  const split = (x: Tensor): Tensor => tf.transpose(tf.reshape(x, [batchSize, sequenceLength, heads, headDim]), [0, 2, 1, 3]);
  const rotate = (x: Tensor): Tensor => {
    const [first, second] = tf.split(x, 2, -1) as [Tensor, Tensor];
    return tf.concat([tf.sub(tf.mul(first, cosine), tf.mul(second, sine)), tf.add(tf.mul(first, sine), tf.mul(second, cosine))], -1);
  };
  const loss = (): Tensor => {
    let hidden: Tensor = inputs;
    for (const block of blocks) {
      const x = rmsNorm(hidden, block.norm1);
      const [query, key, value] = [block.query, block.key, block.value].map((matrix) => split(tf.matMul(x, matrix))) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      const scores = tf.add(tf.mul(tf.matMul(rotate(query), rotate(key), false, true), 1 / Math.sqrt(headDim)), mask);
      const mixed = tf.reshape(tf.transpose(tf.matMul(tf.softmax(scores), value), [0, 2, 1, 3]), [rows, hiddenSize]);
      hidden = tf.add(hidden, tf.matMul(mixed, block.output));
      const y = rmsNorm(hidden, block.norm2);
      const gate = tf.matMul(y, block.gate);
      hidden = tf.add(hidden, tf.matMul(tf.mul(tf.mul(gate, tf.sigmoid(gate)), tf.matMul(y, block.up)), block.down));
    }
    const logits = tf.matMul(rmsNorm(hidden, norm), head);
    return tf.neg(tf.mean(tf.sum(tf.mul(targets, tf.logSoftmax(logits)), -1)));
  };
  return {
    run: () =>
      tf.tidy(() => {
        const { value, grads } = tf.variableGrads(loss as never, variables);
        value.dataSync();
        for (const gradient of Object.values(grads)) gradient.dispose();
      }),
    sample: () => [],
  };
}
