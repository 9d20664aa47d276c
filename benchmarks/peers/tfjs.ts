/** TensorFlow.js; the variant is its backend, "wasm" (XNNPACK; it uses one thread under Node) or "cpu" (plain JavaScript). */
import { createRequire } from "node:module";
import { dirname } from "node:path";
import type * as Tf from "@tensorflow/tfjs-core";
import type * as WasmBackend from "@tensorflow/tfjs-backend-wasm";
import { adamW, sampleOf, uniform } from "../src/inputs.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";
import { prepareTfjsTraining } from "./tfjs-training.ts";

// The CommonJS build, because the packages' ESM files lack the extensions that Node wants.
const require = createRequire(import.meta.url);

/** The library. */
export type Tensorflow = typeof Tf;
type Tensor = Tf.Tensor;

function repeated(operation: () => Tensor): Prepared {
  return {
    run: () => operation().dispose(),
    sample: () => {
      const result = operation();
      const values = sampleOf(result.dataSync());
      result.dispose();
      return values;
    },
  };
}

function prepareUpdate(tf: Tensorflow, size: number): Prepared {
  const { learningRate, beta1, beta2, epsilon, weightDecay } = adamW;
  const parameter = tf.variable(tf.tensor1d(uniform(size, 1)));
  const gradient = tf.tensor1d(uniform(size, 2));
  // Its optimizers lack weight decay, which is one more operation.
  const optimizer = tf.train.adam(learningRate, beta1, beta2, epsilon);
  return {
    run: () =>
      tf.tidy(() => {
        parameter.assign(tf.mul(parameter, 1 - learningRate * weightDecay));
        optimizer.applyGradients([{ name: parameter.name, tensor: gradient }]);
      }),
    sample: () => sampleOf(parameter.dataSync()),
    dispose: () => optimizer.dispose(),
  };
}

async function prepare(tf: Tensorflow, task: Task): Promise<Prepared | undefined> {
  switch (task.kind) {
    case "gemm": {
      const [a, b] = [1, 2].map((seed) => tf.tensor2d(uniform(task.size ** 2, seed), [task.size, task.size])) as [Tensor, Tensor];
      return repeated(() => tf.matMul(a, b));
    }
    case "softmax": {
      const input = tf.tensor2d(uniform(task.rows * task.columns, 1), [task.rows, task.columns]);
      return repeated(() => tf.softmax(input));
    }
    case "layerNorm": {
      const input = tf.tensor2d(uniform(task.rows * task.columns, 1), [task.rows, task.columns]);
      const weight = tf.tensor1d(uniform(task.columns, 2));
      const bias = tf.tensor1d(uniform(task.columns, 3));
      return repeated(() =>
        tf.tidy(() => {
          const { mean, variance } = tf.moments(input, 1, true);
          return tf.add(tf.mul(tf.mul(tf.sub(input, mean), tf.rsqrt(tf.add(variance, 1e-5))), weight), bias);
        }),
      );
    }
    case "rmsNorm": {
      const input = tf.tensor2d(uniform(task.rows * task.columns, 1), [task.rows, task.columns]);
      const weight = tf.tensor1d(uniform(task.columns, 2));
      return repeated(() => tf.tidy(() => tf.mul(tf.mul(input, tf.rsqrt(tf.add(tf.mean(tf.square(input), 1, true), 1e-5))), weight)));
    }
    case "exp": {
      const input = tf.tensor1d(uniform(task.size, 1));
      return repeated(() => tf.exp(input));
    }
    case "add": {
      const [a, b] = [1, 2].map((seed) => tf.tensor1d(uniform(task.size, seed))) as [Tensor, Tensor];
      return repeated(() => tf.add(a, b));
    }
    case "smallAdd": {
      const [a, b] = [1, 2].map((seed) => tf.tensor2d(uniform(64, seed), [8, 8])) as [Tensor, Tensor];
      return repeated(() => tf.add(a, b));
    }
    case "adamW":
      return prepareUpdate(tf, task.size);
    case "train":
      return await prepareTfjsTraining(tf, task.shape);
    default:
      return undefined;
  }
}

export const adapter: Adapter = {
  async open(threads, variant = "wasm") {
    const tf = require("@tensorflow/tfjs-core") as Tensorflow;
    const name = `@tensorflow/tfjs-backend-${variant}`;
    const backend = require(name) as Partial<typeof WasmBackend>;
    backend.setWasmPaths?.(`${dirname(require.resolve(name))}/`);
    backend.setThreadsCount?.(threads);
    if (!(await tf.setBackend(variant))) throw new Error(`${name} did not start`);
    await tf.ready();
    return { version: packageVersion(name), prepare: (task) => prepare(tf, task) };
  },
};
