/** Roots of unity and lengths: the arithmetic that plans and the reference transform share. */

/** exp(-2πi * numerator / denominator) to double precision for any whole numerator: it is brought near zero first. */
export function unitRoot(numerator: number, denominator: number): readonly [real: number, imaginary: number] {
  // Eighths of a turn, so that the angle handed to Math.cos and Math.sin is at most π/4.
  let reduced = numerator % denominator;
  if (reduced < 0) reduced += denominator;
  const octant = Math.round((reduced * 4) / denominator);
  const angle = (2 * Math.PI * (reduced - (octant * denominator) / 4)) / denominator;
  const cosine = Math.cos(angle);
  const sine = Math.sin(angle);
  switch (octant & 3) {
    case 0: return [cosine, -sine];
    case 1: return [-sine, -cosine];
    case 2: return [-cosine, sine];
    default: return [sine, cosine];
  }
}

/** Whether a length has no prime factor above 7. */
export function isSmooth(length: number): boolean {
  let rest = length;
  for (const prime of [2, 3, 5, 7]) while (rest % prime === 0) rest /= prime;
  return rest === 1;
}

/** Smallest 2^a 3^b 5^c, divisible by 4, that is at least `minimum`. */
export function paddedLengthFor(minimum: number): number {
  let best = Infinity;
  for (let fives = 1; fives < best; fives *= 5) {
    for (let threes = fives; threes < best; threes *= 3) {
      let candidate = threes * 4;
      while (candidate < minimum) candidate *= 2;
      if (candidate < best) best = candidate;
    }
  }
  return best;
}

/** Bluestein's chirp exp(-πi j² / length), j = 0 … length - 1, in double precision. */
export function chirp(length: number): { readonly real: Float64Array<ArrayBuffer>; readonly imaginary: Float64Array<ArrayBuffer> } {
  const real = new Float64Array(length);
  const imaginary = new Float64Array(length);
  // j² modulo 2 * length by its differences: j² itself stops being exact in a double before the largest lengths.
  let square = 0;
  for (let j = 0; j < length; j++) {
    [real[j], imaginary[j]] = unitRoot(square, 2 * length) as [number, number];
    square = (square + 2 * j + 1) % (2 * length);
  }
  return { real, imaginary };
}
