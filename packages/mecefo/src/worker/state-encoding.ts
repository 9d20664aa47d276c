import { crc32 } from "node:zlib";
import { z } from "zod";
import { StateTransferError } from "../errors.ts";
import type { ParameterState, StageState } from "./stage-state.ts";

/** Bytes of a stage's state in one frame. */
export const STATE_CHUNK_BYTES: number = 4 << 20;

/** A stage's state as it travels: a description, and weights and moments one after another. */
export interface EncodedState {
  readonly header: StateHeader;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Describes a state: what it is, so that a receiver knows before it allocates. */
export interface StateHeader {
  readonly stage: number;
  readonly step: number;
  readonly byteLength: number;
  /** CRC-32 of the bytes. */
  readonly checksum: number;
  readonly parameters: readonly { readonly name: string; readonly shape: readonly number[]; readonly steps: number }[];
}

const count = z.int().min(0);
const headerSchema: z.ZodType<StateHeader> = z.object({
  stage: count, step: count, byteLength: count, checksum: count,
  parameters: z.array(z.object({ name: z.string().max(256), shape: z.array(count).max(8), steps: count })).max(65536),
});

/** Weights, first and second moments of every parameter, in order. */
export function encodeState({ stage, step, parameters }: StageState): EncodedState {
  const numbers = parameters.reduce((sum, { weight }) => sum + 3 * weight.length, 0);
  const values = new Float32Array(numbers);
  let offset = 0;
  for (const { weight, firstMoment, secondMoment } of parameters) {
    for (const part of [weight, firstMoment, secondMoment]) {
      values.set(part, offset);
      offset += part.length;
    }
  }
  const bytes = new Uint8Array(values.buffer);
  const described = parameters.map(({ name, shape, steps }) => ({ name, shape, steps }));
  return { header: { stage, step, byteLength: bytes.byteLength, checksum: crc32(bytes), parameters: described }, bytes };
}

/** @throws StateTransferError for bytes that are no header */
export function parseStateHeader(bytes: Uint8Array): StateHeader {
  try {
    return headerSchema.parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
  } catch (cause) {
    throw new StateTransferError("what came is no description of a stage's state", { cause });
  }
}

/** @throws StateTransferError when the length or checksum is another, or the parameters described are not as long as the bytes */
export function decodeState(header: StateHeader, bytes: Uint8Array<ArrayBuffer>): StageState {
  const checksum = crc32(bytes);
  if (bytes.byteLength !== header.byteLength || checksum !== header.checksum) {
    const announced = `${header.byteLength} with ${header.checksum}`;
    throw new StateTransferError(`stage ${header.stage}: ${bytes.byteLength} bytes with checksum ${checksum}, announced were ${announced}`);
  }
  const described = header.parameters.reduce((sum, { shape }) => sum + 12 * shape.reduce((product, side) => product * side, 1), 0);
  if (described !== bytes.byteLength) {
    throw new StateTransferError(`stage ${header.stage}: parameters of ${described} bytes are described, ${bytes.byteLength} came`);
  }
  let offset = 0;
  const parameters = header.parameters.map(({ name, shape, steps }): ParameterState => {
    const size = shape.reduce((product, side) => product * side, 1);
    const from = bytes.byteOffset + offset;
    const [weight, firstMoment, secondMoment] = [0, 1, 2].map((i) => new Float32Array(bytes.buffer, from + 4 * i * size, size));
    offset += 12 * size;
    return { name, shape, steps, weight: weight!, firstMoment: firstMoment!, secondMoment: secondMoment! };
  });
  return { stage: header.stage, step: header.step, parameters };
}
