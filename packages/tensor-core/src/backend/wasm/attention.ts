import type { Kernels, TensorView } from "../backend.ts";
import type { WasmRuntime } from "./runtime.ts";

/** Up to this many query rows a key head, keys and values are read in place rather than packed. */
const fewRows = 8;
/** Rows of queries that share one packing of the keys. */
const largestRowBlock = 128;
const smallestRowBlock = 32;
/** As `BLOCK` in assembly/attention-tiles.ts. */
const keyBlock = 64;
/**
 * Backward splits the keys until there are about this many tasks: part of the order of summation, so independent of the number of threads.
 */
const wantedTasks = 16;
const smallestChunk = 128;
/** What a score costs besides its two dot products, in multiply-adds. */
const scoreWork = 48;

type Strided = Pick<TensorView, "shape" | "strides">;

/** Strides of the first three axes of [batch, heads, sequence, headDim]. */
function strides(view: Strided): [number, number, number] {
  return [view.strides[0]!, view.strides[1]!, view.strides[2]!];
}

/** Strides of a mask along [batch, heads, queries, keys]: 0 where it is broadcast. */
function maskStrides(mask: Strided | undefined): [number, number, number, number] {
  const result: [number, number, number, number] = [0, 0, 0, 0];
  if (!mask) return result;
  const missing = 4 - mask.shape.length;
  for (let axis = missing; axis < 4; axis++) result[axis] = mask.shape[axis - missing] === 1 ? 0 : mask.strides[axis - missing]!;
  return result;
}

/** Attention without the matrix of scores, on the WebAssembly kernels of `assembly/attention.ts`. */
export function createAttention(runtime: WasmRuntime): Pick<Kernels, "attention" | "attentionGradient"> {
  return {
    attention({ query, key, value, output, logSumExp, mask, scale, causal, queryOffset }) {
      const [batch, heads, queries, headDim] = query.shape as [number, number, number, number];
      const keyHeads = key.shape[1]!;
      const keys = key.shape[2]!;
      const rows = (heads / keyHeads) * queries;
      const padded = (headDim + 7) & ~7;
      const pairs = batch * keyHeads;
      const work = batch * heads * queries * keys * (2 * headDim + scoreWork) * (causal && queries > 1 ? 0.5 : 1);
      const parameters = [
        runtime.pointer(query), ...strides(query), runtime.pointer(key), ...strides(key), runtime.pointer(value), ...strides(value),
        runtime.pointer(output), ...strides(output), runtime.pointer(logSumExp), mask ? runtime.pointer(mask) : 0, ...maskStrides(mask),
        heads, keyHeads, queries, keys, headDim, scale, causal ? 1 : 0, queryOffset,
      ];
      if (rows <= fewRows) {
        runtime.parallel("attentionFewQueries", parameters, pairs, { work, scratchBytes: 4 * (rows * (padded + 2) + 64) });
        return;
      }
      let rowBlock = largestRowBlock;
      const wanted = runtime.threadCount > 1 ? runtime.threadCount * 4 : 1;
      while (rowBlock > smallestRowBlock && pairs * Math.ceil(rows / rowBlock) < wanted) rowBlock /= 2;
      parameters.push(rowBlock);
      runtime.parallel("attention", parameters, pairs * Math.ceil(rows / rowBlock), {
        work,
        scratchBytes: 4 * ((2 * rowBlock + 2 * keyBlock) * padded + 2 * rowBlock + 4 * keyBlock),
      });
    },

    attentionGradient({
      gradient, query, key, value, output, logSumExp, mask, scale, causal, queryOffset, queryGradient, keyGradient, valueGradient,
    }) {
      const [batch, heads, queries, headDim] = query.shape as [number, number, number, number];
      const keyHeads = key.shape[1]!;
      const keys = key.shape[2]!;
      const padded = (headDim + 7) & ~7;
      const pairs = batch * keyHeads;
      const wantedChunks = Math.ceil(wantedTasks / Math.max(1, pairs));
      const keysPerChunk = Math.max(smallestChunk, Math.ceil(keys / wantedChunks / keyBlock) * keyBlock);
      const chunks = Math.max(1, Math.ceil(keys / keysPerChunk));
      const work = batch * heads * queries * keys * (5 * headDim + scoreWork) * (causal && queries > 1 ? 0.5 : 1);
      const partialBytes = chunks * batch * heads * ((queries + 3) & ~3) * padded * 4;
      runtime.withScratch(partialBytes, (partials) => {
        runtime.parallel(
          "attentionGradient",
          [
            runtime.pointer(gradient), ...strides(gradient), runtime.pointer(query), ...strides(query),
            runtime.pointer(key), ...strides(key), runtime.pointer(value), ...strides(value), runtime.pointer(output), ...strides(output),
            runtime.pointer(keyGradient), ...strides(keyGradient), runtime.pointer(valueGradient), ...strides(valueGradient),
            partials, runtime.pointer(logSumExp), mask ? runtime.pointer(mask) : 0, ...maskStrides(mask),
            heads, keyHeads, queries, keys, headDim, scale, causal ? 1 : 0, queryOffset, keysPerChunk,
          ],
          pairs * chunks, { work, scratchBytes: 4 * (9 * keyBlock * padded + 2 * keyBlock * keyBlock) },
        );
        runtime.parallel(
          "attentionQueryGradient",
          [partials, chunks, runtime.pointer(queryGradient), ...strides(queryGradient), heads, keyHeads, queries, headDim, scale],
          batch * heads, { work: batch * heads * queries * headDim * chunks },
        );
      });
    },
  };
}
