/**
 * Causal multi-head attention, written out with matrix products and as the fused primitive: the same numbers, without the matrix of scores.
 * Run: node examples/attention.ts
 */
import { Generator, grad, memory, scaledDotProductAttention, softmax, synchronize, tensor, tidy, type Tensor } from "@frugal/tensor-core";

const [batch, heads, steps, features] = [1, 4, 512, 64];
const random = new Generator(3);
const [query, key, value] = [1, 2, 3].map(() => random.normal([batch, heads, steps, features])) as unknown as [Tensor, Tensor, Tensor];

/** As in the textbook: scores, mask, softmax, weighted sum. */
function attentionByHand(q: Tensor, k: Tensor, v: Tensor): Tensor {
  return tidy(() => {
    const mask: Tensor = tensor(
      Float32Array.from({ length: steps * steps }, (_, i) => (i % steps > Math.floor(i / steps) ? -Infinity : 0)),
      [steps, steps],
    );
    const scores = q.matmul(k.transpose(-1, -2)).divide(Math.sqrt(features)).add(mask);
    return softmax(scores).matmul(v);
  });
}

async function timed<Result>(name: string, run: () => Result): Promise<Result> {
  const before = memory().allocatedBytes;
  const started = performance.now();
  const result = run();
  await synchronize("cpu");
  console.log(
    `${name.padEnd(34)} ${(performance.now() - started).toFixed(1).padStart(6)} ms, result ${((memory().allocatedBytes - before) / 1024).toFixed(0)} KiB`,
  );
  return result;
}

const byHand = await timed("by hand", () => attentionByHand(query, key, value));
const fused = await timed("scaledDotProductAttention", () => scaledDotProductAttention(query, key, value, { causal: true }));
console.log(`largest difference: ${(await tidy(() => fused.subtract(byHand).absolute().max()).item()).toExponential(1)}`);

// Gradients flow through both; the fused one computes the scores again, block by block, instead of keeping them.
const loss =
  (attend: (q: Tensor) => Tensor) =>
  (q: Tensor): Tensor =>
    tidy(() => attend(q).square().mean());
const fusedGradient = await timed("its gradient", () =>
  grad(loss((q) => scaledDotProductAttention(q, key, value, { causal: true })))(query),
);
const gradientByHand = await timed("gradient by hand", () => grad(loss((q) => attentionByHand(q, key, value)))(query));
console.log(`largest difference: ${(await tidy(() => fusedGradient.subtract(gradientByHand).absolute().max()).item()).toExponential(1)}`);
