import { matmul, tensor } from "@frugal/tensor-core";
import type { CodecTable } from "../calibration/codec-table.ts";
import { CodecTableError } from "../errors.ts";
import { factorsInBasis, leftSingularVectors } from "./low-rank-basis.ts";
import { factorCoder } from "./low-rank.ts";
import type { RowCoder } from "./row-coder.ts";

/** Decompositions of `weightedLowRankCoder`. */
export type WeightedLowRankKind = "fwsvd" | "asvd" | "svd-llm";

/** ASVD's exponent of a channel's magnitude. */
const ASVD_EXPONENT = 0.5;

/**
 * Low-rank factors of the rows whose error counts by channel, or by what the next matrices make of it. FWSVD, ASVD and SVD-LLM compress
 * weights: FourierCompress does not say how it applied them to activations. We keep the idea of each, a norm in which the error is small,
 * ‖(A′ - A)·M‖, and take for M
 * - "fwsvd" (Hsu et al., ICLR 2022): √(Fisher information) of each channel, diagonal. Needs `table.fisher`.
 * - "asvd" (Yuan et al., arXiv 2312.05821): (root mean square of each channel)^0.5, diagonal.
 * - "svd-llm" (Wang et al., ICLR 2025): the Cholesky factor L of Σ WᵀW over the matrices that read the activations, as that paper whitens
 *   with the factor of the activations' own second moments. Needs `table.consumerFactor`.
 * The best A′ of a rank is U·(UᵀAM)·M⁻¹ = U·(UᵀA) with the left singular vectors U of A·M, so that M is never inverted, and the other
 * side needs no table.
 * @throws CodecTableError where the table lacks what the kind needs
 */
export function weightedLowRankCoder(kind: WeightedLowRankKind, table: CodecTable): RowCoder {
  const { hiddenSize } = table;
  const metric = kind === "svd-llm" ? consumerMetric(table) : channelMetric(kind, table);
  return factorCoder(kind, async (rows, scaled, rank) => {
    if (rows.shape[1] !== hiddenSize) {
      throw new CodecTableError(`${kind} codec: its table is for hiddenSize ${hiddenSize}, the rows have ${rows.shape[1]}`);
    }
    using matrix = tensor(metric, kind === "svd-llm" ? [hiddenSize, hiddenSize] : [hiddenSize], { device: rows.device });
    using weighted = kind === "svd-llm" ? matmul(scaled, matrix) : scaled.multiply(matrix);
    return factorsInBasis(rows, await leftSingularVectors(weighted, rank));
  });
}

function channelMetric(kind: "fwsvd" | "asvd", { fisher, secondMoment }: CodecTable): Float32Array {
  if (kind === "asvd") return normalized(secondMoment.map((moment) => Math.sqrt(moment) ** ASVD_EXPONENT));
  if (fisher === undefined) throw lacking(kind, "Fisher information");
  return normalized(fisher.map(Math.sqrt));
}

function consumerMetric({ consumerFactor }: CodecTable): Float32Array {
  if (consumerFactor === undefined) throw lacking("svd-llm", "factor of the matrices that read the activations");
  return normalized(consumerFactor);
}

function lacking(kind: WeightedLowRankKind, what: string): CodecTableError {
  return new CodecTableError(`${kind} codec: the codec table has no ${what}; calibrate it from a model`);
}

/** A copy with a largest entry of 1: the scale means nothing, and squares have to fit float32. */
function normalized(metric: Float32Array): Float32Array {
  const largest = metric.reduce((most, entry) => Math.max(most, Math.abs(entry)), 0);
  if (!(largest > 0 && Number.isFinite(largest)))
    throw new CodecTableError(`the codec table's weights go up to ${largest}; calibrate it anew`);
  return metric.map((entry) => entry / largest);
}
