/**
 * The largest score of a row and the sum of exponentials below it, in one pass over memory. Infinities and NaN are told by bits and carried
 * as an infinite maximum, because WGSL compilers may assume that floats are finite.
 */
import type { WebGpuRuntime } from "../runtime.ts";
import type { MathFunction } from "./math-function.ts";
import { mathSource } from "./math.ts";
import { callReduction, rowReduction, type RowLayout } from "./row-reduction.ts";

/** Lowest finite float: where the maximum starts, so that differences from it never are NaN. */
export const lowestFloat = "-0x1.fffffep+127f";

/**
 * Functions on `Value` and `Bits` of `rowDeclarations`:
 * - `exponential(x)`: e^x for x <= 0 and a little above; exactly 0 below -104 and at -Infinity, NaN stays NaN.
 * - `withoutNan(x)`: +Infinity in place of NaN.
 * - `ExponentialSum` = vec3(maximum, Σ e^(x - maximum), Σ x); `extend(state, scores)` adds scores. A row with NaN or +Infinity has an
 *   infinite maximum (`isUndefined`); one that is -Infinity throughout, or empty, has the sum 0.
 * - the mathematics of `needs`, and `notANumber()` for undefined rows: a shader has one `mathSource`, and this is it.
 */
export function exponentialSumFunctions(needs: readonly MathFunction[] = []): string {
  return `${mathSource(["notANumber", ...needs])}
alias ExponentialSum = vec3<f32>;
fn exponential(x: Value) -> Value {
  let bits = bitcast<Bits>(x);
  let result = select(exp(x), Value(0.0), x < Value(-104.0));
  return bitcast<Value>(select(bitcast<Bits>(result), bits, (bits & Bits(0x7fffffffu)) > Bits(0x7f800000u)));
}
fn withoutNan(x: Value) -> Value {
  let bits = bitcast<Bits>(x);
  return bitcast<Value>(select(bits, Bits(0x7f800000u), (bits & Bits(0x7fffffffu)) > Bits(0x7f800000u)));
}
// e^(x - maximum): 0 also where both are infinite.
fn scaledDown(x: f32, maximum: f32) -> f32 {
  let difference = x - maximum;
  return select(0.0, exp(difference), difference > -104.0);
}
fn extend(state: ExponentialSum, scores: Value) -> ExponentialSum {
  let maximum = max(state.x, maximumOf(scores));
  let differences = scores - Value(maximum);
  let terms = select(Value(0.0), exp(differences), differences > Value(-104.0));
  return vec3(maximum, state.y * scaledDown(state.x, maximum) + sumOf(terms), state.z + sumOf(scores));
}
fn isUndefined(state: ExponentialSum) -> bool {
  return bitcast<u32>(state.x) == 0x7f800000u;
}
fn merged(a: ExponentialSum, b: ExponentialSum) -> ExponentialSum {
  let maximum = max(a.x, b.x);
  return vec3(maximum, a.y * scaledDown(a.x, maximum) + b.y * scaledDown(b.x, maximum), a.z + b.z);
}`;
}

/**
 * The functions, and reductions for `reduceExponentialSum`. Lanes agree on the maximum first and add then: two plain reductions take fewer
 * instructions than one whose every step has exponentials.
 */
export function exponentialSumDeclarations(
  runtime: WebGpuRuntime,
  layout: Pick<RowLayout, "lanes">,
  needs: readonly MathFunction[] = [],
): string {
  return `${exponentialSumFunctions(needs)}
${rowReduction(runtime, layout, { name: "reduceMaximum", type: "f32", combine: "max(a, b)" })}
${rowReduction(runtime, layout, { name: "reduceSums", type: "vec2<f32>", combine: "a + b" })}
`;
}

/** Statements that turn the variable `state`, an `ExponentialSum` of each lane, into that of the row. */
export function reduceExponentialSum(runtime: WebGpuRuntime): string {
  return `  let maximum = ${callReduction(runtime, "reduceMaximum", "state.x")};
  state = ExponentialSum(maximum, ${callReduction(runtime, "reduceSums", "vec2(state.y * scaledDown(state.x, maximum), state.z)")});
`;
}
