/** fft.js: radix-4 in plain JavaScript, powers of two. */
import FFT from "fft.js";
import { sampleOfComplex, uniform } from "../src/inputs.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";
import { interleaved, splitInterleaved } from "./interleaved.ts";

// Plain arrays only, which it is fastest with: a second kind of array in the process would halve its speed.

function complex(length: number, batch: number): Prepared {
  const fft = new FFT(length);
  const inputs = interleaved(uniform(batch * length, 1), uniform(batch * length, 2), length, (size) => new Array<number>(size).fill(0));
  const outputs = inputs.map(() => fft.createComplexArray());
  return {
    run: () => {
      for (let i = 0; i < inputs.length; i++) fft.transform(outputs[i]!, inputs[i]!);
    },
    sample: () => sampleOfComplex(...splitInterleaved(outputs)),
  };
}

/** Real transforms of the rows, then complex ones of the columns. */
function real2d(rows: number, columns: number): Prepared {
  const bins = columns / 2 + 1;
  const rowTransform = new FFT(columns);
  const columnTransform = new FFT(rows);
  const values = uniform(rows * columns, 1);
  const input = Array.from({ length: rows }, (_, row) => Array.from(values.subarray(row * columns, (row + 1) * columns)));
  const spectra = input.map(() => rowTransform.createComplexArray());
  const column = columnTransform.createComplexArray();
  const outputs = Array.from({ length: bins }, () => columnTransform.createComplexArray());
  return {
    run: () => {
      // It fills the non-negative frequencies only.
      for (let row = 0; row < rows; row++) rowTransform.realTransform(spectra[row]!, input[row]!);
      for (let bin = 0; bin < bins; bin++) {
        for (let row = 0; row < rows; row++) {
          const spectrum = spectra[row]!;
          column[2 * row] = spectrum[2 * bin]!;
          column[2 * row + 1] = spectrum[2 * bin + 1]!;
        }
        columnTransform.transform(outputs[bin]!, column);
      }
    },
    sample: () => {
      const at = (part: number): number[] =>
        Array.from({ length: rows * bins }, (_, i) => outputs[i % bins]![2 * Math.floor(i / bins) + part]!);
      return sampleOfComplex(at(0), at(1));
    },
  };
}

const isPowerOfTwo = (n: number): boolean => (n & (n - 1)) === 0;

async function prepare(task: Task): Promise<Prepared | undefined> {
  if (task.kind === "fft" && isPowerOfTwo(task.length)) return complex(task.length, task.batch);
  if (task.kind === "rfft2" && isPowerOfTwo(task.rows) && isPowerOfTwo(task.columns)) return real2d(task.rows, task.columns);
  return undefined;
}

export const adapter: Adapter = { open: async () => ({ version: packageVersion("fft.js"), prepare }) };
