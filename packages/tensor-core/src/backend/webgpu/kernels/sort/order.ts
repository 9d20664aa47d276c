import type { Dtype } from "../../../../tensor/dtype.ts";
import { u32, type UniformValue } from "../../program.ts";

/** WGSL for the order in which rows are sorted. */

/** A key with the column it comes from. All pairs of a row differ, so that any correct sort is stable. */
export const pairOrder = `
fn precedes(a: vec2<u32>, b: vec2<u32>) -> bool {
  return a.x < b.x || (a.x == b.x && a.y < b.y);
}`;

/**
 * `keyOf(bits)`: an unsigned integer in the order to sort by. Both zeros have one key, so that they keep their order; NaN has the largest,
 * in both directions. Dtype and direction are uniforms (see `keyUniforms`), because a pipeline for each would cost more than they do.
 */
export const keySource = `
fn keyOf(bits: u32) -> u32 {
  let magnitude = bits & 0x7fffffffu;
  let ordered = select(0x80000000u + magnitude, 0x80000000u - magnitude, bits >= 0x80000000u);
  let key = select(bits ^ 0x80000000u, ordered, uniforms.isFloat != 0u) ^ uniforms.turn;
  return select(key, 0xffffffffu, uniforms.isFloat != 0u && magnitude > 0x7f800000u);
}`;

export function keyUniforms(dtype: Dtype, descending: boolean): { readonly isFloat: UniformValue; readonly turn: UniformValue } {
  return { isFloat: u32(dtype === "int32" ? 0 : 1), turn: u32(descending ? 0xffffffff : 0) };
}

/** Stores a sorted pair in the results. The value is read anew: its key has lost the sign of zero and the bits of NaN. */
export const storeResult = `
fn storeResult(row: u32, place: u32, column: u32) {
  let slot = row * uniforms.kept + place;
  values[uniforms.valuesOffset + slot] = input[uniforms.inputOffset + row * uniforms.columns + column];
  indices[uniforms.indicesOffset + slot] = i32(column);
}`;
