import { tensor, tidy, type Tensor } from "@frugal/tensor-core";
import { CodecTargetError } from "../errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import { CODEC_IDS } from "./codec-names.ts";
import { cosineTransform, inverseCosineTransform } from "./cosine-transform.ts";
import { roundingEnergy, varintBytes, type BlockCoderOptions } from "./fourier.ts";
import { blockSequence, checkShape, firstIndex, type BlockShape } from "./fourier-shape.ts";
import type { RowCoder, RowTarget } from "./row-coder.ts";
import { appendValues, readValues, valueBytes, type ComponentType } from "./scaled-values.ts";

/**
 * The low block of the two-dimensional orthonormal cosine transform (DCT-II): as FourierCompress, with real coefficients and no jump
 * between the last token and the first. KS by KD numbers.
 * @throws SettingsError for a shape outside its range
 */
export function cosineCoder({ shape, component }: BlockCoderOptions): RowCoder {
  checkShape(shape);
  return {
    name: "cosine",
    id: CODEC_IDS.cosine,
    targets: ["bytes", "elements", "relativeError"],
    async encode(rows, target) {
      const [tokens, channels] = rows.shape as [number, number];
      const whole = { tokens, channels };
      const blocks = blockSequence(shape, whole, (share) => Math.round(share * tokens));
      let block: BlockShape;
      let values: Float32Array;
      if (target.kind === "relativeError") {
        const coefficients = await readBlock(rows, whole);
        block = blockOfError(coefficients, whole, blocks, target.relativeError, component);
        values = corner(coefficients, channels, block);
      } else {
        block = blockOfSize(blocks, target, component);
        values = await readBlock(rows, block);
      }
      const writer = new ByteWriter();
      writer.varint(2 * block.tokens + (component === "float32" ? 1 : 0));
      writer.varint(block.channels);
      appendValues("cosine", writer, values, component);
      return { bytes: writer.finish(), elements: values.length };
    },
    async decode(reader, tokens, hiddenSize, device) {
      const first = reader.varint();
      const block = { tokens: Math.floor(first / 2), channels: reader.varint() };
      if (block.tokens < 1 || block.tokens > tokens || block.channels < 1 || block.channels > hiddenSize) {
        reader.fail(`a block of ${block.tokens} × ${block.channels} exceeds [${tokens}, ${hiddenSize}]`);
      }
      const values = readValues(reader, block.tokens * block.channels, first % 2 === 1 ? "float32" : "float16");
      return tidy(() => {
        const coefficients = tensor(values, [block.tokens, block.channels], { device });
        return inverseCosineTransform(inverseCosineTransform(coefficients, 0, tokens), 1, hiddenSize);
      });
    },
  };
}

type Blocks = ReturnType<typeof blockSequence>;

async function readBlock(rows: Tensor, { tokens, channels }: BlockShape): Promise<Float32Array> {
  using block = tidy(() => cosineTransform(cosineTransform(rows, 1, channels), 0, tokens));
  return block.data("float32");
}

function corner(coefficients: Float32Array, stride: number, { tokens, channels }: BlockShape): Float32Array {
  const values = new Float32Array(tokens * channels);
  for (let u = 0; u < tokens; u++) values.set(coefficients.subarray(u * stride, u * stride + channels), u * channels);
  return values;
}

function blockOfSize(blocks: Blocks, target: RowTarget, component: ComponentType): BlockShape {
  if (target.kind !== "bytes" && target.kind !== "elements") throw new CodecTargetError(`cosine codec: it cannot aim for ${target.kind}`);
  const limit = target.kind === "bytes" ? target.bytes : target.elements;
  const cost = ({ tokens, channels }: BlockShape): number =>
    target.kind === "elements"
      ? tokens * channels
      : varintBytes(2 * tokens + 1) + varintBytes(channels) + valueBytes(component, tokens * channels);
  const tooLarge = firstIndex(blocks.length, (index) => cost(blocks.at(index)) > limit);
  if (tooLarge === 0)
    throw new CodecTargetError(`cosine codec: ${limit} ${target.kind} are less than the ${cost(blocks.at(0))} of one coefficient`);
  return blocks.at(tooLarge - 1);
}

/** The smallest block that leaves out little enough energy, which is that of the rows: the transform is orthonormal. */
function blockOfError(
  coefficients: Float32Array,
  { tokens, channels }: BlockShape,
  blocks: Blocks,
  relativeError: number,
  component: ComponentType,
): BlockShape {
  const sums = new Float64Array(tokens * (channels + 1));
  let total = 0;
  for (let u = 0; u < tokens; u++) {
    let sum = 0;
    for (let v = 0; v < channels; v++) {
      sum += coefficients[u * channels + v]! ** 2;
      sums[u * (channels + 1) + v + 1] = sum;
    }
    total += sum;
  }
  const rounding = roundingEnergy(component);
  const index = firstIndex(blocks.length, (each) => {
    const block = blocks.at(each);
    let kept = 0;
    for (let u = 0; u < block.tokens; u++) kept += sums[u * (channels + 1) + block.channels]!;
    return total - kept + rounding * kept <= relativeError ** 2 * total;
  });
  if (index === blocks.length) {
    throw new CodecTargetError(
      `cosine codec: ${component} coefficients cannot promise a relative error of ${relativeError}` +
        (component === "float16" ? "; use component float32" : ""),
    );
  }
  return blocks.at(index);
}
