import type { KernelArguments, Kernels } from "../backend.ts";
import { load, store, subview } from "./access.ts";
import { logSoftmaxOf, logSumExpOf } from "./rows.ts";

/** Attention, with the scores of one head at a time written out. */
export const attentionKernels: Pick<Kernels, "attention" | "attentionGradient"> = {
  attention(parameters) {
    const { query, key, value, output, logSumExp } = parameters;
    const [batch, heads, queries, headDim] = query.shape as [number, number, number, number];
    const keys = key.shape[2]!;
    const totals = new Float64Array(batch * heads * queries);
    forEachHead(parameters, (b, h, keyHead) => {
      const { probabilities, logSumExps } = headProbabilities(parameters, b, h, keyHead);
      const v = load(subview(value, [b, keyHead]));
      const result = new Float64Array(queries * headDim);
      for (let i = 0; i < queries; i++) {
        for (let j = 0; j < keys; j++) {
          for (let d = 0; d < headDim; d++) result[i * headDim + d]! += probabilities[i * keys + j]! * v[j * headDim + d]!;
        }
      }
      store(subview(output, [b, h]), result);
      totals.set(logSumExps, (b * heads + h) * queries);
    });
    store(logSumExp, totals);
  },

  // With P the probabilities, S the scores, O = P V, G = ∂L/∂O and T = G Vᵀ = ∂L/∂P:
  // ∂L/∂V = Pᵀ G, ∂L/∂S = P (T - Σ_j T P), ∂L/∂Q = scale (∂L/∂S) K, ∂L/∂K = scale (∂L/∂S)ᵀ Q.
  attentionGradient(parameters) {
    const { gradient, query, key, value, scale, queryGradient, keyGradient, valueGradient } = parameters;
    const [batch, , queries, headDim] = query.shape as [number, number, number, number];
    const [, keyHeads, keys] = key.shape as [number, number, number, number];
    // Several query heads may read one key head, whose gradients add up.
    const keySums = new Float64Array(batch * keyHeads * keys * headDim);
    const valueSums = new Float64Array(keySums.length);
    forEachHead(parameters, (b, h, keyHead) => {
      const { probabilities } = headProbabilities(parameters, b, h, keyHead);
      const g = load(subview(gradient, [b, h]));
      const q = load(subview(query, [b, h]));
      const k = load(subview(key, [b, keyHead]));
      const v = load(subview(value, [b, keyHead]));
      const start = (b * keyHeads + keyHead) * keys * headDim;
      const queryResult = new Float64Array(queries * headDim);
      for (let i = 0; i < queries; i++) {
        const probabilityGradient = new Float64Array(keys);
        for (let j = 0; j < keys; j++) {
          for (let d = 0; d < headDim; d++) probabilityGradient[j]! += g[i * headDim + d]! * v[j * headDim + d]!;
        }
        const mean = probabilityGradient.reduce((sum, t, j) => sum + t * probabilities[i * keys + j]!, 0);
        for (let j = 0; j < keys; j++) {
          const probability = probabilities[i * keys + j]!;
          const scoreGradient = probability * (probabilityGradient[j]! - mean);
          for (let d = 0; d < headDim; d++) {
            queryResult[i * headDim + d]! += scale * scoreGradient * k[j * headDim + d]!;
            keySums[start + j * headDim + d]! += scale * scoreGradient * q[i * headDim + d]!;
            valueSums[start + j * headDim + d]! += probability * g[i * headDim + d]!;
          }
        }
      }
      store(subview(queryGradient, [b, h]), queryResult);
    });
    store(keyGradient, keySums);
    store(valueGradient, valueSums);
  },
};

type AttentionInputs = Pick<KernelArguments["attention"], "query" | "key" | "mask" | "scale" | "causal" | "queryOffset">;

function forEachHead({ query, key }: AttentionInputs, visit: (batch: number, head: number, keyHead: number) => void): void {
  const [batch, heads] = query.shape as [number, number];
  const keyHeads = key.shape[1]!;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) visit(b, h, Math.floor((h * keyHeads) / heads));
  }
}

/** softmax(scale · q kᵀ + mask) of one head, [queries, keys], and ln Σ e^score of each query. Backward recomputes it from q and k too. */
function headProbabilities(
  { query, key, mask, scale, causal, queryOffset }: AttentionInputs,
  batch: number,
  head: number,
  keyHead: number,
): { probabilities: Float64Array; logSumExps: Float64Array } {
  const [, , queries, headDim] = query.shape as [number, number, number, number];
  const keys = key.shape[2]!;
  const q = load(subview(query, [batch, head]));
  const k = load(subview(key, [batch, keyHead]));
  const added = mask && load(subview(mask, [batch, head]));
  const probabilities = new Float64Array(queries * keys);
  const logSumExps = new Float64Array(queries);
  for (let i = 0; i < queries; i++) {
    const scores = new Float64Array(keys).fill(-Infinity);
    for (let j = 0; j < keys; j++) {
      if (causal && j > i + queryOffset) continue;
      let product = 0;
      for (let d = 0; d < headDim; d++) product += q[i * headDim + d]! * k[j * headDim + d]!;
      scores[j] = scale * product + (added?.[i * keys + j] ?? 0);
    }
    logSumExps[i] = logSumExpOf(scores);
    probabilities.set(logSoftmaxOf(scores).map(Math.exp), i * keys);
  }
  return { probabilities, logSumExps };
}
