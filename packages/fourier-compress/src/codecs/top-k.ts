import { tensor, type Tensor } from "@frugal/tensor-core";
import { decodeBinaryMask, encodeBinaryMask } from "../entropy/binary-mask.ts";
import { CodecTargetError } from "../errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import { CODEC_IDS } from "./codec-names.ts";
import { varintBytes } from "./fourier.ts";
import type { RowCoder, RowTarget } from "./row-coder.ts";
import { appendValues, readValues, ROUNDING, valueBytes } from "./scaled-values.ts";
import { selectedPositions, selectEnergy, selectLargest, type Selection } from "./top-k-selection.ts";

/** Values and places of a message. */
interface Sparse {
  readonly positions: Uint32Array;
  /** Entropy-coded places. */
  readonly mask: Uint8Array;
}

/**
 * The largest magnitudes in float16, and zeros elsewhere (Top-k of the split fine-tuning papers). Places are entropy-coded as a mask. The
 * values are selected, never sorted.
 */
export function topKCoder(): RowCoder {
  return {
    name: "top-k",
    id: CODEC_IDS["top-k"],
    targets: ["bytes", "elements", "relativeError"],
    async encode(rows, target) {
      const values = await rows.data("float32");
      const { positions, mask } = choose(values, target);
      const writer = new ByteWriter();
      writer.varint(positions.length);
      if (positions.length > 0) {
        writer.varint(mask.length);
        writer.append(mask);
        appendValues(
          "top-k",
          writer,
          Float32Array.from(positions, (position) => values[position]!),
          "float16",
        );
      }
      return { bytes: writer.finish(), elements: positions.length };
    },
    async decode(reader, tokens, hiddenSize, device): Promise<Tensor> {
      const total = tokens * hiddenSize;
      const count = reader.varint();
      if (count > total) reader.fail(`${count} values of [${tokens}, ${hiddenSize}]`);
      if (2 * count > reader.remaining) reader.fail(`${count} values, but ${reader.remaining} bytes`);
      const rows = new Float32Array(total);
      if (count > 0) {
        const positions = decodeBinaryMask(reader.bytes(reader.varint()), total, count, "top-k");
        const values = readValues(reader, count, "float16");
        for (let i = 0; i < count; i++) rows[positions[i]!] = values[i]!;
      }
      return tensor(rows, [tokens, hiddenSize], { device });
    },
  };
}

function choose(values: Float32Array, target: RowTarget): Sparse {
  switch (target.kind) {
    case "bytes":
      return fitBytes(values, target.bytes);
    case "elements":
      if (target.elements < 1) throw new CodecTargetError(`top-k codec: ${target.elements} elements; it keeps at least one`);
      return sparse(values, selectLargest(values, Math.min(values.length, Math.floor(target.elements))));
    case "relativeError":
      return sparse(values, selectError(values, target.relativeError));
    default:
      throw new CodecTargetError(`top-k codec: it cannot aim for ${target.kind}`);
  }
}

function sparse(values: Float32Array, selection: Selection): Sparse {
  const positions = selectedPositions(values, selection);
  return { positions, mask: positions.length === 0 ? new Uint8Array() : encodeBinaryMask(positions, values.length) };
}

function selectError(values: Float32Array, relativeError: number): Selection {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]! ** 2;
  // What is dropped, and the rounding of what is kept.
  const wanted = (total * (1 - relativeError ** 2)) / (1 - ROUNDING.float16 ** 2);
  if (wanted > total) throw new CodecTargetError(`top-k codec: float16 values cannot promise a relative error of ${relativeError}`);
  return selectEnergy(values, Math.max(0, wanted));
}

/** Tries of `fitBytes` once it has a message that fits. */
const REFINEMENTS = 6;

/** As many values as `budget` bytes hold. The places' bytes are known only once they are coded, so that it takes a few tries. */
function fitBytes(values: Float32Array, budget: number): Sparse {
  const total = values.length;
  let best: Sparse | undefined;
  /** The most values known to fit, the least known not to. */
  let [fits, exceeds] = [0, total + 1];
  let count = expectedCount(total, budget);
  for (let attempt = 0; exceeds - fits > 1 && (best === undefined || attempt < REFINEMENTS); attempt++) {
    count = Math.max(fits + 1, Math.min(exceeds - 1, count));
    const tried = sparse(values, selectLargest(values, count));
    const slack = budget - messageBytes(count, tried.mask.length);
    if (slack >= 0) {
      [fits, best] = [count, tried];
      if (slack < 4 + budget / 1000) break;
    } else exceeds = count;
    const each = 2 + Math.max(0, Math.log2(Math.max(1, total - count) / count)) / 8;
    count += slack >= 0 ? Math.floor(slack / each) : Math.floor(slack / each) - 1;
  }
  if (best === undefined) throw new CodecTargetError(`top-k codec: ${budget} bytes hold no value of ${total} with its place`);
  return best;
}

function messageBytes(count: number, maskBytes: number): number {
  return varintBytes(count) + varintBytes(maskBytes) + maskBytes + valueBytes("float16", count);
}

/** How many values fit if places cost their entropy and what their coder adds. */
function expectedCount(total: number, budget: number): number {
  let [low, high] = [1, total];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const share = middle / total;
    const bits = share === 1 ? 0 : -share * Math.log2(share) - (1 - share) * Math.log2(1 - share);
    if (14 + 2 * middle + (1.002 * total * bits) / 8 <= budget) low = middle;
    else high = middle - 1;
  }
  return low;
}
