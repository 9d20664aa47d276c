/** KissFFT compiled to WebAssembly, without SIMD; has real transforms of several dimensions itself. */
import { sampleOfComplex, uniform } from "../src/inputs.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";

async function prepare(task: Task): Promise<Prepared | undefined> {
  if (task.kind !== "rfft2") return undefined;
  // Its loader takes Node for a browser where there is a global fetch, and fails on the path of its module.
  Reflect.deleteProperty(globalThis, "fetch");
  const { ComplexArray, RealArray, RealFFTNDConfig } = await import("kissfft-wasm");
  const { waitLoading } = await import("kissfft-wasm/lib/wasm.js");
  await waitLoading();
  const { rows, columns } = task;
  const bins = columns / 2 + 1;
  const plan = new RealFFTNDConfig([rows, columns]);
  const input = RealArray.fromArray(uniform(rows * columns, 1));
  const output = new ComplexArray(rows * columns);
  return {
    run: () => plan.work(input, output),
    sample: () => {
      const values = output.asFloat32Array();
      const part = (offset: number): number[] => Array.from({ length: rows * bins }, (_, i) => values[2 * i + offset]!);
      return sampleOfComplex(part(0), part(1));
    },
    dispose: () => {
      plan.free();
      input.free();
      output.free();
    },
  };
}

export const adapter: Adapter = { open: async () => ({ version: packageVersion("kissfft-wasm"), prepare }) };
