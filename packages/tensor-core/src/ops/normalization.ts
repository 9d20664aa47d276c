import type { DeviceName } from "../backend/backend.ts";
import { ShapeError } from "../errors.ts";
import { record, recording } from "../autograd/tape.ts";
import { broadcastShapes, formatShape, sameShape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { tidy } from "../tensor/scope.ts";
import { allocateLike, broadcastView, checkDevices, release } from "./dispatch.ts";
import { asContiguous, asDtype, prepare } from "./materialize.ts";
import { scalarRaw, sumToShape } from "./raw.ts";
import { permute } from "./views.ts";
import { normalizeAxis } from "../tensor/shape.ts";

// Everything here computes in float32 and returns float32, also for float16.

/** Options of `softmax` and `logSoftmax`. */
export interface SoftmaxOptions<Device extends DeviceName = DeviceName> {
  /** Multiplies the input first. Default 1. */
  readonly scale?: number;
  /** Added to the scaled input, broadcast: 0 where visible, -Infinity where not. Gets a gradient if it is a parameter. */
  readonly mask?: Tensor<Device> | undefined;
}

function rowsOf(input: Tensor, columns: number): number {
  return columns === 0 ? 0 : input.size / columns;
}

function softmaxRows<Device extends DeviceName>(
  input: Tensor<Device>,
  axis: number,
  { scale = 1, mask }: SoftmaxOptions,
  logarithm: boolean,
): Tensor<Device> {
  const name = logarithm ? "logSoftmax" : "softmax";
  const position = normalizeAxis(name, axis, input.rank);
  if (position !== input.rank - 1) {
    if (mask !== undefined) throw new ShapeError(`${name}: a mask needs the last axis; permute the input first`);
    const order = input.shape.map((_, i) => i);
    [order[position], order[order.length - 1]] = [order.length - 1, position];
    return tidy(() => permute(softmaxRows(permute(input, order), -1, { scale }, logarithm), order));
  }
  if (mask !== undefined) {
    checkDevices(name, input, mask);
    if (!sameShape(broadcastShapes(name, input.shape, mask.shape), input.shape)) {
      throw new ShapeError(`${name}: mask ${formatShape(mask.shape)} does not broadcast to the input ${formatShape(input.shape)}`);
    }
  }
  const source = prepare(input);
  const addend = mask && asDtype(mask, "float32");
  const output = allocateLike(source);
  const columns = source.shape.at(-1)!;
  const rows = rowsOf(source, columns);
  const { kernels } = source.storage.backend;
  kernels.softmax({ input: source, output, rows, columns, scale, mask: addend && broadcastView(addend, source.shape), logarithm });
  if (recording.tape !== undefined) {
    const maskShape = addend?.shape;
    record(name, [source, addend], output, [output], ([gradient], [saved], needs) => {
      const result = allocateLike(saved!);
      const common = { gradient: asContiguous(gradient!), output: saved!, result, rows, columns, logarithm };
      if (!needs(1)) {
        kernels.softmaxGradient({ ...common, scale });
        return [result, undefined];
      }
      // The gradient before scaling is the mask's; scaling it again gives the input's.
      kernels.softmaxGradient({ ...common, scale: 1 });
      return [scalarRaw("multiply", result, scale), sumToShape(result, maskShape!)];
    });
  }
  release(source, input);
  release(addend, mask);
  return output;
}

/** exp(x) / Σ exp(x) along an axis, without overflow; a row masked out entirely gives zeros. */
export function softmax<Device extends DeviceName>(input: Tensor<Device>, axis: number = -1, options: SoftmaxOptions = {}): Tensor<Device> {
  return softmaxRows(input, axis, options, false);
}

/** log(softmax(x)) along an axis, without losing small probabilities. */
export function logSoftmax<Device extends DeviceName>(
  input: Tensor<Device>,
  axis: number = -1,
  options: SoftmaxOptions = {},
): Tensor<Device> {
  return softmaxRows(input, axis, options, true);
}

function checkFeatures(operation: string, input: Tensor, ...parameters: readonly (Tensor | undefined)[]): number {
  const columns = input.shape.at(-1);
  if (columns === undefined) throw new ShapeError(`${operation}: a scalar has no features to normalise`);
  for (const parameter of parameters) {
    if (parameter !== undefined && (parameter.rank !== 1 || parameter.shape[0] !== columns)) {
      throw new ShapeError(
        `${operation}: parameter ${formatShape(parameter.shape)} does not fit the ${columns} features of ${formatShape(input.shape)}`,
      );
    }
  }
  checkDevices(operation, input, ...parameters);
  return columns;
}

/** Weights of a normalisation. */
export interface NormOptions<Device extends DeviceName = DeviceName> {
  /** [features]; absent = 1. */
  readonly weight?: Tensor<Device> | undefined;
  /** Added to the variance. Default 1e-5. */
  readonly epsilon?: number;
}

/** x / sqrt(mean(x²) + ε) · weight over the last axis (Zhang & Sennrich 2019). @throws ShapeError */
export function rmsNorm<Device extends DeviceName>(input: Tensor<Device>, { weight, epsilon = 1e-5 }: NormOptions = {}): Tensor<Device> {
  const columns = checkFeatures("rmsNorm", input, weight);
  const source = prepare(input);
  const gain = weight && prepare(weight);
  const rows = rowsOf(source, columns);
  const output = allocateLike(source);
  const rstd = allocateLike(source, [rows]);
  const { kernels } = source.storage.backend;
  kernels.rmsNorm({ input: source, weight: gain, epsilon, output, rstd, rows, columns });
  if (recording.tape !== undefined) {
    const saved = gain ? [source, rstd, gain] : [source, rstd];
    record("rmsNorm", [source, gain], output, saved, ([gradient], [savedInput, savedRstd, savedWeight], needs) => {
      const inputGradient = allocateLike(savedInput!);
      const weightGradient = needs(1) ? allocateLike(savedWeight!) : undefined;
      kernels.rmsNormGradient({
        gradient: asContiguous(gradient!),
        input: savedInput!,
        weight: savedWeight,
        rstd: savedRstd!,
        rows,
        columns,
        inputGradient,
        weightGradient,
      });
      return [inputGradient, weightGradient];
    });
  }
  rstd.dispose();
  release(source, input);
  release(gain, weight);
  return output;
}

/** (x - mean) / sqrt(variance + ε) · weight + bias over the last axis (Ba et al. 2016). @throws ShapeError */
export function layerNorm<Device extends DeviceName>(
  input: Tensor<Device>,
  { weight, bias, epsilon = 1e-5 }: NormOptions & { readonly bias?: Tensor | undefined } = {},
): Tensor<Device> {
  const columns = checkFeatures("layerNorm", input, weight, bias);
  const source = prepare(input);
  const gain = weight && prepare(weight);
  const shift = bias && prepare(bias);
  const rows = rowsOf(source, columns);
  const output = allocateLike(source);
  const mean = allocateLike(source, [rows]);
  const rstd = allocateLike(source, [rows]);
  const { kernels } = source.storage.backend;
  kernels.layerNorm({ input: source, weight: gain, bias: shift, epsilon, output, mean, rstd, rows, columns });
  if (recording.tape !== undefined) {
    const saved = gain ? [source, mean, rstd, gain] : [source, mean, rstd];
    record("layerNorm", [source, gain, shift], output, saved, ([gradient], [savedInput, savedMean, savedRstd, savedWeight], needs) => {
      const inputGradient = allocateLike(savedInput!);
      const weightGradient = needs(1) ? allocateLike(savedInput!, [columns]) : undefined;
      const biasGradient = needs(2) ? allocateLike(savedInput!, [columns]) : undefined;
      kernels.layerNormGradient({
        gradient: asContiguous(gradient!),
        input: savedInput!,
        weight: savedWeight,
        mean: savedMean!,
        rstd: savedRstd!,
        rows,
        columns,
        inputGradient,
        weightGradient,
        biasGradient,
      });
      return [inputGradient, weightGradient, biasGradient];
    });
  }
  mean.dispose();
  rstd.dispose();
  release(source, input);
  release(gain, weight);
  release(shift, bias);
  return output;
}
