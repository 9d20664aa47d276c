import { tensor, type DeviceName, type Tensor } from "@frugal/tensor-core";
import { CodecTargetError } from "../errors.ts";
import type { ByteReader } from "./byte-reader.ts";
import { fromBfloat16Bits, toBfloat16Bits } from "./bfloat.ts";
import { CODEC_IDS } from "./codec-names.ts";
import type { RowCoder } from "./row-coder.ts";

/** Number formats of `rawCoder`. */
export type RawFormat = "float32" | "float16" | "bfloat16";

/** Exponent bits: all set in infinities and NaN. */
const EXPONENT_BITS: Readonly<Record<RawFormat, number>> = { float32: 0x7f800000, float16: 0x7c00, bfloat16: 0x7f80 };

/**
 * Rows as they are, in float32 (exact), float16 (refuses what rounds to infinity, beyond 65504) or bfloat16 (float32's range, 8 bits of
 * precision). The rate is fixed, so there is no target.
 */
export function rawCoder(format: RawFormat): RowCoder {
  const itemBytes = format === "float32" ? 4 : 2;
  return {
    name: format,
    id: CODEC_IDS[format],
    targets: [],
    async encode(rows) {
      const bits = await encodeBits(rows, format);
      return { bytes: new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength), elements: rows.size };
    },
    async decode(reader: ByteReader, tokens: number, hiddenSize: number, device: DeviceName) {
      const count = tokens * hiddenSize;
      const bits = itemBytes === 4 ? reader.float32Array(count) : reader.uint16Array(count);
      const broken = firstBroken(bits, format);
      if (broken >= 0) reader.fail(`number ${broken} is not finite`);
      return toRows(bits, format, tokens, hiddenSize, device);
    },
  };
}

async function encodeBits(rows: Tensor, format: RawFormat): Promise<Float32Array | Uint16Array> {
  if (format === "float32") return rows.data("float32");
  if (format === "float16") {
    using half = rows.cast("float16");
    return refuseBroken(await half.data("float16"), format, rows);
  }
  return refuseBroken(toBfloat16Bits(await rows.data("float32")), format, rows);
}

function refuseBroken(bits: Uint16Array, format: RawFormat, rows: Tensor): Uint16Array {
  const broken = firstBroken(bits, format);
  if (broken < 0) return bits;
  const hiddenSize = rows.shape[1]!;
  throw new CodecTargetError(
    `${format} codec: row ${Math.floor(broken / hiddenSize)}, channel ${broken % hiddenSize} is not a finite ${format}` +
      `${format === "float16" ? " (at most 65504)" : ""}; use float32 for this model`,
  );
}

/** Place of the first number that is infinite or NaN, or -1. */
function firstBroken(bits: Float32Array | Uint16Array, format: RawFormat): number {
  const words = bits instanceof Float32Array ? new Uint32Array(bits.buffer, bits.byteOffset, bits.length) : bits;
  const exponent = EXPONENT_BITS[format];
  for (let i = 0; i < words.length; i++) if ((words[i]! & exponent) === exponent) return i;
  return -1;
}

function toRows(bits: Float32Array | Uint16Array, format: RawFormat, tokens: number, hiddenSize: number, device: DeviceName): Tensor {
  const shape = [tokens, hiddenSize];
  if (bits instanceof Float32Array) return tensor(bits, shape, { device });
  if (format === "bfloat16") return tensor(fromBfloat16Bits(bits), shape, { device });
  using half = tensor(bits, shape, { device });
  return half.cast("float32");
}
