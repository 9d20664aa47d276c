import { take, tensor } from "@frugal/tensor-core";
import type { RowCoder } from "./row-coder.ts";

/**
 * A coder that sees the channels in a random order, which is undone after decoding; both ends need the same seed. A model whose channels
 * (and weights) are permuted is the same model: what a codec gains from the order of channels is chance. Shuffled, the Fourier block does
 * as well as before, which shows that it finds no smoothness along them.
 */
export function channelShuffleCoder(coder: RowCoder, { seed }: { readonly seed: number }): RowCoder {
  const { name, id, targets, maxTokens } = coder;
  return {
    name,
    id,
    targets,
    ...(maxTokens === undefined ? {} : { maxTokens }),
    async encode(rows, target) {
      const hiddenSize = rows.shape[1]!;
      using order = tensor(permutation(hiddenSize, seed), [hiddenSize], { device: rows.device });
      using shuffled = take(rows, order, 1);
      return await coder.encode(shuffled, target);
    },
    async decode(reader, tokens, hiddenSize, device) {
      using shuffled = await coder.decode(reader, tokens, hiddenSize, device);
      const places = new Int32Array(hiddenSize);
      permutation(hiddenSize, seed).forEach((from, to) => (places[from] = to));
      using order = tensor(places, [hiddenSize], { device });
      return take(shuffled, order, 1);
    },
  };
}

/** 0..count-1 in random order (Fisher and Yates), the same everywhere: drawn with integers alone. */
export function permutation(count: number, seed: number): Int32Array {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  let state = seed | 0;
  for (let last = count - 1; last > 0; last--) {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    const other = ((mixed ^ (mixed >>> 14)) >>> 0) % (last + 1);
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}
