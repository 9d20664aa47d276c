import {
  fft,
  ifft,
  irfft,
  pad,
  rfft,
  ShapeError,
  tensor,
  tidy,
  type ComplexTensor,
  type DeviceName,
  type Tensor,
} from "@frugal/tensor-core";
import { FourierBins, halfWidth, largestBlock, type FourierMode, type GridSize } from "./fourier-bins.ts";
import type { BlockShape } from "./fourier-shape.ts";

/**
 * F[u, v] = Σ A[s, d] e^(-2πi(us/S + vd/D)) for the first `columns` frequencies v of the hidden axis: [S, columns], not normalised. The
 * token axis of the other columns is never transformed.
 */
export function halfSpectrum<Device extends DeviceName>(rows: Tensor<Device>, columns: number): ComplexTensor<Device> {
  return tidy(() => {
    const { real, imaginary } = rfft(rows);
    if (columns === real.shape[1]) return fft({ real, imaginary }, { axis: 0 });
    return fft({ real: real.slice(null, [0, columns]), imaginary: imaginary.slice(null, [0, columns]) }, { axis: 0 });
  });
}

/** Real rows [S, hiddenSize] whose half spectrum begins with these columns and is zero in the others. */
export function fromHalfSpectrum<Device extends DeviceName>(spectrum: ComplexTensor<Device>, hiddenSize: number): Tensor<Device> {
  return tidy(() => {
    const { real, imaginary } = ifft(spectrum, { axis: 0 });
    const missing = halfWidth(hiddenSize) - real.shape[1]!;
    if (missing === 0) return irfft({ real, imaginary }, { length: hiddenSize });
    const widen = (part: Tensor<Device>): Tensor<Device> =>
      pad(part, [
        [0, 0],
        [0, missing],
      ]);
    return irfft({ real: widen(real), imaginary: widen(imaginary) }, { length: hiddenSize });
  });
}

/**
 * FourierCompress without the bytes: what a block of the two-dimensional Fourier transform of rows [S, D] tells of the half spectrum,
 * [S, min(KD, floor(D/2) + 1)] with zeros where nothing is known. Not normalised. Any S and D, on the rows' device.
 * @throws ShapeError for a block that the rows do not have
 */
export function fourierBlock<Device extends DeviceName>(rows: Tensor<Device>, shape: BlockShape, mode: FourierMode): ComplexTensor<Device> {
  if (rows.rank !== 2 || rows.size === 0)
    throw new ShapeError(`fourierBlock: expected [tokens, hiddenSize], got [${rows.shape.join(", ")}]`);
  const [tokens, hiddenSize] = rows.shape as [number, number];
  const bins = checkedBins(mode, shape, { tokens, hiddenSize });
  return tidy(() => {
    const { real, imaginary } = halfSpectrum(rows, bins.columns);
    const known = weightTensor(bins, rows.device, Math.ceil);
    return { real: real.multiply(known), imaginary: imaginary.multiply(known) };
  });
}

/**
 * The rows [S, hiddenSize] that the receiver of a `fourierBlock` makes of it.
 * @throws ShapeError where the block is not of that shape
 */
export function fromFourierBlock<Device extends DeviceName>(
  block: ComplexTensor<Device>,
  shape: BlockShape,
  mode: FourierMode,
  hiddenSize: number,
): Tensor<Device> {
  const [tokens, columns] = block.real.shape as [number, number];
  const bins = checkedBins(mode, shape, { tokens, hiddenSize });
  if (columns !== bins.columns) throw new ShapeError(`fromFourierBlock: ${columns} columns, a block of this shape has ${bins.columns}`);
  return tidy(() => {
    const weights = weightTensor(bins, block.real.device, (weight) => weight);
    return fromHalfSpectrum({ real: block.real.multiply(weights), imaginary: block.imaginary.multiply(weights) }, hiddenSize);
  });
}

function checkedBins(mode: FourierMode, shape: BlockShape, grid: GridSize): FourierBins {
  const largest = largestBlock(mode, grid);
  const isSide = (side: number, limit: number): boolean => Number.isInteger(side) && side >= 1 && side <= limit;
  if (!isSide(shape.tokens, largest.tokens) || !isSide(shape.channels, largest.channels)) {
    throw new ShapeError(
      `Fourier block ${shape.tokens} × ${shape.channels}: ${mode} blocks of [${grid.tokens}, ${grid.hiddenSize}] have sides of ` +
        `1..${largest.tokens} and 1..${largest.channels}`,
    );
  }
  return new FourierBins(mode, shape, grid);
}

function weightTensor<Device extends DeviceName>(bins: FourierBins, device: Device, map: (weight: number) => number): Tensor<Device> {
  const { columns, split, grid } = bins;
  const weights = new Float32Array(grid.tokens * columns);
  for (let u = 0; u < grid.tokens; u++) {
    const { first, near, far } = bins.weights(u);
    const row = weights.subarray(u * columns, (u + 1) * columns);
    row.fill(map(near), 1, split).fill(map(far), split);
    row[0] = map(first);
  }
  return tensor(weights, [grid.tokens, columns], { device });
}
