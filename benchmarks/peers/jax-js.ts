/** jax-js on its WebAssembly backend, every operation inside `jit`, which is faster than its eager mode. */
import type * as JaxModule from "@jax-js/jax";
import { sampleOf, sampleOfComplex, adamW, uniform } from "../src/inputs.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";
import { prepareJaxTraining } from "./jax-js-training.ts";
import { installWebWorker } from "./web-worker.cjs";

/** The library. */
export type Jax = typeof JaxModule;
type JaxArray = InstanceType<Jax["Array"]>;

// Its functions consume their arguments; `.ref` keeps one for the next call.

function repeated(inputs: readonly JaxArray[], operation: (...inputs: JaxArray[]) => JaxArray): Prepared {
  let result: JaxArray | undefined;
  return {
    runAsync: async () => {
      result?.dispose();
      result = operation(...inputs.map((input) => input.ref));
      await result.blockUntilReady();
    },
    sample: async () => sampleOf(await result!.ref.data()),
  };
}

interface ComplexPair {
  readonly real: JaxArray;
  readonly imag: JaxArray;
}

function prepareRfft2(jax: Jax, rows: number, columns: number): Prepared {
  const { numpy: np, jit } = jax;
  const input = np.array(uniform(rows * columns, 1), { shape: [rows, columns] });
  const transform = jit((x: JaxArray) => np.fft.rfft2(x)) as unknown as (x: JaxArray) => ComplexPair;
  let result: ComplexPair | undefined;
  return {
    runAsync: async () => {
      jax.tree.dispose(result as never);
      result = transform(input.ref);
      await jax.blockUntilReady(result);
    },
    sample: async () => sampleOfComplex(await result!.real.ref.data(), await result!.imag.ref.data()),
  };
}

function prepareUpdate({ numpy: np, jit, blockUntilReady }: Jax, size: number): Prepared {
  const { learningRate, beta1, beta2, epsilon, weightDecay } = adamW;
  const update = jit(
    (parameter: JaxArray, gradient: JaxArray, first: JaxArray, second: JaxArray, correction1: JaxArray, correction2: JaxArray) => {
      const m = first.mul(beta1).add(gradient.ref.mul(1 - beta1));
      const v = second.mul(beta2).add(gradient.ref.mul(gradient).mul(1 - beta2));
      const direction = m.ref.div(correction1).div(np.sqrt(v.ref.div(correction2)).add(epsilon));
      return [parameter.ref.sub(direction.add(parameter.mul(weightDecay)).mul(learningRate)), m, v];
    },
  ) as unknown as (...inputs: JaxArray[]) => [JaxArray, JaxArray, JaxArray];
  const gradient = np.array(uniform(size, 2));
  let state: [JaxArray, JaxArray, JaxArray] = [np.array(uniform(size, 1)), np.zeros([size]), np.zeros([size])];
  let step = 0;
  return {
    runAsync: async () => {
      step++;
      const [parameter, first, second] = state;
      state = update(parameter, gradient.ref, first, second, np.array([1 - beta1 ** step]), np.array([1 - beta2 ** step]));
      await blockUntilReady(state);
    },
    sample: async () => sampleOf(await state[0].ref.data()),
  };
}

async function prepare(jax: Jax, task: Task): Promise<Prepared | undefined> {
  const { numpy: np, nn, jit } = jax;
  const array = (size: number, seed: number, shape: number[]): JaxArray => np.array(uniform(size, seed), { shape });
  switch (task.kind) {
    case "gemm": {
      const inputs = [1, 2].map((seed) => array(task.size ** 2, seed, [task.size, task.size]));
      return repeated(
        inputs,
        jit((a: JaxArray, b: JaxArray) => np.matmul(a, b)),
      );
    }
    case "rfft2":
      return prepareRfft2(jax, task.rows, task.columns);
    case "softmax":
      return repeated(
        [array(task.rows * task.columns, 1, [task.rows, task.columns])],
        jit((x: JaxArray) => nn.softmax(x, -1)),
      );
    case "layerNorm": {
      const inputs = [
        array(task.rows * task.columns, 1, [task.rows, task.columns]),
        array(task.columns, 2, [task.columns]),
        array(task.columns, 3, [task.columns]),
      ];
      return repeated(
        inputs,
        jit((x: JaxArray, weight: JaxArray, bias: JaxArray) => nn.standardize(x, -1, { epsilon: 1e-5 }).mul(weight).add(bias)),
      );
    }
    case "rmsNorm": {
      const inputs = [array(task.rows * task.columns, 1, [task.rows, task.columns]), array(task.columns, 2, [task.columns])];
      return repeated(
        inputs,
        jit((x: JaxArray, weight: JaxArray) => {
          const scale = np.sqrt(np.mean(x.ref.mul(x.ref), -1, { keepdims: true }).add(1e-5));
          return x.div(scale).mul(weight);
        }),
      );
    }
    case "exp":
      return repeated(
        [array(task.size, 1, [task.size])],
        jit((x: JaxArray) => np.exp(x)),
      );
    case "add":
      return repeated(
        [1, 2].map((seed) => array(task.size, seed, [task.size])),
        jit((a: JaxArray, b: JaxArray) => np.add(a, b)),
      );
    case "smallAdd":
      return repeated(
        [1, 2].map((seed) => array(64, seed, [8, 8])),
        jit((a: JaxArray, b: JaxArray) => np.add(a, b)),
      );
    case "adamW":
      return prepareUpdate(jax, task.size);
    case "train":
      return prepareJaxTraining(jax, task.shape);
    default:
      return undefined;
  }
}

export const adapter: Adapter = {
  async open(threads) {
    // It makes a worker for each core it is told of, and none where there is no Worker.
    if (threads > 1) installWebWorker(threads);
    const jax = await import("@jax-js/jax");
    await jax.init("wasm");
    jax.defaultDevice("wasm");
    return { version: packageVersion("@jax-js/jax"), prepare: (task) => prepare(jax, task) };
  },
};
