import { chirpSpectrum } from "../../../../fft/plan.ts";
import { chirp, unitRoot } from "../../../../fft/roots.ts";
import type { KernelBinding } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";

/** Entries of the fine half of a two-level table of roots. */
export const fineRoots = 4096;

function table(runtime: WebGpuRuntime, key: string, make: () => Float32Array): KernelBinding {
  return { buffer: runtime.constant(key, make), access: "read", type: "vec2<f32>", offset: 0 };
}

function roots(count: number, at: (index: number) => readonly [number, number]): Float32Array {
  const values = new Float32Array(2 * count);
  for (let i = 0; i < count; i++) values.set(at(i), 2 * i);
  return values;
}

/** exp(-2πi m / length), m = 0 … length - 1, rounded once from double precision. */
export function rootTable(runtime: WebGpuRuntime, length: number): KernelBinding {
  return table(runtime, `fft roots ${length}`, () => roots(length, (m) => unitRoot(m, length)));
}

/** exp(-2πi m / length) for m up to length / 2: what takes the transform of an even number of reals apart. */
export function halfRootTable(runtime: WebGpuRuntime, length: number): KernelBinding {
  return table(runtime, `fft half roots ${length}`, () => roots(length / 2 + 1, (m) => unitRoot(m, length)));
}

/**
 * exp(-2πi m / length) for any m below `length` as a product of two: entry m mod 4096, and entry 4096 + floor(m / 4096). A full table of a
 * long length would not fit any cache of the device.
 */
export function splitRootTable(runtime: WebGpuRuntime, length: number): KernelBinding {
  const coarse = Math.ceil(length / fineRoots);
  return table(runtime, `fft split roots ${length}`, () =>
    roots(fineRoots + coarse, (i) => unitRoot(i < fineRoots ? i : (i - fineRoots) * fineRoots, length)),
  );
}

/** Bluestein's chirp exp(-πi j² / length). */
export function chirpTable(runtime: WebGpuRuntime, length: number): KernelBinding {
  return table(runtime, `fft chirp ${length}`, () => {
    const { real, imaginary } = chirp(length);
    return roots(length, (j) => [real[j]!, imaginary[j]!]);
  });
}

/** What Bluestein's convolution multiplies by, over the padded length and divided by it. */
export function spectrumTable(runtime: WebGpuRuntime, length: number, paddedLength: number): KernelBinding {
  return table(runtime, `fft spectrum ${length} ${paddedLength}`, () => {
    const c = chirp(length);
    const { real, imaginary } = chirpSpectrum(c.real, c.imaginary, paddedLength);
    return roots(paddedLength, (k) => [real[k]!, imaginary[k]!]);
  });
}
