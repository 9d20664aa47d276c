/** Eigenvalues of a diagonal matrix plus a matrix of rank one, as divide and conquer needs them (LAPACK's dlaed4). */
import { LinalgError } from "./errors.ts";

const epsilon = 2 ** -52;
const mostSteps = 200;

/** What is known of f(λ) = 1/ρ + Σ zᵢ² / (dᵢ - λ) at a point. */
interface Evaluation {
  value: number;
  /** Derivatives of the terms whose poles lie left of the root, and right of it. */
  leftSlope: number;
  rightSlope: number;
  /** Below this, `value` is rounding. */
  error: number;
}

/**
 * Root `index` of f(λ) = 1/ρ + Σ zᵢ² / (dᵢ - λ), the eigenvalue of that rank of `diag(d) + ρ · z · zᵀ`. Needs d ascending without equal
 * entries, no zero in z, and ρ > 0. Fills `differences` from `start` on with dᵢ - λ, each exact to a few units of its own last place:
 * computed from the returned eigenvalue they would cancel, and eigenvectors made from them would not be orthogonal.
 *
 * Newton-like steps on the two poles around the root ("the middle way", Li 1993), kept inside a shrinking bracket.
 * @throws LinalgError when 200 steps do not get there, which is a defect
 */
export function solveSecular(
  index: number,
  d: Float64Array,
  squares: Float64Array,
  rho: number,
  count: number,
  differences: Float64Array,
  start: number,
): number {
  const isLast = index === count - 1;
  const inverse = 1 / rho;
  const shifted = (origin: number): void => {
    const pole = d[origin]!;
    for (let i = 0; i < count; i++) differences[start + i] = d[i]! - pole;
  };
  // Offsets are relative to the pole nearer to the root, so that both are known to full relative precision.
  let origin = index;
  let low = 0;
  let high = 0;
  let offset = 0;
  shifted(index);
  if (isLast) {
    let norm = 0;
    for (let i = 0; i < count; i++) norm += squares[i]!;
    high = rho * norm;
    offset = rho * squares[index]!;
  } else {
    const gap = differences[start + index + 1]!;
    const middle = gap / 2;
    let others = inverse;
    for (let i = 0; i < index; i++) others += squares[i]! / (differences[start + i]! - middle);
    for (let i = index + 2; i < count; i++) others += squares[i]! / (differences[start + i]! - middle);
    const [left, right] = [squares[index]!, squares[index + 1]!];
    // The guess solves the equation with all other terms as they are in the middle.
    if (others + (right - left) / middle >= 0) {
      high = middle;
      const a = others * gap + left + right;
      const b = left * gap;
      const root = Math.sqrt(Math.abs(a * a - 4 * b * others));
      offset = a > 0 ? (2 * b) / (a + root) : (a - root) / (2 * others);
    } else {
      origin = index + 1;
      low = -middle;
      shifted(origin);
      const a = others * gap - left - right;
      const b = right * gap;
      const root = Math.sqrt(Math.abs(a * a + 4 * b * others));
      offset = a < 0 ? (2 * b) / (a - root) : -(a + root) / (2 * others);
    }
  }
  if (!(offset > low && offset < high)) offset = (low + high) / 2;

  const at: Evaluation = { value: 0, leftSlope: 0, rightSlope: 0, error: 0 };
  for (let step = 0; ; step++) {
    if (step === mostSteps) throw new LinalgError(`eigh: eigenvalue ${index} of ${count} was not found in ${mostSteps} steps; report it`);
    evaluate(at, index, squares, inverse, count, differences, start, offset);
    if (Math.abs(at.value) <= epsilon * at.error) break;
    if (at.value < 0) low = Math.max(low, offset);
    else high = Math.min(high, offset);
    let change = isLast
      ? lastPoleStep(at, differences[start + index]! - offset)
      : twoPoleStep(at, differences[start + index]! - offset, differences[start + index + 1]! - offset);
    // The function rises: a step must go against its sign.
    if (!(at.value * change < 0)) change = -at.value / (at.leftSlope + at.rightSlope);
    let next = offset + change;
    if (!(next > low && next < high)) next = (low + high) / 2;
    if (next === offset || next === low || next === high) break;
    offset = next;
  }
  const pole = d[origin]!;
  for (let i = 0; i < count; i++) differences[start + i]! -= offset;
  return pole + offset;
}

function evaluate(
  at: Evaluation,
  index: number,
  squares: Float64Array,
  inverse: number,
  count: number,
  poles: Float64Array,
  start: number,
  offset: number,
): void {
  let left = 0;
  let leftSlope = 0;
  let error = 0;
  // From the far terms to the near ones on both sides: partial sums then bound the rounding.
  for (let i = 0; i <= index; i++) {
    const reciprocal = 1 / (poles[start + i]! - offset);
    const term = squares[i]! * reciprocal;
    left += term;
    leftSlope += term * reciprocal;
    error -= left;
  }
  let right = 0;
  let rightSlope = 0;
  for (let i = count - 1; i > index; i--) {
    const reciprocal = 1 / (poles[start + i]! - offset);
    const term = squares[i]! * reciprocal;
    right += term;
    rightSlope += term * reciprocal;
    error += right;
  }
  at.value = inverse + left + right;
  at.leftSlope = leftSlope;
  at.rightSlope = rightSlope;
  at.error = error + 8 * (right - left) + inverse + Math.abs(offset) * (leftSlope + rightSlope);
}

/** To the root of c + s / (left - η) + t / (right - η), fitted to the value and to the slopes of both sides. */
function twoPoleStep(at: Evaluation, left: number, right: number): number {
  const c = at.value - left * at.leftSlope - right * at.rightSlope;
  const a = (left + right) * at.value - left * right * (at.leftSlope + at.rightSlope);
  const b = left * right * at.value;
  const root = Math.sqrt(Math.abs(a * a - 4 * b * c));
  return a <= 0 ? (a - root) / (2 * c) : (2 * b) / (a + root);
}

/** Beyond the last pole: to the root of c + s / (pole - η), fitted to value and slope. */
function lastPoleStep(at: Evaluation, pole: number): number {
  return (pole * at.value) / (at.value - at.leftSlope * pole);
}
