import { tensor } from "@frugal/tensor-core";
import type { CodecTable } from "../calibration/codec-table.ts";
import { RowQuantizer } from "../entropy/row-quantizer.ts";
import { CODEC_IDS } from "./codec-names.ts";
import type { RowCoder } from "./row-coder.ts";
import { decodedSquaredError, energyOf } from "./step-search-error.ts";
import { encodeToTarget } from "./step-search.ts";

/**
 * "channel", the default codec: the table's mean taken off, one step for all channels, and each value entropy-coded by the scale of its
 * channel and that of its token. No transform, so that it costs little time.
 */
export function channelCoder({ mean, channelScale, hiddenSize: width }: CodecTable): RowCoder {
  const quantizer = new RowQuantizer(channelScale, [width]);
  const coder: RowCoder = {
    name: "channel",
    id: CODEC_IDS.channel,
    targets: ["bytes", "relativeError", "step"],
    async encode(rows, target) {
      const [tokens] = rows.shape as readonly [number, number];
      const original = await rows.data("float32");
      const values = new Float32Array(original.length);
      for (let place = 0; place < values.length; ) {
        for (let channel = 0; channel < width; channel++, place++) values[place] = original[place]! - mean[channel]!;
      }
      const bytes = await encodeToTarget(
        {
          codec: "channel",
          quantizer,
          rows: quantizer.analyze(values, tokens),
          energy: energyOf(original),
          squaredErrorOf: (body) => decodedSquaredError(coder, body, original, tokens, "cpu"),
        },
        target,
      );
      return { bytes, elements: original.length };
    },
    async decode(reader, tokens, hiddenSize, device) {
      if (hiddenSize !== width) reader.fail(`hiddenSize ${hiddenSize} is not the table's ${width}`);
      const { values } = quantizer.read(reader, tokens);
      for (let place = 0; place < values.length; ) {
        for (let channel = 0; channel < width; channel++, place++) values[place]! += mean[channel]!;
      }
      return tensor(values, [tokens, width], { device });
    },
  };
  return coder;
}
