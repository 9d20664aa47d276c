/**
 * What a transform of a given length needs, for every backend: its factors, and its twiddles computed in double precision.
 *
 * A smooth length (no prime above 7) is a chain of Stockham passes. Pass i of radix r works on groups of `legs` rows and multiplies output
 * k of group p by exp(-2πi p k / (legs * r)). Any other length n goes by Bluestein: a circular convolution with exp(πi j² / n) of a smooth
 * length of at least 2n - 1.
 */
import { TensorError } from "../errors.ts";
import { referenceFft } from "./reference-fft.ts";
import { isSmooth, paddedLengthFor, unitRoot } from "./roots.ts";

/** Lengths above this are refused: tables and scratch would take a large part of a 4 GiB heap. */
export const maximumFftLength: number = 2 ** 24;

/** A chain of passes. */
export interface SmoothPlan {
  readonly kind: "smooth";
  readonly length: number;
  /** Radices in the order of the passes; their product is `length`. */
  readonly radices: readonly number[];
}

/** A transform as a convolution. */
export interface BluesteinPlan {
  readonly kind: "bluestein";
  readonly length: number;
  /** Smooth length of the convolution, at least 2 * length - 1. */
  readonly paddedLength: number;
  readonly inner: SmoothPlan;
}

/** How to transform one length. */
export type FftPlan = SmoothPlan | BluesteinPlan;

/** How vectors lie in a transform: along a contiguous row, or across neighbouring columns. */
export type FftLayout = "rows" | "columns";

/**
 * Radices of the passes of a smooth length. 4 comes first when it divides the length, as row kernels want it; then large ones, since early
 * passes have the shortest vector runs. Columns have runs of equal length in every pass: their 8 comes last, where it needs no twiddles.
 * Length 1 is one pass of radix 1, a copy.
 */
export function factorize(length: number, layout: FftLayout): number[] {
  const radices: number[] = [];
  let rest = length;
  let twos = 0;
  while (rest % 2 === 0) {
    rest /= 2;
    twos++;
  }
  if (twos >= 2) {
    radices.push(4);
    twos -= 2;
  }
  // One 8 saves a pass where the power of two is odd; more of them gain nothing, and lose when their 16 streams share cache sets.
  const eight = twos >= 3 && twos % 2 === 1;
  if (eight) {
    if (layout === "rows") radices.push(8);
    twos -= 3;
  }
  for (const prime of [7, 5, 3]) {
    while (rest % prime === 0) {
      radices.push(prime);
      rest /= prime;
    }
  }
  while (twos >= 2) {
    radices.push(4);
    twos -= 2;
  }
  if (twos === 1) radices.push(2);
  if (eight && layout === "columns") radices.push(8);
  return radices.length > 0 ? radices : [1];
}

/** @throws TensorError for a length that is no whole number from 1 to `maximumFftLength`. */
export function createFftPlan(length: number, layout: FftLayout): FftPlan {
  if (!Number.isInteger(length) || length < 1 || length > maximumFftLength) {
    throw new TensorError(`fft: length ${length} is not a whole number from 1 to ${maximumFftLength}`);
  }
  if (isSmooth(length)) return { kind: "smooth", length, radices: factorize(length, layout) };
  const paddedLength = paddedLengthFor(2 * length - 1);
  const inner: SmoothPlan = { kind: "smooth", length: paddedLength, radices: factorize(paddedLength, layout) };
  return { kind: "bluestein", length, paddedLength, inner };
}

/** Twiddles of one pass: (re, im) of exp(-2πi p k / (legs * radix)) for p = 0 … legs - 1 and k = 1 … radix - 1, k fastest. */
export function passTwiddles(legs: number, radix: number): Float32Array<ArrayBuffer> {
  const table = new Float32Array(legs * (radix - 1) * 2);
  let at = 0;
  for (let p = 0; p < legs; p++) {
    for (let k = 1; k < radix; k++) {
      const [real, imaginary] = unitRoot(p * k, legs * radix);
      table[at++] = real;
      table[at++] = imaginary;
    }
  }
  return table;
}

/**
 * The transform over `paddedLength` of the conjugate chirp laid around both ends, divided by `paddedLength`: what the convolution
 * multiplies by.
 */
export function chirpSpectrum(
  chirpReal: Float64Array, chirpImaginary: Float64Array, paddedLength: number,
): { readonly real: Float64Array; readonly imaginary: Float64Array } {
  const length = chirpReal.length;
  const real = new Float64Array(paddedLength);
  const imaginary = new Float64Array(paddedLength);
  for (let j = 0; j < length; j++) {
    const re = chirpReal[j]! / paddedLength;
    const im = -chirpImaginary[j]! / paddedLength;
    real[j] = re;
    imaginary[j] = im;
    if (j > 0) {
      real[paddedLength - j] = re;
      imaginary[paddedLength - j] = im;
    }
  }
  return referenceFft(real, imaginary, false);
}
