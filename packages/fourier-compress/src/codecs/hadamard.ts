import { tensor } from "@frugal/tensor-core";
import { RowQuantizer } from "../entropy/row-quantizer.ts";
import { ByteWriter } from "./byte-writer.ts";
import { CODEC_IDS } from "./codec-names.ts";
import { HadamardRotation } from "./hadamard-rotation.ts";
import type { RowCoder, RowTarget } from "./row-coder.ts";
import { powerOfTwo } from "./scaled-values.ts";
import { decodedSquaredError, energyOf } from "./step-search-error.ts";
import { encodeToTarget } from "./step-search.ts";

const [LOWEST_EXPONENT, HIGHEST_EXPONENT] = [-126, 127];

/** What a width needs. */
interface Plan {
  readonly width: number;
  readonly rotation: HadamardRotation;
  readonly quantizer: RowQuantizer;
}

/**
 * "hadamard", the fallback without calibration: a fixed rotation that makes all channels alike, one step, and each value entropy-coded by
 * its token's scale. Layout: the exponent of a power of two that is divided out (1 byte), then the quantiser's body.
 */
export function hadamardCoder(): RowCoder {
  let latest: Plan | undefined;
  const planFor = (width: number): Plan => {
    if (latest?.width !== width) {
      latest = { width, rotation: new HadamardRotation(width), quantizer: new RowQuantizer(new Float32Array(width).fill(1), [width]) };
    }
    return latest;
  };
  const coder: RowCoder = {
    name: "hadamard",
    id: CODEC_IDS.hadamard,
    targets: ["bytes", "relativeError", "step"],
    async encode(rows, target) {
      const [tokens, width] = rows.shape as readonly [number, number];
      const { rotation, quantizer } = planFor(width);
      const original = await rows.data("float32");
      const meanSquare = energyOf(original) / original.length;
      const octave = meanSquare > 0 ? Math.floor(Math.log2(meanSquare) / 2) : 0;
      const exponent = Math.max(LOWEST_EXPONENT, Math.min(HIGHEST_EXPONENT, octave));
      const unit = powerOfTwo(exponent);
      const values = original.map((value) => value / unit);
      const energy = energyOf(values);
      rotation.rotate(values);
      const withExponent = (body: Uint8Array): Uint8Array => {
        const writer = new ByteWriter();
        writer.uint8(exponent & 0xff);
        writer.append(body);
        return writer.finish();
      };
      const body = await encodeToTarget(
        {
          codec: "hadamard",
          quantizer,
          rows: quantizer.analyze(values, tokens),
          energy,
          squaredErrorOf: async (tried) => (await decodedSquaredError(coder, withExponent(tried), original, tokens, "cpu")) / unit / unit,
        },
        inUnits(target, unit),
      );
      return { bytes: withExponent(body), elements: original.length };
    },
    async decode(reader, tokens, hiddenSize, device) {
      const { rotation, quantizer } = planFor(hiddenSize);
      const exponent = (reader.uint8() << 24) >> 24;
      if (exponent < LOWEST_EXPONENT) reader.fail(`exponent ${exponent} is below ${LOWEST_EXPONENT}`);
      const { values } = quantizer.read(reader, tokens);
      rotation.rotateBack(values);
      const unit = powerOfTwo(exponent);
      for (let place = 0; place < values.length; place++) values[place]! *= unit;
      return tensor(values, [tokens, hiddenSize], { device });
    },
  };
  return coder;
}

/** The target of the body behind the exponent. */
function inUnits(target: RowTarget, unit: number): RowTarget {
  if (target.kind === "bytes") return { kind: "bytes", bytes: target.bytes - 1 };
  if (target.kind === "step") return { kind: "step", step: target.step / unit };
  return target;
}
