import { concatenate, irfft, rfft, take, tensor, tidy, type DeviceName, type Tensor } from "@frugal/tensor-core";

/**
 * The first `count` coefficients of the orthonormal discrete cosine transform (DCT-II) along one axis of a matrix, any length n:
 * C[k] = s(k) Σ x[j] cos(πk(2j + 1) / 2n) with s(0) = √(1/n), otherwise √(2/n). One real Fourier transform of the points in the order
 * 0, 2, 4, …, 5, 3, 1 (Makhoul 1980).
 */
export function cosineTransform<Device extends DeviceName>(input: Tensor<Device>, axis: 0 | 1, count: number): Tensor<Device> {
  const length = input.shape[axis]!;
  return tidy(() => {
    const { real, imaginary } = rfft(take(input, evensFirst(length, input.device), axis), { axis });
    const { cosine, sine } = quarterTurns(length, axis, input.device, (k) => scaleOf(length, k));
    // With e^(-iθ)V[k] = C[k] - iC[n - k], up to scales, the half spectrum holds all coefficients.
    const low = real.multiply(cosine).add(imaginary.multiply(sine));
    const bins = low.shape[axis]!;
    if (count <= bins) return cut(low, axis, count);
    const mirrored = real.multiply(sine).subtract(imaginary.multiply(cosine));
    const backwards = indices(count - bins, (i) => length - bins - i, input.device);
    return concatenate([low, take(mirrored, backwards, axis)], axis);
  });
}

/** Inverse of `cosineTransform`: `length` points along one axis from their first coefficients, the others taken as zero. */
export function inverseCosineTransform<Device extends DeviceName>(
  coefficients: Tensor<Device>,
  axis: 0 | 1,
  length: number,
): Tensor<Device> {
  const { device } = coefficients;
  return tidy(() => {
    const bins = Math.floor(length / 2) + 1;
    // `take` gives zeros beyond the axis: for the coefficients that were cut off, and for C[n].
    const low = take(
      coefficients,
      indices(bins, (k) => k, device),
      axis,
    );
    const high = take(
      coefficients,
      indices(bins, (k) => length - k, device),
      axis,
    );
    // C[n - k] carries the scale of k >= 1, and is zero for k = 0.
    const { cosine, sine } = quarterTurns(length, axis, device, (k) => 1 / scaleOf(length, k));
    const real = low.multiply(cosine).add(high.multiply(sine));
    const imaginary = low.multiply(sine).subtract(high.multiply(cosine));
    const order = evenFirstOrder(length);
    const places = new Int32Array(length);
    order.forEach((from, to) => (places[from] = to));
    return take(irfft({ real, imaginary }, { axis, length }), tensor(places, [length], { device }), axis);
  });
}

function scaleOf(length: number, k: number): number {
  return Math.sqrt((k === 0 ? 1 : 2) / length);
}

/** The points 0, 2, 4, …, 5, 3, 1. */
function evenFirstOrder(length: number): Int32Array {
  const evens = Math.ceil(length / 2);
  return Int32Array.from({ length }, (_, i) => (i < evens ? 2 * i : 2 * (length - i) - 1));
}

function evensFirst<Device extends DeviceName>(length: number, device: Device): Tensor<Device> {
  return tensor(evenFirstOrder(length), [length], { device });
}

function indices<Device extends DeviceName>(count: number, map: (i: number) => number, device: Device): Tensor<Device> {
  return tensor(
    Int32Array.from({ length: count }, (_, i) => map(i)),
    [count],
    { device },
  );
}

/** scale(k) · cos and sin of πk / 2n for each frequency k of the half spectrum, along the axis. */
function quarterTurns<Device extends DeviceName>(
  length: number,
  axis: 0 | 1,
  device: Device,
  scale: (k: number) => number,
): { readonly cosine: Tensor<Device>; readonly sine: Tensor<Device> } {
  const bins = Math.floor(length / 2) + 1;
  const shape = axis === 0 ? [bins, 1] : [1, bins];
  const table = (of: (angle: number) => number): Tensor<Device> =>
    tensor(
      Float32Array.from({ length: bins }, (_, k) => scale(k) * of((Math.PI * k) / (2 * length))),
      shape,
      { device },
    );
  return { cosine: table(Math.cos), sine: table(Math.sin) };
}

function cut<Device extends DeviceName>(input: Tensor<Device>, axis: 0 | 1, count: number): Tensor<Device> {
  if (input.shape[axis] === count) return input;
  return axis === 0 ? input.slice([0, count]) : input.slice(null, [0, count]);
}
