/** jax-js on WebGPU, every operation inside `jit`. Its functions consume their arguments; `.ref` keeps one for the next call. */
import * as jax from "@jax-js/jax";
import type { PageTask, PreparedPage } from "./contract.ts";
import { offer, uniform } from "./page.ts";

const { numpy: np, nn, jit, grad } = jax;
type JaxArray = InstanceType<(typeof jax)["Array"]>;
type Operation = (...inputs: JaxArray[]) => JaxArray;

function repeated(inputs: readonly JaxArray[], operation: Operation): PreparedPage {
  let last: JaxArray | undefined;
  return {
    async run() {
      last?.dispose();
      last = operation(...inputs.map((input) => input.ref));
      await last.blockUntilReady();
    },
    result: async () => (await last!.ref.data()) as Float32Array,
    dispose() {
      last?.dispose();
      for (const input of inputs) input.dispose();
    },
  };
}

function prepare(task: PageTask): PreparedPage {
  const array = (seed: number, shape: number[]): JaxArray =>
    np.array(
      uniform(
        shape.reduce((product, length) => product * length, 1),
        seed,
      ),
      { shape },
    );
  const compiled = (operation: Operation): Operation => jit(operation as never) as unknown as Operation;
  switch (task.kind) {
    case "gemm":
      return repeated(
        [1, 2].map((seed) => array(seed, [task.size, task.size])),
        compiled((a, b) => np.matmul(a!, b!)),
      );
    case "add":
      return repeated(
        [1, 2].map((seed) => array(seed, [task.size])),
        compiled((a, b) => np.add(a!, b!)),
      );
    case "softmax":
      return repeated(
        [array(1, [task.rows, task.columns])],
        compiled((x) => nn.softmax(x!, -1)),
      );
    case "attention": {
      // Its layout is [batch, length, heads, headDim]: written out so that the inputs need no transposition.
      const shape = [1, task.heads, task.length, task.headDim];
      const scale = 1 / Math.sqrt(task.headDim);
      return repeated(
        [1, 2, 3].map((seed) => array(seed, shape)),
        compiled((q, k, v) => np.matmul(nn.softmax(np.matmul(q!, np.transpose(k!, [0, 1, 3, 2])).mul(scale), -1), v!)),
      );
    }
    case "gradient": {
      const loss = (weights: readonly JaxArray[], c: JaxArray): JaxArray =>
        np.sum(nn.softmax(np.matmul(weights[0]!, weights[1]!), -1).mul(c));
      const gradients = grad(loss as never) as unknown as (weights: readonly JaxArray[], c: JaxArray) => [JaxArray, JaxArray];
      return repeated(
        [1, 2, 3].map((seed) => array(seed, [task.size, task.size])),
        compiled((a, b, c) => {
          const [byA, byB] = gradients([a!, b!], c!);
          return np.concatenate([byA.reshape([task.size ** 2]), byB.reshape([task.size ** 2])]);
        }),
      );
    }
  }
}

offer(async () => {
  const devices = await jax.init("webgpu");
  if (!devices.includes("webgpu")) throw new Error(`jax-js finds no WebGPU, only ${devices.join(", ")}`);
  jax.defaultDevice("webgpu");
  return { prepare: async (task) => prepare(task) };
});
