/** As much of the packages without types as is used. */

declare module "ml-fft" {
  export const FFT: {
    init(length: number): void;
    fft(real: Float64Array, imaginary: Float64Array): void;
  };
}

declare module "@echogarden/pffft-wasm/simd" {
  export default function create(): Promise<unknown>;
}

declare module "fft.js" {
  export default class FFT {
    constructor(length: number);
    createComplexArray(): number[];
    transform(output: number[], input: number[]): void;
    /** Fills the non-negative frequencies of `output`. */
    realTransform(output: number[], input: number[]): void;
  }
}

declare module "@tensorflow/tfjs-core/dist/register_all_gradients";

declare module "kissfft-wasm/lib/wasm.js" {
  export function waitLoading(): Promise<void>;
}

declare module "crc-32/crc32c.js" {
  const checksum: { buf(bytes: Uint8Array): number };
  export default checksum;
}
