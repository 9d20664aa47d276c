import type { Kernels } from "../backend.ts";
import { load, store } from "./access.ts";

/** Complex numbers as two arrays of equal length. */
interface Complex {
  readonly real: Float64Array;
  readonly imaginary: Float64Array;
}

/** Largest prime length that is summed by definition; longer ones go through Bluestein's convolution. */
const longestDirectPrime = 64;

/** Fourier transforms in float64. */
export const fftKernels: Pick<Kernels, "fft" | "realFft" | "inverseRealFft"> = {
  fft({ inputReal, inputImaginary, outputReal, outputImaginary, outer, length, inner, inverse, scale }) {
    const lines = { real: load(inputReal), imaginary: load(inputImaginary) };
    const result = alongMiddle(lines, { outer, from: length, to: length, inner }, (line) => transform(line, inverse));
    store(
      outputReal,
      result.real.map((value) => value * scale),
    );
    store(
      outputImaginary,
      result.imaginary.map((value) => value * scale),
    );
  },

  realFft({ input, outputReal, outputImaginary, outer, length, inner, scale }) {
    const real = load(input);
    const lines = { real, imaginary: new Float64Array(real.length) };
    const result = alongMiddle(lines, { outer, from: length, to: Math.floor(length / 2) + 1, inner }, (line) => transform(line, false));
    store(
      outputReal,
      result.real.map((value) => value * scale),
    );
    store(
      outputImaginary,
      result.imaginary.map((value) => value * scale),
    );
  },

  inverseRealFft({ inputReal, inputImaginary, output, outer, length, inner, scale }) {
    const lines = { real: load(inputReal), imaginary: load(inputImaginary) };
    const result = alongMiddle(lines, { outer, from: Math.floor(length / 2) + 1, to: length, inner }, (line) =>
      transform(hermitianExtension(line, length), true),
    );
    store(
      output,
      result.real.map((value) => value * scale),
    );
  },
};

/**
 * Applies `apply` to each line along the middle axis of [outer, from, inner]; the first `to` values of the results make [outer, to, inner].
 */
function alongMiddle(
  input: Complex,
  { outer, from, to, inner }: { outer: number; from: number; to: number; inner: number },
  apply: (line: Complex) => Complex,
): Complex {
  const result = complexZeros(outer * to * inner);
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < inner; k++) {
      const line = complexZeros(from);
      for (let i = 0; i < from; i++) {
        line.real[i] = input.real[(o * from + i) * inner + k]!;
        line.imaginary[i] = input.imaginary[(o * from + i) * inner + k]!;
      }
      const transformed = apply(line);
      for (let i = 0; i < to; i++) {
        result.real[(o * to + i) * inner + k] = transformed.real[i]!;
        result.imaginary[(o * to + i) * inner + k] = transformed.imaginary[i]!;
      }
    }
  }
  return result;
}

/** The full spectrum of a real signal from its non-negative frequencies: X[n - j] = conj X[j]. */
function hermitianExtension(half: Complex, length: number): Complex {
  const full = complexZeros(length);
  for (let j = 0; j < length; j++) {
    const mirrored = j > length / 2;
    const source = mirrored ? length - j : j;
    const isReal = j === 0 || 2 * j === length;
    full.real[j] = half.real[source]!;
    full.imaginary[j] = isReal ? 0 : (mirrored ? -1 : 1) * half.imaginary[source]!;
  }
  return full;
}

/** Σ x[k] exp(∓2πi jk / n), unscaled, any length. */
function transform(input: Complex, inverse: boolean): Complex {
  const length = input.real.length;
  const factor = smallestPrimeFactor(length);
  if (factor > longestDirectPrime) return bluestein(input, inverse);
  if (factor === length || length <= 8) return directTransform(input, inverse);
  return splitTransform(input, factor, inverse);
}

/** The definition. */
export function directTransform({ real, imaginary }: Complex, inverse: boolean): Complex {
  const length = real.length;
  const result = complexZeros(length);
  for (let j = 0; j < length; j++) {
    for (let k = 0; k < length; k++) addProduct(result, j, unitRoot(j * k, length, inverse), real[k]!, imaginary[k]!);
  }
  return result;
}

/** Cooley & Tukey 1965: X[j] = Σ_s w^{js} Y_s[j mod m], where Y_s transforms every `factor`-th value from s on and m = n / factor. */
function splitTransform({ real, imaginary }: Complex, factor: number, inverse: boolean): Complex {
  const length = real.length;
  const part = length / factor;
  const result = complexZeros(length);
  for (let s = 0; s < factor; s++) {
    const taken = complexZeros(part);
    for (let i = 0; i < part; i++) {
      taken.real[i] = real[i * factor + s]!;
      taken.imaginary[i] = imaginary[i * factor + s]!;
    }
    const y = transform(taken, inverse);
    for (let j = 0; j < length; j++) addProduct(result, j, unitRoot(j * s, length, inverse), y.real[j % part]!, y.imaginary[j % part]!);
  }
  return result;
}

/** Bluestein 1970: jk = (j² + k² - (j - k)²) / 2 turns the sum into a convolution, done with power-of-two transforms. */
function bluestein({ real, imaginary }: Complex, inverse: boolean): Complex {
  const length = real.length;
  let padded = 1;
  while (padded < 2 * length - 1) padded *= 2;
  // exp(∓πi k² / n); k² is reduced mod 2n while it is still an exact integer.
  const chirp = (k: number): readonly [number, number] => unitRoot((k * k) % (2 * length), 2 * length, inverse);
  const signal = complexZeros(padded);
  const filter = complexZeros(padded);
  for (let k = 0; k < length; k++) {
    const [c, s] = chirp(k);
    addProduct(signal, k, [c, s], real[k]!, imaginary[k]!);
    for (const place of [k, (padded - k) % padded]) {
      filter.real[place] = c;
      filter.imaginary[place] = -s;
    }
  }
  const a = transform(signal, false);
  const b = transform(filter, false);
  const product = complexZeros(padded);
  for (let i = 0; i < padded; i++) addProduct(product, i, [a.real[i]!, a.imaginary[i]!], b.real[i]! / padded, b.imaginary[i]! / padded);
  const convolved = transform(product, true);
  const result = complexZeros(length);
  for (let j = 0; j < length; j++) addProduct(result, j, chirp(j), convolved.real[j]!, convolved.imaginary[j]!);
  return result;
}

/** exp(∓2πi power / length), with the power reduced first so that large ones lose nothing. */
function unitRoot(power: number, length: number, inverse: boolean): readonly [number, number] {
  const angle = (2 * Math.PI * (power % length)) / length;
  return [Math.cos(angle), inverse ? Math.sin(angle) : -Math.sin(angle)];
}

function addProduct(target: Complex, index: number, [c, s]: readonly [number, number], real: number, imaginary: number): void {
  target.real[index]! += c * real - s * imaginary;
  target.imaginary[index]! += c * imaginary + s * real;
}

function complexZeros(length: number): Complex {
  return { real: new Float64Array(length), imaginary: new Float64Array(length) };
}

function smallestPrimeFactor(length: number): number {
  for (let factor = 2; factor * factor <= length; factor++) if (length % factor === 0) return factor;
  return length;
}
