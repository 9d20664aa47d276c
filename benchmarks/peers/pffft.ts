/** PFFFT compiled to WebAssembly SIMD; lengths 2^a · 3^b · 5^c, at least 16 (complex) or 32 (real). */
import createPffft from "@echogarden/pffft-wasm/simd";
import { sampleOfComplex, uniform } from "../src/inputs.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";
import { interleaved, splitInterleaved } from "./interleaved.ts";

/** What the module exports, C functions by name. */
interface Pffft {
  readonly HEAPF32: Float32Array;
  _pffft_new_setup(length: number, kind: number): number;
  _pffft_transform_ordered(setup: number, input: number, output: number, work: number, direction: number): void;
  _pffft_aligned_malloc(bytes: number): number;
  _pffft_aligned_free(pointer: number): void;
  _pffft_destroy_setup(setup: number): void;
}

const real = 0;
const complex = 1;
const forward = 0;

async function prepareComplex(pffft: Pffft, length: number, batch: number): Promise<Prepared | undefined> {
  const setup = pffft._pffft_new_setup(length, complex);
  if (setup === 0) return undefined;
  const bytes = 8 * length;
  const input = pffft._pffft_aligned_malloc(batch * bytes);
  const output = pffft._pffft_aligned_malloc(batch * bytes);
  const work = pffft._pffft_aligned_malloc(bytes);
  const rows = interleaved(uniform(batch * length, 1), uniform(batch * length, 2), length, (size) => new Float32Array(size));
  rows.forEach((row, i) => pffft.HEAPF32.set(row, (input + i * bytes) / 4));
  return {
    run: () => {
      for (let row = 0; row < batch; row++) pffft._pffft_transform_ordered(setup, input + row * bytes, output + row * bytes, work, forward);
    },
    sample: () => sampleOfComplex(...splitInterleaved([pffft.HEAPF32.slice(output / 4, output / 4 + 2 * batch * length)])),
    dispose: () => {
      for (const pointer of [input, output, work]) pffft._pffft_aligned_free(pointer);
      pffft._pffft_destroy_setup(setup);
    },
  };
}

/** Rows by the library's real transform, columns gathered in JavaScript, since it has no strided or two-dimensional transform. */
async function prepareReal2d(pffft: Pffft, rows: number, columns: number): Promise<Prepared | undefined> {
  const rowSetup = pffft._pffft_new_setup(columns, real);
  const columnSetup = pffft._pffft_new_setup(rows, complex);
  if (rowSetup === 0 || columnSetup === 0) return undefined;
  const bins = columns / 2 + 1;
  const input = pffft._pffft_aligned_malloc(4 * rows * columns);
  const spectra = pffft._pffft_aligned_malloc(4 * rows * columns);
  const column = pffft._pffft_aligned_malloc(8 * rows);
  const output = pffft._pffft_aligned_malloc(8 * rows * bins);
  const work = pffft._pffft_aligned_malloc(8 * Math.max(rows, columns));
  pffft.HEAPF32.set(uniform(rows * columns, 1), input / 4);
  return {
    run: () => {
      for (let row = 0; row < rows; row++)
        pffft._pffft_transform_ordered(rowSetup, input + 4 * row * columns, spectra + 4 * row * columns, work, forward);
      const heap = pffft.HEAPF32;
      for (let bin = 0; bin < bins; bin++) {
        // The first pair of a row holds its two real frequencies, 0 and columns / 2.
        const edge = bin === 0 || bin === bins - 1;
        const from = spectra / 4 + (bin === bins - 1 ? 1 : 2 * bin);
        const to = column / 4;
        for (let row = 0; row < rows; row++) {
          heap[to + 2 * row] = heap[from + row * columns]!;
          heap[to + 2 * row + 1] = edge ? 0 : heap[from + row * columns + 1]!;
        }
        pffft._pffft_transform_ordered(columnSetup, column, output + 8 * rows * bin, work, forward);
      }
    },
    sample: () => {
      const at = (part: number): number[] =>
        Array.from({ length: rows * bins }, (_, i) => pffft.HEAPF32[output / 4 + 2 * (rows * (i % bins) + Math.floor(i / bins)) + part]!);
      return sampleOfComplex(at(0), at(1));
    },
    dispose: () => {
      for (const pointer of [input, spectra, column, output, work]) pffft._pffft_aligned_free(pointer);
      pffft._pffft_destroy_setup(rowSetup);
      pffft._pffft_destroy_setup(columnSetup);
    },
  };
}

/** Otherwise the library ends the process. */
function isSupported(length: number, multiple: number): boolean {
  let rest = length;
  for (const factor of [2, 3, 5]) while (rest % factor === 0) rest /= factor;
  return rest === 1 && length % multiple === 0;
}

async function prepare(pffft: Pffft, task: Task): Promise<Prepared | undefined> {
  if (task.kind === "fft" && isSupported(task.length, 16)) return await prepareComplex(pffft, task.length, task.batch);
  if (task.kind === "rfft2" && isSupported(task.columns, 32) && isSupported(task.rows, 16))
    return await prepareReal2d(pffft, task.rows, task.columns);
  return undefined;
}

export const adapter: Adapter = {
  async open() {
    const pffft = (await createPffft()) as Pffft;
    return { version: packageVersion("@echogarden/pffft-wasm"), prepare: (task) => prepare(pffft, task) };
  },
};
