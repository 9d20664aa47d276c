import { calibrateRows } from "../calibration/calibrate.ts";
import type { CodecTable } from "../calibration/codec-table.ts";
import { separateRows } from "../calibration/collect-rows.ts";
import type { ActivationSet } from "./activations-folder.ts";

/**
 * The codec table of a folder's calibration rows. Where one prompt ends and the next begins is not known of them: they are cut to the
 * median length of the test prompts, which only the shape of the Fourier block depends on. Without a model there are no gradients and
 * no weights, so that the FWSVD-style and SVD-LLM-style codecs cannot be made with it.
 */
export async function calibrateActivations(
  set: ActivationSet, options: { readonly basis?: boolean; readonly signal?: AbortSignal } = {},
): Promise<CodecTable> {
  const { calibration, hiddenSize, prompts, beginRow, block, name } = set;
  const lengths = prompts.map(({ tokens }) => tokens.length).sort((a, b) => a - b);
  const length = Math.max(1, lengths[lengths.length >> 1]!);
  const count = calibration.length / hiddenSize;
  const sequences = Array.from({ length: Math.ceil(count / length) }, (_, index) => {
    const values = calibration.subarray(index * length * hiddenSize, (index + 1) * length * hiddenSize);
    return { values, tokens: values.length / hiddenSize, beginsWithBegin: false };
  });
  return await calibrateRows(separateRows(sequences, hiddenSize, beginRow), { model: name, block, ...options });
}
