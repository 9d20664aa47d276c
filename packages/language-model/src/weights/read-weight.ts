import { WeightFormatError } from "../errors.ts";
import { dequantize } from "./dequantize.ts";
import { toGroupedQuantization, type GroupedQuantization } from "./grouped-quantization.ts";
import { elementCount, type WeightDescriptor, type WeightSource } from "./weight-source.ts";

function descriptorOf(source: WeightSource, name: string): WeightDescriptor {
  const descriptor = source.descriptors.get(name);
  if (descriptor === undefined) throw new WeightFormatError("weights", `there is no tensor ${name}`);
  return descriptor;
}

function checkFinite(name: string, what: string, values: Float32Array): void {
  for (let index = 0; index < values.length; index++) {
    if (!Number.isFinite(values[index])) throw new WeightFormatError("weights", `${name}: ${what} ${index} is ${values[index]}`);
  }
}

/**
 * Reads one tensor as float32, row-major.
 * @throws WeightFormatError if it is not there or holds NaN or an infinity
 */
export async function readFloat32Weight(source: WeightSource, name: string): Promise<Float32Array> {
  const { encoding, shape } = descriptorOf(source, name);
  const values = dequantize(encoding, await source.read(name), elementCount(shape));
  checkFinite(name, "value", values);
  return values;
}

/**
 * Reads one tensor of block encoding as integer groups, without loss.
 * @throws WeightFormatError if it is not there, is plain floats, or has a scale that is NaN or infinite
 */
export async function readGroupedWeight(source: WeightSource, name: string): Promise<GroupedQuantization> {
  const { encoding, shape } = descriptorOf(source, name);
  const grouped = toGroupedQuantization(encoding, await source.read(name), shape);
  checkFinite(name, "scale", grouped.scales);
  if (grouped.minimums !== undefined) checkFinite(name, "minimum", grouped.minimums);
  return grouped;
}
