/** TensorFlow.js on WebGPU. */
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/register_all_gradients";
import "@tensorflow/tfjs-backend-webgpu";
import type { PageTask, PreparedPage } from "./contract.ts";
import { offer, uniform } from "./page.ts";

type Tensor = tf.Tensor;

/** The part of its backend that is used; it is not in the public types. */
interface WebGpuBackend {
  readonly device: GPUDevice;
  readonly adapterInfo?: { readonly vendor: string; readonly architecture: string };
  readonly commandEncoder: GPUCommandEncoder | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

const backend = (): WebGpuBackend => tf.backend() as unknown as WebGpuBackend;

function repeated(inputs: readonly Tensor[], operation: () => Tensor): PreparedPage {
  let last: Tensor | undefined;
  return {
    async run() {
      last?.dispose();
      last = tf.tidy(operation);
      // What it has not submitted itself; it has no call that waits and leaves the result where it is.
      if (backend().commandEncoder !== null) {
        backend().endComputePassEncoder();
        backend().submitQueue();
      }
      await backend().device.queue.onSubmittedWorkDone();
    },
    result: async () => (await last!.data()) as Float32Array,
    dispose() {
      last?.dispose();
      for (const input of inputs) input.dispose();
    },
  };
}

function prepare(task: PageTask): PreparedPage {
  const array = (seed: number, shape: number[]): Tensor =>
    tf.tensor(
      uniform(
        shape.reduce((product, length) => product * length, 1),
        seed,
      ),
      shape,
    );
  switch (task.kind) {
    case "gemm": {
      const inputs = [1, 2].map((seed) => array(seed, [task.size, task.size]));
      return repeated(inputs, () => tf.matMul(inputs[0]!, inputs[1]!));
    }
    case "add": {
      const inputs = [1, 2].map((seed) => array(seed, [task.size]));
      return repeated(inputs, () => tf.add(inputs[0]!, inputs[1]!));
    }
    case "softmax": {
      const input = array(1, [task.rows, task.columns]);
      return repeated([input], () => tf.softmax(input));
    }
    case "attention": {
      const inputs = [1, 2, 3].map((seed) => array(seed, [1, task.heads, task.length, task.headDim]));
      const [query, key, value] = inputs as [Tensor, Tensor, Tensor];
      const scale = 1 / Math.sqrt(task.headDim);
      return repeated(inputs, () => tf.matMul(tf.softmax(tf.mul(tf.matMul(query, key, false, true), scale)), value));
    }
    case "gradient": {
      const inputs = [1, 2, 3].map((seed) => array(seed, [task.size, task.size]));
      const [a, b, c] = inputs as [Tensor, Tensor, Tensor];
      const gradients = tf.grads((x: Tensor, y: Tensor) => tf.sum(tf.mul(tf.softmax(tf.matMul(x, y)), c)));
      return repeated(inputs, () => tf.concat(gradients([a, b]).map((gradient) => tf.reshape(gradient, [-1]))));
    }
  }
}

offer(async () => {
  if (!(await tf.setBackend("webgpu"))) throw new Error("tfjs-backend-webgpu did not start");
  await tf.ready();
  const { vendor, architecture } = backend().adapterInfo ?? { vendor: "not", architecture: "said" };
  return { adapter: `${vendor} ${architecture}`, prepare: async (task) => prepare(task) };
});
