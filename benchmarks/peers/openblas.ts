/** OpenBLAS of the system through koffi, as a native yardstick. */
import koffi, { type LibraryHandle } from "koffi";
import { sampleOf, uniform } from "../src/inputs.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";

const libraries = [
  "libopenblas.so.0",
  "libopenblas.so",
  "libopenblas.0.dylib",
  "/opt/homebrew/opt/openblas/lib/libopenblas.dylib",
  "/usr/local/opt/openblas/lib/libopenblas.dylib",
  "libopenblas.dll",
];

const rowMajor = 101;
const notTransposed = 111;

interface Blas {
  sgemm(
    order: number,
    transposeA: number,
    transposeB: number,
    m: number,
    n: number,
    k: number,
    alpha: number,
    a: Float32Array,
    lda: number,
    b: Float32Array,
    ldb: number,
    beta: number,
    c: Float32Array,
    ldc: number,
  ): void;
}

async function prepare(blas: Blas, task: Task): Promise<Prepared | undefined> {
  if (task.kind !== "gemm") return undefined;
  const n = task.size;
  const a = uniform(n * n, 1);
  const b = uniform(n * n, 2);
  const c = new Float32Array(n * n);
  return { run: () => blas.sgemm(rowMajor, notTransposed, notTransposed, n, n, n, 1, a, n, b, n, 0, c, n), sample: () => sampleOf(c) };
}

export const adapter: Adapter = {
  async open(threads) {
    for (const library of libraries) {
      let loaded: LibraryHandle;
      try {
        loaded = koffi.load(library);
      } catch {
        continue;
      }
      loaded.func("void openblas_set_num_threads(int)")(threads);
      const sgemm = loaded.func(
        "void cblas_sgemm(int, int, int, int, int, int, float, const float *, int, const float *, int, float, _Inout_ float *, int)",
      ) as unknown as Blas["sgemm"];
      const version = String(loaded.func("const char *openblas_get_config()")()).split(" ").slice(1, 2).join("");
      return { version, prepare: (task) => prepare({ sgemm }, task) };
    }
    throw new Error(`no OpenBLAS found (tried ${libraries.join(", ")}); on Debian: apt-get install libopenblas0-pthread`);
  },
};
