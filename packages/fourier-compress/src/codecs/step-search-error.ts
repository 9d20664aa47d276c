import type { DeviceName } from "@frugal/tensor-core";
import { ByteReader } from "./byte-reader.ts";
import type { RowCoder } from "./row-coder.ts";

/** Sum of squares. */
export function energyOf(values: Float32Array): number {
  let energy = 0;
  for (let index = 0; index < values.length; index++) energy += values[index]! * values[index]!;
  return energy;
}

/** ‖A′ - A‖² of what the coder makes of a body: what `SearchedRows.squaredErrorOf` is to return. */
export async function decodedSquaredError(
  coder: RowCoder, body: Uint8Array, original: Float32Array, tokens: number, device: DeviceName,
): Promise<number> {
  using decoded = await coder.decode(new ByteReader(coder.name, body), tokens, original.length / tokens, device);
  const values = await decoded.data("float32");
  let error = 0;
  for (let index = 0; index < values.length; index++) error += (values[index]! - original[index]!) ** 2;
  return error;
}
