import type { DeviceName } from "../backend/backend.ts";
import { ShapeError } from "../errors.ts";
import { record, recording } from "../autograd/tape.ts";
import { promoteDtypes } from "../tensor/dtype.ts";
import { tidy } from "../tensor/scope.ts";
import { formatShape, normalizeAxis, sameShape, type Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { allocateLike, checkDevices } from "./dispatch.ts";
import { asDtype, fillLike } from "./materialize.ts";
import { broadcastTo, disjointSlices, expandDims, reshape, slice, type SliceIndex } from "./views.ts";

/** Tensors one after another along an existing axis; dtypes meet as in arithmetic. @throws ShapeError when other axes differ */
export function concatenate<Device extends DeviceName>(inputs: readonly Tensor<Device>[], axis: number = 0): Tensor<Device> {
  const first = inputs[0];
  if (first === undefined) throw new ShapeError("concatenate: give at least one tensor");
  checkDevices("concatenate", first, ...inputs);
  const position = normalizeAxis("concatenate", axis, first.rank);
  for (const input of inputs) {
    if (input.rank !== first.rank || input.shape.some((length, i) => i !== position && length !== first.shape[i])) {
      throw new ShapeError(`concatenate: ${formatShape(first.shape)} and ${formatShape(input.shape)} differ outside axis ${position}`);
    }
  }
  const lengths = inputs.map((input) => input.shape[position]!);
  const dtype = inputs.map((input) => input.dtype).reduce(promoteDtypes);
  const dtypes = inputs.map((input) => input.dtype);
  const output = allocateLike(
    first,
    first.shape.with(
      position,
      lengths.reduce((total, length) => total + length, 0),
    ),
    dtype,
  );
  let start = 0;
  inputs.forEach((input) => {
    const part = { buffer: output.buffer, dtype, shape: input.shape, strides: output.strides, offset: start * output.strides[position]! };
    if (input.size > 0) output.storage.backend.kernels.copy({ input, output: part });
    start += input.shape[position]!;
  });
  if (recording.tape !== undefined) {
    record("concatenate", inputs, output, [], ([gradient], _, needs) => {
      let from = 0;
      return lengths.map((length, i) => {
        const index: SliceIndex[] = Array.from({ length: position }, () => null);
        const part = needs(i) ? asDtype(slice(gradient!, ...index, [from, from + length]), dtypes[i]!) : undefined;
        from += length;
        return part;
      });
    });
  }
  return output;
}

/** Tensors of one shape along a new axis. @throws ShapeError */
export function stack<Device extends DeviceName>(inputs: readonly Tensor<Device>[], axis: number = 0): Tensor<Device> {
  const first = inputs[0];
  if (first === undefined) throw new ShapeError("stack: give at least one tensor");
  for (const input of inputs) {
    if (!sameShape(input.shape, first.shape))
      throw new ShapeError(`stack: ${formatShape(first.shape)} and ${formatShape(input.shape)} differ`);
  }
  return tidy(() =>
    concatenate(
      inputs.map((input) => expandDims(input, axis)),
      axis,
    ),
  );
}

/** The tensors along an axis, without it: the opposite of `stack`. Views. */
export function unstack<Device extends DeviceName>(input: Tensor<Device>, axis: number = 0): Tensor<Device>[] {
  const position = normalizeAxis("unstack", axis, input.rank);
  const whole: SliceIndex[] = Array.from({ length: position }, () => null);
  return disjointSlices(
    "unstack",
    input,
    Array.from({ length: input.shape[position]! }, (_, i) => [...whole, i]),
  );
}

/** Adds `value` around each axis: `amounts[axis] = [before, after]`. @throws ShapeError */
export function pad<Device extends DeviceName>(
  input: Tensor<Device>,
  amounts: readonly (readonly [before: number, after: number])[],
  value: number = 0,
): Tensor<Device> {
  if (amounts.length !== input.rank || amounts.flat().some((amount) => !Number.isInteger(amount) || amount < 0)) {
    throw new ShapeError(
      `pad: give [before, after] >= 0 for each of the ${input.rank} axes of ${formatShape(input.shape)}, got ${JSON.stringify(amounts)}`,
    );
  }
  const shape: Shape = input.shape.map((length, axis) => length + amounts[axis]![0] + amounts[axis]![1]);
  const output = fillLike<Device>({ shape, dtype: input.dtype, backend: input.storage.backend }, value);
  const offset = amounts.reduce((total, [before], axis) => total + before * output.strides[axis]!, 0);
  if (input.size > 0) {
    output.storage.backend.kernels.copy({
      input,
      output: { buffer: output.buffer, dtype: output.dtype, shape: input.shape, strides: output.strides, offset },
    });
  }
  if (recording.tape !== undefined) {
    const inner = input.shape.map((length, axis): SliceIndex => [amounts[axis]![0], amounts[axis]![0] + length]);
    record("pad", [input], output, [], ([gradient]) => [slice(gradient!, ...inner)]);
  }
  return output;
}

/** The whole tensor repeated `repetitions[axis]` times along each axis (NumPy's tile). @throws ShapeError */
export function tile<Device extends DeviceName>(input: Tensor<Device>, repetitions: readonly number[]): Tensor<Device> {
  if (repetitions.length !== input.rank || repetitions.some((count) => !Number.isInteger(count) || count < 0)) {
    throw new ShapeError(
      `tile: give one count >= 0 for each of the ${input.rank} axes of ${formatShape(input.shape)}, got [${repetitions.join(", ")}]`,
    );
  }
  // [a, b] → [1, a, 1, b] → [r, a, s, b] → [r·a, s·b]
  return tidy(() => {
    const spaced = reshape(
      input,
      input.shape.flatMap((length) => [1, length]),
    );
    const repeated = broadcastTo(
      spaced,
      input.shape.flatMap((length, axis) => [repetitions[axis]!, length]),
    );
    return reshape(
      repeated,
      input.shape.map((length, axis) => length * repetitions[axis]!),
    );
  });
}

/** Each element repeated `count` times along an axis (PyTorch's repeat_interleave). */
export function repeat<Device extends DeviceName>(input: Tensor<Device>, count: number, axis: number = 0): Tensor<Device> {
  const position = normalizeAxis("repeat", axis, input.rank);
  if (!Number.isInteger(count) || count < 0) throw new ShapeError(`repeat: count ${count} must be a whole number >= 0`);
  return tidy(() => {
    const wide = broadcastTo(expandDims(input, position + 1), input.shape.toSpliced(position + 1, 0, count));
    return reshape(wide, input.shape.with(position, input.shape[position]! * count));
  });
}
