/** ml-fft: in-place transforms on two arrays, powers of two. */
import { FFT } from "ml-fft";
import { sampleOfComplex, uniform } from "../src/inputs.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";

async function prepare(task: Task): Promise<Prepared | undefined> {
  if (task.kind !== "fft" || (task.length & (task.length - 1)) !== 0) return undefined;
  const { length, batch } = task;
  const source = { real: Float64Array.from(uniform(batch * length, 1)), imaginary: Float64Array.from(uniform(batch * length, 2)) };
  const real = Array.from({ length: batch }, (_, row) => source.real.slice(row * length, (row + 1) * length));
  const imaginary = Array.from({ length: batch }, (_, row) => source.imaginary.slice(row * length, (row + 1) * length));
  FFT.init(length);
  return {
    run: () => {
      for (let row = 0; row < batch; row++) {
        // It works in place, so the input is put back each time, as a user would have to.
        real[row]!.set(source.real.subarray(row * length, (row + 1) * length));
        imaginary[row]!.set(source.imaginary.subarray(row * length, (row + 1) * length));
        FFT.fft(real[row]!, imaginary[row]!);
      }
    },
    sample: () =>
      sampleOfComplex(
        real.flatMap((row) => [...row]),
        imaginary.flatMap((row) => [...row]),
      ),
  };
}

export const adapter: Adapter = { open: async () => ({ version: packageVersion("ml-fft"), prepare }) };
