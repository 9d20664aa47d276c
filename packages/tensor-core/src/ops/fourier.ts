import type { Backend, DeviceName } from "../backend/backend.ts";
import { ShapeError } from "../errors.ts";
import { record, recording } from "../autograd/tape.ts";
import { formatShape, normalizeAxis, sameShape, sizesAround, type Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { tidy } from "../tensor/scope.ts";
import { allocateLike, checkDevices, release } from "./dispatch.ts";
import { asContiguous, prepare } from "./materialize.ts";
import { binaryRaw } from "./raw.ts";
import { tensor } from "./creation.ts";

/** A complex tensor as two real ones of equal shape. Both are ordinary tensors: differentiable, usable in any operation. */
export interface ComplexTensor<Device extends DeviceName = DeviceName> {
  readonly real: Tensor<Device>;
  readonly imaginary: Tensor<Device>;
}

/** Where the factor 1/n goes, as in NumPy: "backward" (default) scales inverse transforms, "forward" forward ones, "ortho" both by 1/√n. */
export type FourierNorm = "backward" | "ortho" | "forward";

/** Options of one-dimensional transforms. */
export interface FourierOptions {
  /** Default: the last axis. */
  readonly axis?: number;
  readonly norm?: FourierNorm;
}

function scaleOf(length: number, inverse: boolean, norm: FourierNorm): number {
  if (norm === "ortho") return 1 / Math.sqrt(length);
  return (norm === "backward") === inverse ? 1 / length : 1;
}

function checkLength(operation: string, length: number, shape: Shape): void {
  if (!Number.isInteger(length) || length < 1)
    throw new ShapeError(`${operation}: length ${length} of ${formatShape(shape)}; transforms need at least one point`);
}

function complexTransform<Device extends DeviceName>(
  operation: string,
  input: ComplexTensor<Device>,
  inverse: boolean,
  { axis = -1, norm = "backward" }: FourierOptions,
): ComplexTensor<Device> {
  if (!sameShape(input.real.shape, input.imaginary.shape)) {
    throw new ShapeError(
      `${operation}: real part ${formatShape(input.real.shape)} and imaginary part ${formatShape(input.imaginary.shape)} differ`,
    );
  }
  checkDevices(operation, input.real, input.imaginary);
  const position = normalizeAxis(operation, axis, input.real.rank);
  const length = input.real.shape[position]!;
  checkLength(operation, length, input.real.shape);
  const scale = scaleOf(length, inverse, norm);
  const { outer, inner } = sizesAround(input.real.shape, position);
  const dimensions = { outer, inner, length, scale };
  const { kernels } = input.real.storage.backend;
  const transform = (real: Tensor<Device>, imaginary: Tensor<Device>, direction: boolean): ComplexTensor<Device> => {
    const output = { real: allocateLike(real), imaginary: allocateLike(real) };
    kernels.fft({
      inputReal: real,
      inputImaginary: imaginary,
      outputReal: output.real,
      outputImaginary: output.imaginary,
      ...dimensions,
      inverse: direction,
    });
    return output;
  };
  const [real, imaginary] = [prepare(input.real), prepare(input.imaginary)];
  const output = transform(real, imaginary, inverse);
  if (recording.tape !== undefined) {
    // The transform is its own transpose up to conjugation: gradients go through the opposite direction with the same scale.
    record(operation, [real, imaginary], [output.real, output.imaginary], [], ([realGradient, imaginaryGradient]) => {
      const zero = (like: Tensor): Tensor => binaryRaw("subtract", like, like);
      const g = asContiguous(realGradient ?? zero(imaginaryGradient!)) as Tensor<Device>;
      const h = asContiguous(imaginaryGradient ?? zero(realGradient!)) as Tensor<Device>;
      const back = transform(g, h, !inverse);
      return [back.real, back.imaginary];
    });
  }
  release(real, input.real);
  release(imaginary, input.imaginary);
  return output;
}

/** Discrete Fourier transform Σ x[k] e^(-2πi jk/n) along one axis, any length. @throws ShapeError */
export function fft<Device extends DeviceName>(input: ComplexTensor<Device>, options: FourierOptions = {}): ComplexTensor<Device> {
  return complexTransform("fft", input, false, options);
}

/** Inverse of `fft`. @throws ShapeError */
export function ifft<Device extends DeviceName>(input: ComplexTensor<Device>, options: FourierOptions = {}): ComplexTensor<Device> {
  return complexTransform("ifft", input, true, options);
}

/**
 * 1 at frequency 0 (and n/2 for even n), `interior` between, broadcastable along an axis with `rankAfter` axes behind it: what halving the
 * spectrum of a real signal costs its gradient.
 */
function frequencyWeights(backend: Backend, length: number, rankAfter: number, interior: number): Tensor {
  const bins = Math.floor(length / 2) + 1;
  const weights = new Float32Array(bins).fill(interior);
  weights[0] = 1;
  if (length % 2 === 0) weights[bins - 1] = 1;
  return tensor(weights, [bins, ...Array.from({ length: rankAfter }, () => 1)], { device: backend.name });
}

/** Transform of a real signal: the floor(n/2) + 1 non-negative frequencies along one axis. @throws ShapeError */
export function rfft<Device extends DeviceName>(
  input: Tensor<Device>,
  { axis = -1, norm = "backward" }: FourierOptions = {},
): ComplexTensor<Device> {
  const position = normalizeAxis("rfft", axis, input.rank);
  const length = input.shape[position]!;
  checkLength("rfft", length, input.shape);
  const scale = scaleOf(length, false, norm);
  const source = prepare(input);
  const shape = source.shape.with(position, Math.floor(length / 2) + 1);
  const output = { real: allocateLike(source, shape), imaginary: allocateLike(source, shape) };
  const { outer, inner } = sizesAround(source.shape, position);
  const dimensions = { outer, inner, length, scale };
  const { backend } = source.storage;
  backend.kernels.realFft({ input: source, outputReal: output.real, outputImaginary: output.imaginary, ...dimensions });
  if (recording.tape !== undefined) {
    const original = source.shape;
    record("rfft", [source], [output.real, output.imaginary], [], ([realGradient, imaginaryGradient]) => {
      const weights = frequencyWeights(backend, length, original.length - 1 - position, 0.5);
      const part = (gradient: Tensor | undefined, other: Tensor | undefined): Tensor =>
        gradient ? binaryRaw("multiply", gradient, weights) : binaryRaw("subtract", other!, other!);
      const result = allocateLike(realGradient ?? imaginaryGradient!, original);
      backend.kernels.inverseRealFft({
        inputReal: part(realGradient, imaginaryGradient),
        inputImaginary: part(imaginaryGradient, realGradient),
        output: result,
        ...dimensions,
      });
      return [result];
    });
  }
  release(source, input);
  return output;
}

/**
 * Inverse of `rfft`: a real signal of `length` points (default 2 · (bins - 1)) from its non-negative frequencies.
 * @throws ShapeError when the number of bins is not floor(length / 2) + 1
 */
export function irfft<Device extends DeviceName>(
  input: ComplexTensor<Device>,
  { axis = -1, norm = "backward", length }: FourierOptions & { readonly length?: number } = {},
): Tensor<Device> {
  if (!sameShape(input.real.shape, input.imaginary.shape)) {
    throw new ShapeError(
      `irfft: real part ${formatShape(input.real.shape)} and imaginary part ${formatShape(input.imaginary.shape)} differ`,
    );
  }
  checkDevices("irfft", input.real, input.imaginary);
  const position = normalizeAxis("irfft", axis, input.real.rank);
  const bins = input.real.shape[position]!;
  const points = length ?? Math.max(1, 2 * (bins - 1));
  checkLength("irfft", points, input.real.shape);
  if (Math.floor(points / 2) + 1 !== bins) {
    throw new ShapeError(
      `irfft: ${points} points have ${Math.floor(points / 2) + 1} frequencies, but axis ${axis} of ${formatShape(input.real.shape)} has ${bins}`,
    );
  }
  const [real, imaginary] = [prepare(input.real), prepare(input.imaginary)];
  const scale = scaleOf(points, true, norm);
  const output = allocateLike(real, real.shape.with(position, points));
  const { outer, inner } = sizesAround(real.shape, position);
  const dimensions = { outer, inner, length: points, scale };
  const { backend } = real.storage;
  backend.kernels.inverseRealFft({ inputReal: real, inputImaginary: imaginary, output, ...dimensions });
  if (recording.tape !== undefined) {
    const spectrum = real.shape;
    record("irfft", [real, imaginary], output, [], ([gradient]) => {
      const source = asContiguous(gradient!);
      const outputReal = allocateLike(source, spectrum);
      const outputImaginary = allocateLike(source, spectrum);
      backend.kernels.realFft({ input: source, outputReal, outputImaginary, ...dimensions });
      const weights = frequencyWeights(backend, points, spectrum.length - 1 - position, 2);
      return [binaryRaw("multiply", outputReal, weights), binaryRaw("multiply", outputImaginary, weights)];
    });
  }
  release(real, input.real);
  release(imaginary, input.imaginary);
  return output;
}

/** `fft` over the last two axes. */
export function fft2<Device extends DeviceName>(
  input: ComplexTensor<Device>,
  { norm }: { readonly norm?: FourierNorm } = {},
): ComplexTensor<Device> {
  const options = norm ? { norm } : {};
  return tidy(() => fft(fft(input, options), { ...options, axis: -2 }));
}

/** Inverse of `fft2`. */
export function ifft2<Device extends DeviceName>(
  input: ComplexTensor<Device>,
  { norm }: { readonly norm?: FourierNorm } = {},
): ComplexTensor<Device> {
  const options = norm ? { norm } : {};
  return tidy(() => ifft(ifft(input, { ...options, axis: -2 }), options));
}

/** Transform of a real matrix over the last two axes: [..., rows, floor(columns / 2) + 1]. */
export function rfft2<Device extends DeviceName>(
  input: Tensor<Device>,
  { norm }: { readonly norm?: FourierNorm } = {},
): ComplexTensor<Device> {
  const options = norm ? { norm } : {};
  return tidy(() => fft(rfft(input, options), { ...options, axis: -2 }));
}

/** Inverse of `rfft2`; `length` is the number of columns (default even). */
export function irfft2<Device extends DeviceName>(
  input: ComplexTensor<Device>,
  { norm, length }: { readonly norm?: FourierNorm; readonly length?: number } = {},
): Tensor<Device> {
  const options = norm ? { norm } : {};
  return tidy(() => irfft(ifft(input, { ...options, axis: -2 }), length === undefined ? options : { ...options, length }));
}
