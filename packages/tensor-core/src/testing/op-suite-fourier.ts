import fc from "fast-check";
import { describe, it } from "vitest";
import type { DeviceName } from "../backend/backend.ts";
import * as fourier from "../ops/fourier.ts";
import { build, count, dft, reshapeHost, zip, type HostArray } from "./op-suite-host.ts";
import { checkOperation, checkProperty, layouts, type ViewLayout } from "./op-suite-check.ts";

export const fourierOperations: readonly string[] = ["fft", "ifft", "rfft", "irfft", "fft2", "ifft2", "rfft2", "irfft2"];

const strided: ViewLayout = { order: [2, 0, 3, 1], before: 1, step: 2, repeated: 0 };

function complexAlong(real: HostArray, imaginary: HostArray, axis: number, inverse: boolean): { real: HostArray; imaginary: HostArray } {
  const outputs = [new Array<number>(real.values.length), new Array<number>(real.values.length)] as const;
  const strides = real.shape.map((_, i) => count(real.shape.slice(i + 1)));
  build(real.shape.with(axis, 1), (index) => {
    const start = index.reduce((sum, i, place) => sum + i * strides[place]!, 0);
    const places = Array.from({ length: real.shape[axis]! }, (_, i) => start + i * strides[axis]!);
    const line = dft(
      places.map((place) => real.values[place]!),
      places.map((place) => imaginary.values[place]!),
      inverse,
    );
    places.forEach((place, i) => ([outputs[0][place], outputs[1][place]] = [line.real[i]!, line.imaginary[i]!]));
    return 0;
  });
  return { real: { shape: real.shape, values: outputs[0] }, imaginary: { shape: real.shape, values: outputs[1] } };
}

/** Fourier transforms against their definition. */
export function fourierSuite(device: DeviceName): void {
  describe("Fourier transforms", () => {
    const length = fc.constantFrom(1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14, 15, 16, 17, 21, 32);
    const drawn = fc.record({
      lead: fc.constantFrom<number[]>([], [2], [3, 1], [0]),
      rows: fc.constantFrom(1, 2, 3, 4, 6),
      length,
      layout: layouts,
      norm: fc.constantFrom("backward" as const, "ortho" as const, "forward" as const),
    });
    const factor = (norm: "backward" | "ortho" | "forward", points: number, inverse: boolean): number =>
      norm === "ortho" ? points ** -0.5 : (norm === "backward") === inverse ? 1 / points : 1;
    const scaled = (array: HostArray, by: number): HostArray => zip((value) => value * by, array);

    it("fft and ifft along any axis", async () => {
      await checkProperty(
        device,
        fc.record({ drawn, axis: fc.integer({ min: -2, max: -1 }) }),
        (input, { drawn: { lead, rows, length, layout, norm }, axis }) => {
          const shape = axis === -1 ? [...lead, rows, length] : [...lead, length, rows];
          const re = input("float32", shape, { layout });
          const im = input("float32", shape, { layout: strided });
          const place = shape.length + axis;
          const forward = complexAlong(re.host, im.host, place, false);
          const backward = complexAlong(re.host, im.host, place, true);
          const value = { real: re.tensor, imaginary: im.tensor };
          return {
            run: () => [...Object.values(fourier.fft(value, { axis, norm })), ...Object.values(fourier.ifft(value, { axis, norm }))],
            expected: [forward.real, forward.imaginary]
              .map((part) => scaled(part, factor(norm, length, false)))
              .concat([backward.real, backward.imaginary].map((part) => scaled(part, factor(norm, length, true)))),
            dtype: Array.from({ length: 4 }, () => "float32" as const),
            tolerance: 20,
          };
        },
        60,
      );
    });

    it("rfft and irfft along any axis", async () => {
      await checkProperty(
        device,
        fc.record({ drawn, axis: fc.integer({ min: -2, max: -1 }) }),
        (input, { drawn: { lead, rows, length, layout, norm }, axis }) => {
          const shape = axis === -1 ? [...lead, rows, length] : [...lead, length, rows];
          const place = shape.length + axis;
          const bins = Math.floor(length / 2) + 1;
          const x = input("float32", shape, { layout });
          const full = complexAlong(
            x.host,
            build(shape, () => 0),
            place,
            false,
          );
          const half = (array: HostArray): HostArray =>
            scaled(
              build(shape.with(place, bins), (index) => array.values[index.reduce((at, i, axis) => at * shape[axis]! + i, 0)]!),
              factor(norm, length, false),
            );
          return {
            run: () => {
              const spectrum = fourier.rfft(x.tensor, { axis, norm });
              return [spectrum.real, spectrum.imaginary, fourier.irfft(spectrum, { axis, norm, length })];
            },
            expected: [half(full.real), half(full.imaginary), x.host],
            dtype: ["float32", "float32", "float32"],
            tolerance: 20,
          };
        },
        60,
      );
    });

    it("ignore the imaginary parts that a real signal cannot have", async () => {
      await checkOperation(device, (input) => {
        const re = input("float32", [3], { value: (i) => i + 1 });
        const im = input("float32", [3], { value: (i) => [5, 1, 7][i]! });
        // n = 4: (1 + 2(2 cos(πk/2) - sin(πk/2)) + 3 (-1)^k) / 4
        return {
          run: () => fourier.irfft({ real: re.tensor, imaginary: im.tensor }),
          expected: {
            shape: [4],
            values: [0, 1, 2, 3].map((k) => (1 + 2 * (2 * Math.cos((Math.PI * k) / 2) - Math.sin((Math.PI * k) / 2)) + 3 * (-1) ** k) / 4),
          },
        };
      });
    });

    it("fft2, ifft2, rfft2 and irfft2", async () => {
      await checkProperty(
        device,
        drawn,
        (input, { lead, rows, length, layout, norm }) => {
          const shape = [...lead, rows, length];
          const bins = Math.floor(length / 2) + 1;
          const re = input("float32", shape, { layout });
          const im = input("float32", shape, { layout: strided });
          const both = (real: HostArray, imaginary: HostArray, inverse: boolean): { real: HostArray; imaginary: HostArray } => {
            const lines = complexAlong(real, imaginary, shape.length - 1, inverse);
            const planes = complexAlong(lines.real, lines.imaginary, shape.length - 2, inverse);
            const by = factor(norm, length, inverse) * factor(norm, rows, inverse);
            return { real: scaled(planes.real, by), imaginary: scaled(planes.imaginary, by) };
          };
          const forward = both(re.host, im.host, false);
          const backward = both(re.host, im.host, true);
          const ofReal = both(
            re.host,
            build(shape, () => 0),
            false,
          );
          const half = (array: HostArray): HostArray =>
            build(shape.with(-1, bins), (index) => array.values[index.reduce((at, i, axis) => at * shape[axis]! + i, 0)]!);
          const value = { real: re.tensor, imaginary: im.tensor };
          return {
            run: () => {
              const spectrum = fourier.rfft2(re.tensor, { norm });
              return [
                ...Object.values(fourier.fft2(value, { norm })),
                ...Object.values(fourier.ifft2(value, { norm })),
                ...Object.values(spectrum),
                fourier.irfft2(spectrum, { norm, length }),
              ];
            },
            expected: [
              forward.real,
              forward.imaginary,
              backward.real,
              backward.imaginary,
              half(ofReal.real),
              half(ofReal.imaginary),
              reshapeHost(re.host, shape),
            ],
            dtype: Array.from({ length: 7 }, () => "float32" as const),
            tolerance: 30,
          };
        },
        40,
      );
    });
  });
}
