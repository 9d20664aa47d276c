/** Fourier transforms in double precision on plain arrays: the yardstick for the kernels, and the transform of the reference backend. */
import { chirp, isSmooth, paddedLengthFor, unitRoot } from "./roots.ts";

/** A complex vector. */
interface ComplexArrays {
  readonly real: Float64Array;
  readonly imaginary: Float64Array;
}

/** exp(-2πi k / length), k = 0 … length - 1. */
function roots(length: number): ComplexArrays {
  const real = new Float64Array(length);
  const imaginary = new Float64Array(length);
  for (let k = 0; k < length; k++) [real[k], imaginary[k]] = unitRoot(k, length) as [number, number];
  return { real, imaginary };
}

function smallestFactor(length: number): number {
  for (let factor = 2; factor * factor <= length; factor++) if (length % factor === 0) return factor;
  return length;
}

/**
 * Decimation in time: the transforms of every radix-th element, joined by short sums. `table` holds the roots of the whole length, `step`
 * apart for this one.
 */
function smoothFft(
  source: ComplexArrays, offset: number, stride: number, target: ComplexArrays, begin: number, length: number, table: ComplexArrays,
): void {
  if (length === 1) {
    target.real[begin] = source.real[offset]!;
    target.imaginary[begin] = source.imaginary[offset]!;
    return;
  }
  const radix = smallestFactor(length);
  const legs = length / radix;
  for (let j = 0; j < radix; j++) smoothFft(source, offset + j * stride, stride * radix, target, begin + j * legs, legs, table);
  const size = table.real.length;
  const step = size / length;
  const real = new Float64Array(radix);
  const imaginary = new Float64Array(radix);
  for (let p = 0; p < legs; p++) {
    for (let k = 0; k < radix; k++) {
      let re = 0;
      let im = 0;
      for (let j = 0; j < radix; j++) {
        const w = (j * (p + k * legs) * step) % size;
        const at = begin + p + j * legs;
        re += target.real[at]! * table.real[w]! - target.imaginary[at]! * table.imaginary[w]!;
        im += target.real[at]! * table.imaginary[w]! + target.imaginary[at]! * table.real[w]!;
      }
      real[k] = re;
      imaginary[k] = im;
    }
    for (let k = 0; k < radix; k++) {
      target.real[begin + p + k * legs] = real[k]!;
      target.imaginary[begin + p + k * legs] = imaginary[k]!;
    }
  }
}

function forward(real: Float64Array, imaginary: Float64Array): ComplexArrays {
  const length = real.length;
  const result = { real: new Float64Array(length), imaginary: new Float64Array(length) };
  if (length === 0) return result;
  if (isSmooth(length) || length < 50) {
    smoothFft({ real, imaginary }, 0, 1, result, 0, length, roots(length));
    return result;
  }
  // Bluestein: X[k] = c[k] Σ (x[j] c[j]) conj(c[k - j]).
  const c = chirp(length);
  const size = paddedLengthFor(2 * length - 1);
  const a = { real: new Float64Array(size), imaginary: new Float64Array(size) };
  const b = { real: new Float64Array(size), imaginary: new Float64Array(size) };
  for (let j = 0; j < length; j++) {
    const cr = c.real[j]!;
    const ci = c.imaginary[j]!;
    a.real[j] = real[j]! * cr - imaginary[j]! * ci;
    a.imaginary[j] = real[j]! * ci + imaginary[j]! * cr;
    b.real[j] = b.real[(size - j) % size] = cr;
    b.imaginary[j] = b.imaginary[(size - j) % size] = -ci;
  }
  const x = forward(a.real, a.imaginary);
  const y = forward(b.real, b.imaginary);
  // The inverse by changing the places of real and imaginary parts.
  for (let k = 0; k < size; k++) {
    a.real[k] = x.real[k]! * y.imaginary[k]! + x.imaginary[k]! * y.real[k]!;
    a.imaginary[k] = x.real[k]! * y.real[k]! - x.imaginary[k]! * y.imaginary[k]!;
  }
  const product = forward(a.real, a.imaginary);
  for (let k = 0; k < length; k++) {
    const re = product.imaginary[k]! / size;
    const im = product.real[k]! / size;
    result.real[k] = re * c.real[k]! - im * c.imaginary[k]!;
    result.imaginary[k] = re * c.imaginary[k]! + im * c.real[k]!;
  }
  return result;
}

/**
 * Σ x[j] exp(∓2πi jk / n) in double precision, any length, not normalised in either direction. Smooth lengths by mixed radix, others by
 * Bluestein.
 */
export function referenceFft(real: ArrayLike<number>, imaginary: ArrayLike<number>, inverse: boolean): ComplexArrays {
  const re = Float64Array.from(real);
  const im = Float64Array.from(imaginary);
  if (!inverse) return forward(re, im);
  const swapped = forward(im, re);
  return { real: swapped.imaginary, imaginary: swapped.real };
}
