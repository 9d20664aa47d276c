/**
 * Two uses of Fourier transforms: cleaning a noisy signal, and blurring a picture by the convolution theorem, with a gradient through the
 * transform. Run: node examples/fourier-filter.ts
 */
import { Generator, grad, irfft, irfft2, rfft, rfft2, tensor, tidy, type Tensor } from "@frugal/tensor-core";

// A second of sound at 8 kHz, 440 Hz and 1760 Hz, under noise; any length will do, not only powers of two.
const rate = 8000;
const random = new Generator(5);
const clean: Tensor = tensor(
  Float32Array.from({ length: rate }, (_, i) => Math.sin((2 * Math.PI * 440 * i) / rate) + 0.5 * Math.sin((2 * Math.PI * 1760 * i) / rate)),
);
const noisy: Tensor = tidy(() => clean.add(random.normal([rate])));

/** Keeps the frequencies whose share of the energy is large. */
function denoise(signal: Tensor): Tensor {
  return tidy(() => {
    const { real, imaginary } = rfft(signal);
    const energy = real.square().add(imaginary.square());
    const keep = energy.greater(energy.max().multiply(0.05)).cast("float32");
    return irfft({ real: real.multiply(keep), imaginary: imaginary.multiply(keep) }, { length: rate });
  });
}

const error = (signal: Tensor): Promise<number> => tidy(() => signal.subtract(clean).square().mean()).item();
const cleaned = denoise(noisy);
console.log(`mean squared error: noisy ${(await error(noisy)).toFixed(4)}, cleaned ${(await error(cleaned)).toFixed(4)}`);

// A disc, blurred: the product of two spectra is the spectrum of the convolution.
const size = 96;
const picture: Tensor = tensor(
  Float32Array.from({ length: size * size }, (_, i) => (Math.hypot((i % size) - 48, Math.floor(i / size) - 48) < 24 ? 1 : 0)),
  [size, size],
);
const wrapped = (i: number): number => Math.min(i, size - i);
const gaussian: Tensor = tidy(() => {
  const weights: Tensor = tensor(
    Float32Array.from({ length: size * size }, (_, i) => Math.exp(-(wrapped(i % size) ** 2 + wrapped(Math.floor(i / size)) ** 2) / 18)),
    [size, size],
  );
  return weights.divide(weights.sum());
});

function blur(image: Tensor): Tensor {
  return tidy(() => {
    const [a, b] = [rfft2(image), rfft2(gaussian)];
    const real = a.real.multiply(b.real).subtract(a.imaginary.multiply(b.imaginary));
    const imaginary = a.real.multiply(b.imaginary).add(a.imaginary.multiply(b.real));
    return irfft2({ real, imaginary }, { length: size });
  });
}

function draw(values: ArrayLike<number>): string {
  const shades = " .:-=+*#%@";
  return Array.from({ length: 12 }, (_, row) =>
    Array.from(
      { length: 24 },
      (_, column) => shades[Math.round(Math.min(1, Math.max(0, values[(row * 8 + 4) * size + column * 4 + 2]!)) * 9)],
    ).join(""),
  ).join("\n");
}

const blurred = blur(picture);
console.log(draw(await blurred.data()));

// Sharpening as optimization: which picture, blurred, gives this one? Gradients pass through the transforms.
let estimate: Tensor = blurred;
for (let step = 0; step < 60; step++) {
  estimate = tidy(() => estimate.subtract(grad((image: Tensor) => blur(image).subtract(blurred).square().sum())(estimate)));
}
const difference = (image: Tensor): Promise<number> => tidy(() => image.subtract(picture).square().mean()).item();
console.log(
  `mean squared error to the sharp picture: blurred ${(await difference(blurred)).toFixed(4)}, sharpened ${(await difference(estimate)).toFixed(4)}`,
);
