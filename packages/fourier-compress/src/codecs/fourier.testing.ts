import type { FourierMode, GridSize } from "./fourier-bins.ts";

/** A whole complex spectrum in float64, [S, D] each part. */
export interface DirectSpectrum {
  readonly real: Float64Array;
  readonly imaginary: Float64Array;
  /** ‖F‖². */
  readonly energy: number;
}

export function squaredNorm(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return sum;
}

/** The definition, term by term: F[u, v] = Σ A[s, d] e^(-2πi(us/S + vd/D)). */
export function directTransform(values: ArrayLike<number>, { tokens, hiddenSize }: GridSize): DirectSpectrum {
  const real = new Float64Array(tokens * hiddenSize);
  const imaginary = new Float64Array(tokens * hiddenSize);
  for (let u = 0; u < tokens; u++) {
    for (let v = 0; v < hiddenSize; v++) {
      for (let s = 0; s < tokens; s++) {
        for (let d = 0; d < hiddenSize; d++) {
          const angle = -2 * Math.PI * ((u * s) / tokens + (v * d) / hiddenSize);
          real[u * hiddenSize + v]! += values[s * hiddenSize + d]! * Math.cos(angle);
          imaginary[u * hiddenSize + v]! += values[s * hiddenSize + d]! * Math.sin(angle);
        }
      }
    }
  }
  return { real, imaginary, energy: squaredNorm(real) + squaredNorm(imaginary) };
}

/**
 * The server's side as the paper (and its two repairs) put it: a zero S × D matrix with the block in it, the inverse transform, its real
 * part. Also the energy of the bins that are empty, that of the non-zero bins whose mirror is empty and of these mirrors, and how many real
 * numbers determine the non-zero bins.
 */
export function directBlock(
  spectrum: DirectSpectrum,
  { tokens, hiddenSize }: GridSize,
  shape: { readonly tokens: number; readonly channels: number },
  mode: FourierMode,
): { readonly values: Float64Array; readonly outside: number; readonly halved: number; readonly freedoms: number } {
  const size = tokens * hiddenSize;
  const [real, imaginary] = [new Float64Array(size), new Float64Array(size)];
  const written = new Uint8Array(size);
  const at = (u: number, v: number): number =>
    (((u % tokens) + tokens) % tokens) * hiddenSize + (((v % hiddenSize) + hiddenSize) % hiddenSize);
  const isInside = (u: number, v: number): boolean =>
    mode === "lowpass"
      ? Math.min(u, tokens - u) < shape.tokens && Math.min(v, hiddenSize - v) < shape.channels
      : u < shape.tokens && v < shape.channels;
  for (let u = 0; u < tokens; u++) {
    for (let v = 0; v < hiddenSize; v++) {
      if (!isInside(u, v)) continue;
      written[at(u, v)] = 1;
      real[at(u, v)] = spectrum.real[at(u, v)]!;
      imaginary[at(u, v)] = spectrum.imaginary[at(u, v)]!;
      const mirror = at(-u, -v);
      if (mode !== "hermitian" || isInside(Math.floor(mirror / hiddenSize), mirror % hiddenSize)) continue;
      written[mirror] = 1;
      real[mirror] = spectrum.real[at(u, v)]!;
      imaginary[mirror] = -spectrum.imaginary[at(u, v)]!;
    }
  }
  let [outside, halved, freedoms] = [0, 0, 0];
  for (let u = 0; u < tokens; u++) {
    for (let v = 0; v < hiddenSize; v++) {
      const [place, mirror] = [at(u, v), at(-u, -v)];
      const energy = spectrum.real[place]! ** 2 + spectrum.imaginary[place]! ** 2;
      const isKnown = written[place] === 1 || written[mirror] === 1;
      if (!isKnown) outside += energy;
      if (written[place] !== written[mirror]) halved += energy;
      if (isKnown && place <= mirror) freedoms += place === mirror ? 1 : 2;
    }
  }
  const inverse = directTransform(real, { tokens, hiddenSize });
  const other = directTransform(imaginary, { tokens, hiddenSize });
  // Re(IDFT(R + iI))[s] = (Re DFT(R)[-s] - Im DFT(I)[-s]) / N.
  const values = Float64Array.from({ length: size }, (_, i) => {
    const from = at(-Math.floor(i / hiddenSize), -(i % hiddenSize));
    return (inverse.real[from]! - other.imaginary[from]!) / size;
  });
  return { values, outside, halved, freedoms };
}
