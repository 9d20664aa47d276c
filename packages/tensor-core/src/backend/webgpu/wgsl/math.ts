/**
 * Element-wise mathematics in WGSL. The language's own functions are too loose to train with (`sin` is right to 2^-11 only) and undefined
 * for infinities, NaN and large arguments, so kernels call these instead: float32, about 2 ulp, every special value as IEEE 754 and C have
 * it. Nothing relies on fused multiply-adds, on their absence, or on a compiler that leaves float arithmetic in order.
 */
import { conversionFunctions } from "./conversions.ts";
import { activationFunctions } from "./math-activations.ts";
import { arithmeticFunctions } from "./math-arithmetic.ts";
import { bitFunctions } from "./math-bits.ts";
import { circularFunctions } from "./math-circular.ts";
import { exponentialFunctions } from "./math-exponential.ts";
import type { MathFunction, MathSource } from "./math-function.ts";

export type { MathFunction, MathSource } from "./math-function.ts";

/** WGSL of every function, with the functions each calls. */
export const mathFunctions: Readonly<Record<MathFunction, MathSource>> = {
  ...bitFunctions,
  ...arithmeticFunctions,
  ...exponentialFunctions,
  ...circularFunctions,
  ...activationFunctions,
  ...conversionFunctions,
};

/** The named functions and all they need, each once, callees first. */
export function mathSource(names: Iterable<MathFunction>): string {
  const sources: string[] = [];
  const seen = new Set<MathFunction>();
  const visit = (name: MathFunction): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const { code, needs } = mathFunctions[name];
    for (const needed of needs) visit(needed);
    sources.push(code);
  };
  for (const name of names) visit(name);
  return sources.join("\n\n");
}
