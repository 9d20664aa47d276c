import { absolute, matmul, max, tensor, tidy, type DeviceName, type Tensor } from "@frugal/tensor-core";
import { CodecTargetError } from "../errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import { CODEC_IDS, type CodecName } from "./codec-names.ts";
import { varintBytes } from "./fourier.ts";
import { leftSingularVectors, pivotedColumns, project, type TokenBasis } from "./low-rank-basis.ts";
import type { RowCoder, RowTarget } from "./row-coder.ts";
import { appendValues, asStored, readValues, ROUNDING, valueBytes } from "./scaled-values.ts";

/** Decompositions of `lowRankCoder`. */
export type LowRankKind = "svd" | "qr";

/** Most rows of a message: the eigenvectors of tokens × tokens take a few seconds there, and eight times as long for twice as many. */
const MOST_TOKENS = 1024;

/** Orthonormal factors hold numbers up to 1: their exponents are below that. */
const LARGEST_BASIS_EXPONENT = -14;

/**
 * Rows as a product of two float16 factors [tokens, rank] · [rank, hiddenSize]: rank · (tokens + hiddenSize) numbers. "svd" is the truncated
 * singular value decomposition, the best of a rank; "qr" the pivoted QR decomposition, whose second factor is sent with its columns in
 * the channels' order. The first factor is orthonormal, so the second is its product with the rows.
 * A single token has nothing to factor: such messages are larger than the rows, and a target that asks for less is refused.
 */
export function lowRankCoder(kind: LowRankKind): RowCoder {
  return factorCoder(kind, kind === "svd" ? leftSingularVectors : pivotedColumns);
}

/** A coder that projects the rows on an orthonormal basis of the tokens. @param basisOf may be given rows scaled by a positive number */
export function factorCoder(name: CodecName, basisOf: (rows: Tensor, rank: number) => Promise<TokenBasis>): RowCoder {
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
      const found = await basisOf(scaled, most);
      using product = project(rows, found);
      const coefficients = await product.data("float32");
      const rank = target.kind === "relativeError" ? await rankOfError(name, rows, found, coefficients, target.relativeError) : found.rank;
      writer.varint(rank);
      appendValues(name, writer, firstColumns(found, rank), "float16");
      appendValues(name, writer, coefficients.subarray(0, rank * hiddenSize), "float16");
      return { bytes: writer.finish(), elements: rank * (tokens + hiddenSize) };
    },
    async decode(reader, tokens, hiddenSize, device) {
      const rank = reader.varint();
      if (rank > Math.min(tokens, hiddenSize)) reader.fail(`rank ${rank} of [${tokens}, ${hiddenSize}]`);
      if (2 * rank * (tokens + hiddenSize) > reader.remaining) reader.fail(`rank ${rank}, but ${reader.remaining} bytes`);
      if (rank === 0) return tensor(new Float32Array(tokens * hiddenSize), [tokens, hiddenSize], { device });
      const basis = readValues(reader, tokens * rank, "float16", LARGEST_BASIS_EXPONENT);
      return multiply(basis, readValues(reader, rank * hiddenSize, "float16"), [tokens, rank, hiddenSize], device);
    },
  };
}

function multiply(
  left: Float32Array,
  right: Float32Array,
  [tokens, rank, hiddenSize]: readonly [number, number, number],
  device: DeviceName,
): Tensor {
  return tidy(() => matmul(tensor(left, [tokens, rank], { device }), tensor(right, [rank, hiddenSize], { device })));
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

/** The smallest rank that the other side sees within the error: by the energy of the coefficients, then by trying, for the rounding. */
async function rankOfError(
  name: string,
  rows: Tensor,
  found: TokenBasis,
  coefficients: Float32Array,
  relativeError: number,
): Promise<number> {
  const [tokens, hiddenSize] = rows.shape as [number, number];
  const values = await rows.data("float32");
  const total = values.reduce((sum, value) => sum + value * value, 0);
  let missing = total;
  let rank = 0;
  while (rank < found.rank && missing > relativeError ** 2 * total) {
    for (let i = rank * hiddenSize; i < (rank + 1) * hiddenSize; i++) missing -= coefficients[i]! ** 2;
    rank++;
  }
  for (rank = Math.max(1, rank); rank <= found.rank; rank++) {
    const [left, right] = [asStored(firstColumns(found, rank), "float16"), asStored(coefficients.slice(0, rank * hiddenSize), "float16")];
    using product = multiply(left, right, [tokens, rank, hiddenSize], rows.device);
    const decoded = await product.data("float32");
    let error = 0;
    values.forEach((value, i) => (error += (decoded[i]! - value) ** 2));
    if (error <= relativeError ** 2 * total) return rank;
    // More ranks do not help against rounding.
    if (relativeError < ROUNDING.float16) break;
  }
  throw new CodecTargetError(`${name} codec: float16 factors do not reach a relative error of ${relativeError}`);
}

function firstColumns({ basis, rank }: TokenBasis, count: number): Float32Array {
  if (count === rank) return basis;
  const columns = new Float32Array((basis.length / rank) * count);
  for (let row = 0; row < basis.length / rank; row++) columns.set(basis.subarray(row * rank, row * rank + count), row * count);
  return columns;
}
