/** Relative errors on activations of TinyLlama-1.1B: calibration rows → test rows, begin rows left out, messages against float16. */
// Evaluation of captured activations is the command line's: from the sources.
import { ActivationClaims } from "../../packages/fourier-compress/src/evaluation/claims.ts";
import type { Claim, Measured } from "../src/check.ts";
import { missingData, sharedData } from "../src/shared-data.ts";

const folder = "tinyllama-1.1b-activations";
let opened: Promise<ActivationClaims> | undefined;

async function relativeError(codec: string, ratio: number): Promise<Measured> {
  const path = sharedData(folder);
  if (path === undefined) return missingData(folder);
  // Calibrated once for all claims.
  opened ??= ActivationClaims.open(path, { block: 1 });
  return { value: await (await opened).relativeError(codec, ratio) };
}

/** At most `target`. */
const below = (codec: string, ratio: number, target: number): Claim => ({
  id: `${codec}-${ratio}x-error`,
  unit: "relative error",
  target,
  better: "smaller",
  measure: () => relativeError(codec, ratio),
});

/** Within 3 % of what we measured of the method before there was this package. */
const asMeasured = (id: string, codec: string, ratio: number, target: number): Claim => ({
  id,
  unit: "relative error",
  target,
  better: { within: 0.03 * target },
  measure: () => relativeError(codec, ratio),
});

/** Our codecs, and the methods that they are held against. */
export const errorClaims: readonly Claim[] = [
  below("channel", 7.6, 0.2),
  below("channel", 10, 0.28),
  below("klt", 4, 0.04),
  below("klt", 7.6, 0.125),
  below("klt", 10, 0.175),
  asMeasured("fft-honest-7.6x-error", "fourier-hermitian", 7.6, 0.755),
  asMeasured("topk-7.6x-error", "top-k", 7.6, 0.488),
  asMeasured("svd-7.6x-error", "svd", 7.6, 0.566),
];
