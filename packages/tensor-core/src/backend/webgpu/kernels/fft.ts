import type { Kernels, TensorView } from "../../backend.ts";
import { read, write } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import type { Source, Target } from "./fft/access.ts";
import type { FftConfiguration } from "./fft/schedule.ts";
import { halfRootTable } from "./fft/tables.ts";
import { launchTransform } from "./fft/transform.ts";

/**
 * Fourier transforms. A workgroup holds whole lines and exchanges points between Stockham passes in its memory, one launch for one reading
 * and one writing of the tensors; longer lines take two or three launches; lengths with large primes are Bluestein's convolutions. Real
 * signals of even length are complex ones of half the length, packed while reading and taken apart while writing.
 * @param options defaults to what suits the adapter
 */
export function fftKernels(
  runtime: WebGpuRuntime,
  options: Partial<FftConfiguration> = {},
): Pick<Kernels, "fft" | "realFft" | "inverseRealFft"> {
  const configuration: FftConfiguration = {
    tiles: runtime.isSoftware ? "none" : "common",
    limits: runtime.limits,
    ...options,
  };
  return {
    fft({ inputReal, inputImaginary, outputReal, outputImaginary, outer, length, inner, inverse, scale }) {
      if (outer * length * inner === 0) return;
      const outerStride = length * inner;
      // The inverse exchanges real and imaginary parts before and after.
      const [real, imaginary] = inverse ? [inputImaginary, inputReal] : [inputReal, inputImaginary];
      const source: Source = { kind: "complex", bindings: { inputReal: read(real), inputImaginary: read(imaginary) }, outerStride };
      const target: Target = {
        kind: "complex",
        bindings: frequencies(inverse ? outputImaginary : outputReal, inverse ? outputReal : outputImaginary),
        outerStride,
      };
      launchTransform(runtime, { configuration, outer, source, target, numbers: { inner, points: length, bins: length, scale } });
    },

    realFft({ input, outputReal, outputImaginary, outer, length, inner, scale }) {
      if (outer * length * inner === 0) return;
      const bins = Math.floor(length / 2) + 1;
      const isEven = length % 2 === 0;
      const source: Source = { kind: isEven ? "real" : "plain", bindings: { input: read(input) }, outerStride: length * inner };
      const target: Target = {
        kind: isEven ? "half" : "bins",
        bindings: { ...frequencies(outputReal, outputImaginary), ...(isEven && { halfRoots: halfRootTable(runtime, length) }) },
        outerStride: bins * inner,
      };
      const numbers = { inner, points: isEven ? length / 2 : length, bins, scale };
      launchTransform(runtime, { configuration, outer, source, target, numbers });
    },

    inverseRealFft({ inputReal, inputImaginary, output, outer, length, inner, scale }) {
      if (outer * length * inner === 0) return;
      const bins = Math.floor(length / 2) + 1;
      const isEven = length % 2 === 0;
      const parts = { inputReal: read(inputReal), inputImaginary: read(inputImaginary) };
      const source: Source = {
        kind: isEven ? "half" : "hermitian",
        bindings: { ...parts, ...(isEven && { halfRoots: halfRootTable(runtime, length) }) },
        outerStride: bins * inner,
      };
      const target: Target = { kind: isEven ? "real" : "realPart", bindings: { output: write(output) }, outerStride: length * inner };
      const numbers = { inner, points: isEven ? length / 2 : length, bins, scale };
      launchTransform(runtime, { configuration, outer, source, target, numbers });
    },
  };
}

function frequencies(outputReal: TensorView, outputImaginary: TensorView): Target["bindings"] {
  return { outputReal: write(outputReal), outputImaginary: write(outputImaginary) };
}
