import type { FourierBins } from "./fourier-bins.ts";

/** Real and imaginary parts of a half spectrum, [S, stride] each, on the host. */
export interface HostSpectrum {
  readonly real: Float32Array;
  readonly imaginary: Float32Array;
  readonly stride: number;
}

/** The numbers of a message, row by row: real parts, then imaginary parts without those that are zero by symmetry. */
export function packBins({ real, imaginary, stride }: HostSpectrum, bins: FourierBins): Float32Array {
  const values = new Float32Array(bins.sentNumbers);
  let place = 0;
  for (let u = 0; u < bins.grid.tokens; u++) {
    const [from, to] = bins.sentColumns(u);
    if (from === to) continue;
    const [complexFrom, complexTo] = complexColumns(bins, u, from, to);
    const row = u * stride;
    values.set(real.subarray(row + from, row + to), place);
    place += to - from;
    values.set(imaginary.subarray(row + complexFrom, row + complexTo), place);
    place += complexTo - complexFrom;
  }
  return values;
}

/** The half spectrum that the mode makes of a message's numbers: [S, bins.columns]. */
export function unpackBins(values: Float32Array, bins: FourierBins): HostSpectrum {
  const { columns, grid, split } = bins;
  const real = new Float32Array(grid.tokens * columns);
  const imaginary = new Float32Array(grid.tokens * columns);
  let place = 0;
  for (let u = 0; u < grid.tokens; u++) {
    const [from, to] = bins.sentColumns(u);
    if (from === to) continue;
    const [complexFrom, complexTo] = complexColumns(bins, u, from, to);
    const row = u * columns;
    real.set(values.subarray(place, place + to - from), row + from);
    place += to - from;
    imaginary.set(values.subarray(place, place + complexTo - complexFrom), row + complexFrom);
    place += complexTo - complexFrom;
    if (bins.mode !== "literal") continue;
    const { first, near, far } = bins.weights(u);
    for (const part of [real, imaginary]) {
      part[row]! *= first;
      if (near !== 1) scale(part, row + 1, row + split, near);
      if (far !== 1) scale(part, row + split, row + columns, far);
    }
  }
  for (let u = Math.floor(grid.tokens / 2) + 1; u < grid.tokens; u++) {
    for (const v of new Set([0, columns - 1])) {
      if (!bins.isReal(0, v)) continue;
      const [to, from] = [u * columns + v, (grid.tokens - u) * columns + v];
      real[to] = real[from]!;
      imaginary[to] = -imaginary[from]!;
    }
  }
  return { real, imaginary, stride: columns };
}

function complexColumns(bins: FourierBins, u: number, from: number, to: number): readonly [from: number, to: number] {
  const start = bins.isReal(u, from) ? from + 1 : from;
  return [start, to - 1 >= start && bins.isReal(u, to - 1) ? to - 1 : to];
}

function scale(values: Float32Array, from: number, to: number, factor: number): void {
  for (let i = from; i < to; i++) values[i]! *= factor;
}
