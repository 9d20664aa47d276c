import type { DeviceName } from "../backend/backend.ts";
import { ShapeError } from "../errors.ts";
import { QuantizedTensor, type QuantizedFormat } from "../tensor/quantized.ts";
import { formatShape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { tensor } from "./creation.ts";
import { data } from "./reading.ts";

/**
 * Rounds a weight matrix [outputs, inputs] to groups along its inputs: `int8` symmetric (scale = largest magnitude / 127), `uint4` from
 * minimum to maximum in 15 steps.
 * @throws ShapeError unless the matrix has two axes and groupSize is a multiple of 8 that divides its inputs
 */
export async function quantize<Device extends DeviceName>(
  weight: Tensor<Device>,
  { format, groupSize = 32 }: { readonly format: QuantizedFormat; readonly groupSize?: number },
): Promise<QuantizedTensor<Device>> {
  if (weight.rank !== 2) throw new ShapeError(`quantize: weights have two axes [outputs, inputs], got ${formatShape(weight.shape)}`);
  const [outputs, inputs] = weight.shape as [number, number];
  if (!Number.isInteger(groupSize) || groupSize < 8 || groupSize % 8 !== 0 || inputs % groupSize !== 0) {
    throw new ShapeError(
      `quantize: group size ${groupSize} must be a multiple of 8 that divides the ${inputs} inputs of ${formatShape(weight.shape)}`,
    );
  }
  const source = (await data(weight, "float32")) as Float32Array;
  const groups = source.length / groupSize;
  const scales = new Float32Array(groups);
  const minimums = format === "uint4" ? new Float32Array(groups) : undefined;
  const codes = new Int8Array(source.length);
  for (let group = 0; group < groups; group++) {
    const part = source.subarray(group * groupSize, (group + 1) * groupSize);
    const low = part.reduce((least, value) => Math.min(least, value), Infinity);
    const high = part.reduce((largest, value) => Math.max(largest, value), -Infinity);
    const base = minimums ? Math.fround(low) : 0;
    const scale = Math.fround(minimums ? (high - low) / 15 : Math.max(-low, high) / 127);
    scales[group] = scale;
    if (minimums) minimums[group] = base;
    // Scales at the edge of float32 are rounded coarsely: codes past the end are cut.
    const largest = minimums ? 15 : 127;
    for (let i = 0; i < groupSize; i++)
      codes[group * groupSize + i] = scale === 0 ? 0 : Math.max(-largest, Math.min(largest, Math.round((part[i]! - base) / scale)));
  }
  const device = weight.device;
  const shape = [outputs, inputs] as const;
  const groupShape = [outputs, inputs / groupSize];
  const values = format === "int8" ? tensor(codes, shape, { device }) : tensor(packNibbles(codes), [outputs, inputs / 2], { device });
  return new QuantizedTensor<Device>({
    format,
    shape,
    groupSize,
    values,
    scales: tensor(scales, groupShape, { device }),
    minimums: minimums && tensor(minimums, groupShape, { device }),
  });
}

function packNibbles(codes: Int8Array): Uint8Array {
  return Uint8Array.from({ length: codes.length / 2 }, (_, i) => codes[2 * i]! | (codes[2 * i + 1]! << 4));
}

/** The matrix a quantised weight stands for, as float32 [outputs, inputs]. */
export async function dequantize<Device extends DeviceName>(weight: QuantizedTensor<Device>): Promise<Tensor<Device>> {
  const [outputs, inputs] = weight.shape;
  const bytes = await data(weight.values);
  const scales = await data(weight.scales);
  const minimums = weight.minimums && (await data(weight.minimums));
  const result = Float32Array.from({ length: outputs * inputs }, (_, i) => {
    const group = Math.floor(i / weight.groupSize);
    const code = weight.format === "int8" ? bytes[i]! : (bytes[i >> 1]! >> (i & 1 ? 4 : 0)) & 15;
    return scales[group]! * code + (minimums?.[group] ?? 0);
  });
  return tensor(result, [outputs, inputs], { device: weight.device });
}
