/** numpy-ts: NumPy's interface on WebAssembly SIMD kernels. */
import * as np from "numpy-ts";
import { sampleOf, sampleOfComplex, uniform } from "../src/inputs.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";

type NdArray = ReturnType<typeof np.exp>;

function array(length: number, seed: number, shape: number[]): NdArray {
  return np.array(uniform(length, seed), "float32").reshape(...shape) as NdArray;
}

/** Each result is freed, as its documentation advises for loops. */
function repeated(operation: () => NdArray): Prepared {
  return {
    run: () => operation().dispose(),
    sample: () => sampleOf(operation().flatten().tolist() as number[]),
  };
}

/** Results are complex: interleaved in their data. */
function fourier(transform: () => NdArray): Prepared {
  return {
    run: () => transform().dispose(),
    sample: () => {
      const result = transform();
      return sampleOfComplex(np.real(result).flatten().tolist() as number[], np.imag(result).flatten().tolist() as number[]);
    },
  };
}

async function prepare(task: Task): Promise<Prepared | undefined> {
  switch (task.kind) {
    case "gemm": {
      const [a, b] = [1, 2].map((seed) => array(task.size ** 2, seed, [task.size, task.size])) as [NdArray, NdArray];
      return repeated(() => np.matmul(a, b) as NdArray);
    }
    case "rfft2": {
      const input = array(task.rows * task.columns, 1, [task.rows, task.columns]);
      return fourier(() => np.fft.rfft2(input) as NdArray);
    }
    case "exp": {
      const input = array(task.size, 1, [task.size]);
      return repeated(() => np.exp(input) as NdArray);
    }
    case "add": {
      const [a, b] = [1, 2].map((seed) => array(task.size, seed, [task.size])) as [NdArray, NdArray];
      return repeated(() => np.add(a, b) as NdArray);
    }
    case "smallAdd": {
      const [a, b] = [1, 2].map((seed) => array(64, seed, [8, 8])) as [NdArray, NdArray];
      return repeated(() => np.add(a, b) as NdArray);
    }
    default:
      return undefined;
  }
}

export const adapter: Adapter = { open: async () => ({ version: packageVersion("numpy-ts"), prepare }) };
