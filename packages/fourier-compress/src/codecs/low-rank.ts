import { absolute, matmul, max, tensor, tidy, type DeviceName, type Tensor } from "@frugal/tensor-core";
import { CodecTargetError } from "../errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import { CODEC_IDS, type CodecName } from "./codec-names.ts";
import { varintBytes } from "./fourier.ts";
import { factorsInBasis, leftSingularVectors, pivotedFactors, type Factors, type QrPivots } from "./low-rank-basis.ts";
import type { RowCoder, RowTarget } from "./row-coder.ts";
import { appendValues, asStored, largestMagnitude, readValues, ROUNDING, valueBytes } from "./scaled-values.ts";

/** Decompositions of `lowRankCoder`. */
export type LowRankKind = "svd" | "qr";

/** Most rows of a message: the eigenvectors of tokens × tokens take a few seconds there, and eight times as long for twice as many. */
const MOST_TOKENS = 1024;

/** The left factor holds numbers up to 1, which have this exponent at most. */
const LARGEST_LEFT_EXPONENT = -14;

/** Settings of `lowRankCoder`. */
export interface LowRankOptions {
  /** qr: see `QrPivots`. Default "channels", which loses less on the activations that we measured. */
  readonly pivots?: QrPivots;
}

/**
 * Rows as a product of two float16 factors [tokens, rank] · [rank, hiddenSize]: rank · (tokens + hiddenSize) numbers. "svd" is the
 * truncated singular value decomposition, the best of a rank; "qr" the pivoted QR decomposition, with R's columns in the channels' order.
 * A single token has nothing to factor: such messages are larger than the rows, and a target that asks for less is refused.
 */
export function lowRankCoder(kind: LowRankKind, { pivots = "channels" }: LowRankOptions = {}): RowCoder {
  if (kind === "qr") return factorCoder(kind, (rows, _scaled, rank) => pivotedFactors(rows, rank, pivots));
  return factorCoder(kind, async (rows, scaled, rank) => factorsInBasis(rows, await leftSingularVectors(scaled, rank)));
}

/** @param factorsOf gets the rows, and the rows divided by their largest magnitude, on their device; both are disposed by the caller */
export function factorCoder(name: CodecName, factorsOf: (rows: Tensor, scaled: Tensor, rank: number) => Promise<Factors>): RowCoder {
  return {
    name,
    id: CODEC_IDS[name],
    targets: ["bytes", "elements", "relativeError"],
    maxTokens: MOST_TOKENS,
    async encode(rows, target) {
      const [tokens, hiddenSize] = rows.shape as [number, number];
      if (tokens > MOST_TOKENS) throw new CodecTargetError(`${name} codec: ${tokens} rows; it takes ${MOST_TOKENS} at most`);
      const most = mostRank(name, tokens, hiddenSize, target);
      const writer = new ByteWriter();
      const largest = await largestEntry(rows);
      if (largest === 0) {
        writer.varint(0);
        return { bytes: writer.finish(), elements: 0 };
      }
      using scaled = rows.divide(largest);
      const all = balanced(await factorsOf(rows, scaled, most));
      const { left, right, rank } = target.kind === "relativeError" ? await smallestRank(name, rows, all, target.relativeError) : all;
      writer.varint(rank);
      appendValues(name, writer, left, "float16");
      appendValues(name, writer, right, "float16");
      return { bytes: writer.finish(), elements: rank * (tokens + hiddenSize) };
    },
    async decode(reader, tokens, hiddenSize, device) {
      const rank = reader.varint();
      if (rank > Math.min(tokens, hiddenSize)) reader.fail(`rank ${rank} of [${tokens}, ${hiddenSize}]`);
      if (2 * rank * (tokens + hiddenSize) > reader.remaining) reader.fail(`rank ${rank}, but ${reader.remaining} bytes`);
      if (rank === 0) return tensor(new Float32Array(tokens * hiddenSize), [tokens, hiddenSize], { device });
      const left = readValues(reader, tokens * rank, "float16", LARGEST_LEFT_EXPONENT);
      return multiply({ left, right: readValues(reader, rank * hiddenSize, "float16"), rank }, tokens, device);
    },
  };
}

/** With a left factor of at most 1 in magnitude, by a power of two: the right one alone carries the size of the rows. */
function balanced({ left, right, rank }: Factors): Factors {
  let scale = 1;
  const largest = largestMagnitude(left);
  while (scale < largest) scale *= 2;
  return scale === 1
    ? { left, right, rank }
    : { left: left.map((value) => value / scale), right: right.map((value) => value * scale), rank };
}

function multiply({ left, right, rank }: Factors, tokens: number, device: DeviceName): Tensor {
  return tidy(() => matmul(tensor(left, [tokens, rank], { device }), tensor(right, [rank, right.length / rank], { device })));
}

async function largestEntry(rows: Tensor): Promise<number> {
  using largest = tidy(() => max(absolute(rows)));
  return largest.item();
}

/** The rank that bytes or elements allow; all of it for errors, of which a part is kept. */
function mostRank(name: string, tokens: number, hiddenSize: number, target: RowTarget): number {
  const full = Math.min(tokens, hiddenSize);
  switch (target.kind) {
    case "relativeError":
      return full;
    case "bytes":
    case "elements": {
      const sides = tokens + hiddenSize;
      const cost = (rank: number): number =>
        target.kind === "bytes"
          ? varintBytes(rank) + valueBytes("float16", rank * tokens) + valueBytes("float16", rank * hiddenSize)
          : rank * sides;
      const limit = target.kind === "bytes" ? target.bytes : target.elements;
      let rank = Math.min(full, Math.max(0, Math.floor(target.kind === "bytes" ? limit / (2 * sides) : limit / sides)));
      while (rank > 0 && cost(rank) > limit) rank--;
      if (rank > 0) return rank;
      throw new CodecTargetError(
        `${name} codec: ${limit} ${target.kind} are less than the ${cost(1)} of rank 1 for ${tokens} rows of ${hiddenSize}; ` +
          "send more rows in a message or use another codec",
      );
    }
    default:
      throw new CodecTargetError(`${name} codec: it cannot aim for ${target.kind}`);
  }
}

/** The factors of the smallest rank that the other side sees within the error: by their energy, then by trying, for the rounding. */
async function smallestRank(name: string, rows: Tensor, all: Factors, relativeError: number): Promise<Factors> {
  const values = await rows.data("float32");
  const allowed = relativeError ** 2 * squares(values);
  const tokens = rows.shape[0]!;
  let missing = squares(values);
  let rank = 0;
  // One of the factors is orthogonal, so that ranks add their energies.
  for (; rank < all.rank && missing > allowed; rank++) missing -= squares(column(all, rank)) * squares(row(all, rank));
  for (rank = Math.max(1, rank); rank <= all.rank; rank++) {
    const some = truncated(all, rank);
    const { left, right } = some;
    using product = multiply({ left: asStored(left, "float16"), right: asStored(right, "float16"), rank }, tokens, rows.device);
    const decoded = await product.data("float32");
    if (squares(decoded.map((value, i) => value - values[i]!)) <= allowed) return some;
    // More ranks do not help against rounding.
    if (relativeError < ROUNDING.float16) break;
  }
  throw new CodecTargetError(`${name} codec: float16 factors do not reach a relative error of ${relativeError}`);
}

function squares(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return sum;
}

function row({ right, rank }: Factors, index: number): Float32Array {
  const width = right.length / rank;
  return right.subarray(index * width, (index + 1) * width);
}

function column({ left, rank }: Factors, index: number): Float32Array {
  return Float32Array.from({ length: left.length / rank }, (_, token) => left[token * rank + index]!);
}

function truncated(all: Factors, rank: number): Factors {
  const tokens = all.left.length / all.rank;
  const left = new Float32Array(tokens * rank);
  for (let token = 0; token < tokens; token++) left.set(all.left.subarray(token * all.rank, token * all.rank + rank), token * rank);
  return { left, right: all.right.subarray(0, (all.right.length / all.rank) * rank), rank };
}
