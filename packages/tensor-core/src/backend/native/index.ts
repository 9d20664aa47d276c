/**
 * `@frugal/tensor-core/native`: large float32 matrix products by the system's BLAS (OpenBLAS, MKL, Accelerate) through koffi, an optional
 * peer dependency, on the same memory as
 * the WebAssembly kernels. For Node; about twice as fast on AVX2 machines.
 *
 * Results differ from the default kernels in their last bits, and may differ between machines and numbers of threads.
 */
import { overrideKernel } from "../registry.ts";
import type { WasmBackend } from "../wasm/backend.ts";
import { openBlas } from "./blas-library.ts";
import { createNativeMatmul } from "./native-matmul.ts";

/** What `enableNativeBlas` may be told. */
export interface NativeBlasOptions {
  /** Name or path of the library; default: the first of OpenBLAS, MKL and Accelerate that is found. */
  readonly library?: string;
  /** Multiply-adds of one product from which BLAS is used; default 2¹⁶, the product of two matrices of about 40 rows and columns. */
  readonly minimumWork?: number;
}

/** What `enableNativeBlas` found. */
export interface NativeBlas {
  /** Name or path of the library in use. */
  readonly library: string;
  /** Whether it keeps to `setThreads()`; Accelerate decides for itself. */
  readonly followsThreads: boolean;
}

let undo: (() => void) | undefined;

/**
 * Has device "cpu" compute large float32 products with the system's BLAS from now on. A second call replaces the settings of the first.
 *
 * ```ts
 * import { enableNativeBlas } from "@frugal/tensor-core/native";
 * const { library } = await enableNativeBlas();
 * ```
 * @throws DeviceError when koffi or a BLAS library is missing, with how to install it
 */
export async function enableNativeBlas({ library, minimumWork = 2 ** 16 }: NativeBlasOptions = {}): Promise<NativeBlas> {
  const blas = await openBlas(library);
  disableNativeBlas();
  undo = overrideKernel("cpu", "matmul", (original, backend) => createNativeMatmul(blas, minimumWork, backend as WasmBackend, original));
  return { library: blas.name, followsThreads: blas.setThreads !== undefined };
}

/** Goes back to the kernels of this package. Does nothing when BLAS is not in use. */
export function disableNativeBlas(): void {
  undo?.();
  undo = undefined;
}
