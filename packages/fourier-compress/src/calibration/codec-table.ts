/** Version of the table's format; others are refused. */
export const CODEC_TABLE_VERSION = 1;

/** What one step of a quantiser costs and loses on calibration rows that it was not fitted to, from the finest step to the coarsest. */
export interface RatePoint {
  readonly step: number;
  /** Coded bytes for each token of one long message; messages of single tokens take a few per cent more. */
  readonly bytesPerToken: number;
  /** ‖A′ - A‖ / ‖A‖. */
  readonly relativeError: number;
}

/** Statistics of one place in one model, measured on calibration text: what both ends of a split have to share. */
export interface CodecTable {
  /** Which model: `modelFingerprint`, or the name of a folder of activations. */
  readonly model: string;
  /** The block whose input the activations are: those of `splitBlock`. */
  readonly block: number;
  readonly hiddenSize: number;
  /** Calibration rows, the begin-of-sequence rows and spikes left out. */
  readonly rows: number;
  /** [hiddenSize]. */
  readonly mean: Float32Array;
  /** Mean |x - mean| of each channel, [hiddenSize]. */
  readonly channelScale: Float32Array;
  /** Orthonormal rows, the most energetic direction first, [hiddenSize, hiddenSize]. Absent in tables for the channel codec alone. */
  readonly basis?: Float32Array;
  /** Mean |coefficient| of each basis row, fitted on rows that the basis was not made from, [hiddenSize]. */
  readonly coefficientScale?: Float32Array;
  /** The row of the begin token at position 0, the same in every sequence; sent as one bit. [hiddenSize]. */
  readonly beginRow?: Float32Array;
  /** Rows of a larger Euclidean norm are spikes and are sent exactly. */
  readonly spikeNorm: number;
  /** Mean x² of each channel, mean not removed, [hiddenSize] (ASVD-style). */
  readonly secondMoment: Float32Array;
  /** Mean squared gradient of the loss with respect to each channel, [hiddenSize] (FWSVD-style). Needs a model. */
  readonly fisher?: Float32Array;
  /**
   * Lower triangular Cholesky factor L [hiddenSize, hiddenSize] of Σ WᵀW over the matrices that read the activations (SVD-LLM-style:
   * the error that matters is ‖(A′ - A)L‖). Needs a model.
   */
  readonly consumerFactor?: Float32Array;
  /** The share of tokens that the Fourier block keeps (KS / S), best on the calibration rows. */
  readonly fourierTokenShare: number;
  /** Measured with the codec's own bytes, by codec name ("channel", "klt"). */
  readonly rates: { readonly [codec: string]: readonly RatePoint[] };
  /** SHA-256 in hexadecimal of all of the above, in the order and form of `hashCodecTable`. */
  readonly hash: string;
}
