/** ml-matrix: float64 matrices in plain JavaScript. */
import { Matrix } from "ml-matrix";
import { sampleOf, uniform } from "../src/inputs.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";

function matrices(size: number): [Matrix, Matrix] {
  return [1, 2].map((seed) => Matrix.from1DArray(size, size, Array.from(uniform(size * size, seed)))) as [Matrix, Matrix];
}

async function prepare(task: Task): Promise<Prepared | undefined> {
  if (task.kind === "gemm" && task.size <= 1024) {
    const [a, b] = matrices(task.size);
    let result = a;
    return { run: () => void (result = a.mmul(b)), sample: () => sampleOf(result.to1DArray()) };
  }
  if (task.kind === "smallAdd") {
    const [a, b] = matrices(8);
    let result = a;
    return { run: () => void (result = Matrix.add(a, b)), sample: () => sampleOf(result.to1DArray()) };
  }
  return undefined;
}

export const adapter: Adapter = { open: async () => ({ version: packageVersion("ml-matrix"), prepare }) };
