import { tensor, type ComplexTensor, type Tensor } from "@frugal/tensor-core";
import { CodecTargetError } from "../errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import { CODEC_IDS } from "./codec-names.ts";
import { FourierBins, halfWidth, largestBlock, tokensOfShare, type FourierMode, type GridSize } from "./fourier-bins.ts";
import { FourierEnergy } from "./fourier-energy.ts";
import { packBins, unpackBins, type HostSpectrum } from "./fourier-packing.ts";
import { blockSequence, checkShape, firstIndex, type FourierShape } from "./fourier-shape.ts";
import { fromHalfSpectrum, halfSpectrum } from "./fourier-transform.ts";
import type { RowCoder, RowTarget } from "./row-coder.ts";
import { appendValues, readValues, ROUNDING, valueBytes, type ComponentType } from "./scaled-values.ts";

export type { FourierMode } from "./fourier-bins.ts";
export type { BlockShape, FourierShape } from "./fourier-shape.ts";

/** Settings of the codecs that keep a block of low frequencies. */
export interface BlockCoderOptions {
  readonly shape: FourierShape;
  /** Of each number kept. */
  readonly component: ComponentType;
}

/**
 * FourierCompress (arXiv 2510.16418): the two-dimensional Fourier transform of the rows, of which one block of low frequencies is sent, in
 * one of three readings (see `FourierMode`). Bytes are those of the numbers sent: a complex coefficient is two of them, conjugates are sent
 * once and imaginary parts that are zero not at all. Elements count a complex coefficient once, as the paper seems to.
 * Transforms run on the rows' device.
 * @throws SettingsError for a shape outside its range
 */
export function fourierCoder(mode: FourierMode, { shape, component }: BlockCoderOptions): RowCoder {
  checkShape(shape);
  const name = `fourier-${mode}` as const;
  return {
    name,
    id: CODEC_IDS[name],
    targets: ["bytes", "elements", "relativeError"],
    async encode(rows, target) {
      const grid: GridSize = { tokens: rows.shape[0]!, hiddenSize: rows.shape[1]! };
      const whole = target.kind === "relativeError" ? await readSpectrum(rows, halfWidth(grid.hiddenSize)) : undefined;
      const bins = chooseBins(name, mode, { shape, component }, grid, target, whole);
      const values = packBins(whole ?? (await readSpectrum(rows, bins.columns)), bins);
      const writer = new ByteWriter();
      writer.varint(2 * bins.shape.tokens + (component === "float32" ? 1 : 0));
      writer.varint(bins.shape.channels);
      appendValues(name, writer, values, component);
      return { bytes: writer.finish(), elements: bins.sentBins };
    },
    async decode(reader, tokens, hiddenSize, device) {
      const grid = { tokens, hiddenSize };
      const first = reader.varint();
      const block = { tokens: Math.floor(first / 2), channels: reader.varint() };
      const largest = largestBlock(mode, grid);
      if (block.tokens < 1 || block.tokens > largest.tokens || block.channels < 1 || block.channels > largest.channels) {
        reader.fail(
          `a block of ${block.tokens} × ${block.channels}, where [${tokens}, ${hiddenSize}] has ${largest.tokens} × ${largest.channels}`,
        );
      }
      const bins = new FourierBins(mode, block, grid);
      const values = readValues(reader, bins.sentNumbers, first % 2 === 1 ? "float32" : "float16");
      const { real, imaginary, stride } = unpackBins(values, bins);
      using realPart = tensor(real, [tokens, stride], { device });
      using imaginaryPart = tensor(imaginary, [tokens, stride], { device });
      return fromHalfSpectrum({ real: realPart, imaginary: imaginaryPart }, hiddenSize);
    },
  };
}

/** The first columns of the half spectrum, on the host. */
export async function readSpectrum(rows: Tensor, columns: number): Promise<HostSpectrum> {
  const spectrum: ComplexTensor = halfSpectrum(rows, columns);
  using real = spectrum.real;
  using imaginary = spectrum.imaginary;
  const [realPart, imaginaryPart] = await Promise.all([real.data("float32"), imaginary.data("float32")]);
  return { real: realPart, imaginary: imaginaryPart, stride: columns };
}

/** The largest block that bytes or elements allow, or the smallest whose error is small enough. @throws CodecTargetError without one */
export function chooseBins(
  name: string,
  mode: FourierMode,
  { shape, component }: BlockCoderOptions,
  grid: GridSize,
  target: RowTarget,
  whole?: HostSpectrum,
): FourierBins {
  const blocks = blockSequence(shape, largestBlock(mode, grid), (share) => tokensOfShare(mode, grid.tokens, share));
  const bins = (index: number): FourierBins => new FourierBins(mode, blocks.at(index), grid);
  switch (target.kind) {
    case "bytes":
    case "elements": {
      const limit = target.kind === "bytes" ? target.bytes : target.elements;
      const cost = (each: FourierBins): number => (target.kind === "bytes" ? messageBytes(each, component) : each.sentBins);
      const tooLarge = firstIndex(blocks.length, (index) => cost(bins(index)) > limit);
      if (tooLarge === 0)
        throw new CodecTargetError(`${name} codec: ${limit} ${target.kind} are less than the ${cost(bins(0))} of one coefficient`);
      return bins(tooLarge - 1);
    }
    case "relativeError": {
      const energy = new FourierEnergy(whole!, grid);
      const allowed = target.relativeError ** 2 * energy.total;
      const rounding = roundingEnergy(component);
      const index = firstIndex(blocks.length, (each) => {
        const lost = energy.lost(bins(each));
        return lost + rounding * (energy.total - lost) <= allowed;
      });
      if (index === blocks.length) {
        throw new CodecTargetError(
          `${name} codec: ${component} coefficients cannot promise a relative error of ${target.relativeError}` +
            (component === "float16" ? "; use component float32" : ""),
        );
      }
      return bins(index);
    }
    default:
      throw new CodecTargetError(`${name} codec: it cannot aim for ${target.kind}`);
  }
}

/** Bound of the energy that rounding costs: of the stored numbers, and of the transforms' own float32 arithmetic. */
export function roundingEnergy(component: ComponentType): number {
  return Math.max(ROUNDING[component], 2 ** -20) ** 2;
}

function messageBytes(bins: FourierBins, component: ComponentType): number {
  return varintBytes(2 * bins.shape.tokens + 1) + varintBytes(bins.shape.channels) + valueBytes(component, bins.sentNumbers);
}

/** Bytes of a number as `ByteWriter.varint` writes it. */
export function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++;
  return bytes;
}
