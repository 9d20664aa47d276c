import type * as KoffiModule from "koffi";
import { DeviceError } from "../../errors.ts";

/** `cblas_sgemm` for row-major matrices, without the constants that are always the same. */
export type Sgemm = (
  transposeA: boolean,
  transposeB: boolean,
  m: number,
  n: number,
  k: number,
  a: Float32Array,
  strideA: number,
  b: Float32Array,
  strideB: number,
  beta: number,
  c: Float32Array,
  strideC: number,
) => void;

/** An opened BLAS. */
export interface BlasLibrary {
  /** File or framework name. */
  readonly name: string;
  readonly sgemm: Sgemm;
  /** Absent where the library offers no such call (Accelerate). */
  readonly setThreads?: (count: number) => void;
}

/** Where each system keeps its BLAS, the usually fastest first. */
const candidates: Readonly<Record<string, readonly string[]>> = {
  linux: ["libopenblas.so.0", "libopenblas.so", "libmkl_rt.so.2", "libmkl_rt.so.1", "libmkl_rt.so"],
  darwin: [
    "/System/Library/Frameworks/Accelerate.framework/Accelerate",
    "libopenblas.dylib",
    "/opt/homebrew/opt/openblas/lib/libopenblas.dylib",
    "/usr/local/opt/openblas/lib/libopenblas.dylib",
  ],
  win32: ["libopenblas.dll", "openblas.dll", "mkl_rt.2.dll", "mkl_rt.dll"],
};
const threadSetters = ["openblas_set_num_threads", "MKL_Set_Num_Threads"];
const installHint =
  "Debian or Ubuntu: apt-get install libopenblas0-pthread; Fedora: dnf install openblas; Windows: put libopenblas.dll on the PATH; macOS brings Accelerate";
const rowMajor = 101;
const noTranspose = 111;
const transpose = 112;

type Koffi = typeof KoffiModule;

async function loadKoffi(): Promise<Koffi> {
  try {
    const module = (await import("koffi")) as Koffi & { readonly default?: Koffi };
    return module.default ?? module;
  } catch (error) {
    throw new DeviceError(`enableNativeBlas: the optional peer dependency koffi is missing (npm install koffi): ${String(error)}`);
  }
}

/**
 * Opens `library`, or the first of this system's candidates that is there. @throws DeviceError when there is none, with how to install one
 */
export async function openBlas(library?: string): Promise<BlasLibrary> {
  const koffi = await loadKoffi();
  const names = library === undefined ? (candidates[process.platform] ?? []) : [library];
  const failures: string[] = [];
  for (const name of names) {
    try {
      return bind(koffi, name);
    } catch (error) {
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new DeviceError(
    `enableNativeBlas: no BLAS library could be opened on ${process.platform} (${failures.join("; ") || "none is known for this system"}). ${installHint}; or give { library: path }`,
  );
}

function bind(koffi: Koffi, name: string): BlasLibrary {
  const library = koffi.load(name);
  const call = library.func("void cblas_sgemm(int, int, int, int, int, int, float, void *, int, void *, int, float, void *, int)");
  const sgemm: Sgemm = (transposeA, transposeB, m, n, k, a, strideA, b, strideB, beta, c, strideC) => {
    call(
      rowMajor,
      transposeA ? transpose : noTranspose,
      transposeB ? transpose : noTranspose,
      m,
      n,
      k,
      1,
      a,
      strideA,
      b,
      strideB,
      beta,
      c,
      strideC,
    );
  };
  for (const setter of threadSetters) {
    try {
      const setThreads = library.func(`void ${setter}(int)`) as (count: number) => void;
      return { name, sgemm, setThreads };
    } catch {
      // The library is of another maker.
    }
  }
  return { name, sgemm };
}
