import type { CodecTable } from "../calibration/codec-table.ts";
import { CodecTargetError } from "../errors.ts";
import type { ByteReader } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import { CODEC_IDS } from "./codec-names.ts";
import { fromCoefficients, principalBasisOf, toCoefficients } from "./karhunen-loeve-transform.ts";
import type { RowCoder, RowTarget } from "./row-coder.ts";
import { appendValues, asStored, readValues } from "./scaled-values.ts";
import { decodedSquaredError, energyOf } from "./step-search-error.ts";

const LARGEST_INT8 = 127;

/**
 * "pca-float16" and "pca-int8": the first r coefficients in the principal basis, each in float16, or in int8 with a float16 scale for each
 * token. No entropy code: what the KLT codec is to be compared with. Layout: r (varint), scales where there are any, coefficients by token.
 * @throws CodecTableError for a table without a basis
 */
export function principalComponentsCoder(table: CodecTable, component: "float16" | "int8"): RowCoder {
  const name = `pca-${component}` as const;
  const basis = principalBasisOf(name, table);
  const { width } = basis;
  const valueBytes = component === "float16" ? 2 : 1;
  /** r, the exponent of float16 numbers, and scales. */
  const overhead = (tokens: number): number => 4 + (component === "int8" ? 2 * tokens : 0);

  const pack = (coefficients: Float32Array, tokens: number, count: number): Uint8Array => {
    const kept = new Float32Array(tokens * count);
    const columns = coefficients.length / tokens;
    for (let token = 0; token < tokens; token++) kept.set(coefficients.subarray(token * columns, token * columns + count), token * count);
    const writer = new ByteWriter();
    writer.varint(count);
    if (component === "float16") appendValues(name, writer, kept, "float16");
    else appendInt8(name, writer, kept, tokens);
    return writer.finish();
  };

  const coder: RowCoder = {
    name,
    id: CODEC_IDS[name],
    targets: ["bytes", "elements", "relativeError"],
    async encode(rows, target) {
      const [tokens] = rows.shape as readonly [number, number];
      if (target.kind === "relativeError") {
        const original = await rows.data("float32");
        const coefficients = await toCoefficients(rows, basis, width);
        const allowed = target.relativeError ** 2 * energyOf(original);
        // The dropped coefficients' energy says where to begin; rounding may ask for more.
        for (let count = fewestCoefficients(coefficients, tokens, allowed); ; count = Math.min(width, Math.ceil(count * 1.02) + 1)) {
          const bytes = pack(coefficients, tokens, count);
          const error = await decodedSquaredError(coder, bytes, original, tokens, rows.device);
          if (error <= allowed) return { bytes, elements: tokens * count };
          if (count === width) {
            const asked = target.relativeError;
            throw new CodecTargetError(`${name} codec: ${component} coefficients cannot promise a relative error of ${asked}`);
          }
        }
      }
      const count = Math.min(width, countFor(target, tokens));
      if (count < 1) throw new CodecTargetError(`${name} codec: too few bytes for ${tokens} tokens; it keeps a coefficient of each`);
      const bytes = pack(await toCoefficients(rows, basis, count), tokens, count);
      return { bytes, elements: tokens * count };
    },
    async decode(reader, tokens, hiddenSize, device) {
      if (hiddenSize !== width) reader.fail(`hiddenSize ${hiddenSize} is not the table's ${width}`);
      const count = reader.varint();
      if (count < 1 || count > width) reader.fail(`${count} coefficients of ${width}`);
      const least = valueBytes * tokens * count;
      if (least > reader.remaining) reader.fail(`${count} coefficients of ${tokens} tokens, but ${reader.remaining} bytes`);
      const values = component === "float16" ? readValues(reader, tokens * count, "float16") : readInt8(reader, tokens, count);
      return fromCoefficients(values, tokens, count, basis, device);
    },
  };

  function countFor(target: RowTarget, tokens: number): number {
    switch (target.kind) {
      case "bytes":
        return Math.floor((target.bytes - overhead(tokens)) / (valueBytes * tokens));
      case "elements":
        return Math.floor(target.elements / tokens);
      default:
        throw new CodecTargetError(`${name} codec: it cannot aim for ${target.kind}`);
    }
  }

  return coder;
}

/** How many leading coefficients leave at most `allowed` squared error behind; at least one. */
function fewestCoefficients(coefficients: Float32Array, tokens: number, allowed: number): number {
  const width = coefficients.length / tokens;
  let left = 0;
  for (let index = width - 1; index > 0; index--) {
    for (let token = 0; token < tokens; token++) left += coefficients[token * width + index]! ** 2;
    if (left > allowed) return index + 1;
  }
  return 1;
}

function appendInt8(codec: string, writer: ByteWriter, values: Float32Array, tokens: number): void {
  const count = values.length / tokens;
  const largest = new Float32Array(tokens);
  for (let place = 0; place < values.length; place++) {
    const token = Math.floor(place / count);
    largest[token] = Math.max(largest[token]!, Math.abs(values[place]!));
  }
  const scales = largest.map((magnitude) => magnitude / LARGEST_INT8);
  appendValues(codec, writer, scales, "float16");
  const stored = asStored(scales, "float16");
  const integers = new Int8Array(values.length);
  for (let place = 0; place < values.length; place++) {
    const scale = stored[Math.floor(place / count)]!;
    const rounded = scale > 0 ? Math.round(values[place]! / scale) : 0;
    integers[place] = Math.max(-LARGEST_INT8, Math.min(LARGEST_INT8, rounded));
  }
  writer.append(integers);
}

function readInt8(reader: ByteReader, tokens: number, count: number): Float32Array {
  const scales = readValues(reader, tokens, "float16");
  const bytes = reader.bytes(tokens * count);
  const values = new Float32Array(tokens * count);
  for (let place = 0; place < values.length; place++) values[place] = ((bytes[place]! << 24) >> 24) * scales[Math.floor(place / count)]!;
  return values;
}
