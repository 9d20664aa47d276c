/**
 * Elementary functions from + - * / alone, which IEEE 754 fixes to the last bit: engines may differ in Math.exp and Math.log2, but two ends
 * of a connection have to build the same tables of probabilities. Slow; for tables, not for values.
 */

/** Squarings that follow the series of the exponential, whose argument is divided by as many powers of two. */
const EXPONENTIAL_SQUARINGS = 10;
const EXPONENTIAL_SCALE = 1 << EXPONENTIAL_SQUARINGS;
const EXPONENTIAL_TERMS = 10;

/** e ** -x for x >= 0, to about 12 digits; 0 beyond 700. */
export function negativeExponential(x: number): number {
  if (x > 700) return 0;
  const part = -x / EXPONENTIAL_SCALE;
  let term = 1;
  let sum = 1;
  for (let index = 1; index <= EXPONENTIAL_TERMS; index++) {
    term = (term * part) / index;
    sum += term;
  }
  for (let index = 0; index < EXPONENTIAL_SQUARINGS; index++) sum *= sum;
  return sum;
}

const LOGARITHM_TERMS = 14;

/** Sum of y ** (2i + 1) / (2i + 1): half the natural logarithm of (1 + y) / (1 - y). */
function inverseHyperbolicTangent(y: number): number {
  const square = y * y;
  let power = y;
  let sum = 0;
  for (let index = 0; index < LOGARITHM_TERMS; index++) {
    sum += power / (2 * index + 1);
    power *= square;
  }
  return sum;
}

/** Half of ln 2, in the series' own rounding. */
const HALF_LOGARITHM_OF_TWO = inverseHyperbolicTangent(1 / 3);

/** [n, 2 ** n, 2 ** -n] for n from 512 down to 1: steps that bring any normal double into [1, 2), by exact products. */
const EXPONENT_STEPS: readonly (readonly [exponent: number, power: number, inverse: number])[] = Array.from({ length: 10 }, (_, index) => {
  const squarings = 9 - index;
  let power = 2;
  for (let squaring = 0; squaring < squarings; squaring++) power *= power;
  return [1 << squarings, power, 1 / power];
});

/** The logarithm to base 2 of a normal x > 0, to about 14 digits. */
export function binaryLogarithm(x: number): number {
  let mantissa = x;
  let exponent = 0;
  for (const [step, power, inverse] of EXPONENT_STEPS) {
    if (mantissa >= power) {
      mantissa *= inverse;
      exponent += step;
    } else if (mantissa < 2 * inverse) {
      mantissa *= power;
      exponent -= step;
    }
  }
  return exponent + inverseHyperbolicTangent((mantissa - 1) / (mantissa + 1)) / HALF_LOGARITHM_OF_TWO;
}
