import type { CodecTable } from "../calibration/codec-table.ts";
import { RowQuantizer } from "../entropy/row-quantizer.ts";
import { CodecTableError } from "../errors.ts";
import { CODEC_IDS } from "./codec-names.ts";
import { fromCoefficients, principalBasisOf, toCoefficients } from "./karhunen-loeve-transform.ts";
import type { RowCoder } from "./row-coder.ts";
import { decodedSquaredError, energyOf } from "./step-search-error.ts";
import { encodeToTarget } from "./step-search.ts";

/** Ends of the first bands of coefficients; from there on half-octaves. */
const FIRST_BANDS = [64, 128, 192, 256] as const;

/**
 * Bands of coefficients in which each token has a scale of its own. Tokens that the calibration text was full of need few coefficients,
 * others many: on TinyLlama's block 1 these scales take a third off the error, at 26 bits a token.
 */
function bandEndsOf(width: number): number[] {
  const ends: number[] = [...FIRST_BANDS];
  for (let end = 256; end < width; end *= 2) ends.push(end + end / 2, 2 * end);
  const first = ends.findIndex((end) => end >= width);
  return [...ends.slice(0, first), width];
}

/**
 * "klt": coefficients in the principal basis of the calibration rows (Karhunen-Loève transform), one step for all of them, entropy-coded
 * by scales that were fitted on other rows than the basis. The best codec per byte; its products take more time than all the rest.
 * @throws CodecTableError for a table without basis and scales
 */
export function karhunenLoeveCoder(table: CodecTable): RowCoder {
  const basis = principalBasisOf("klt", table);
  const { width } = basis;
  const { coefficientScale } = table;
  if (coefficientScale === undefined) {
    throw new CodecTableError("klt codec: the codec table has no coefficient scales; calibrate it with a basis");
  }
  const quantizer = new RowQuantizer(coefficientScale, bandEndsOf(width));
  const coder: RowCoder = {
    name: "klt",
    id: CODEC_IDS.klt,
    targets: ["bytes", "relativeError", "step"],
    async encode(rows, target) {
      const [tokens] = rows.shape as readonly [number, number];
      const coefficients = await toCoefficients(rows, basis, width);
      const original = target.kind === "relativeError" ? await rows.data("float32") : new Float32Array();
      const bytes = await encodeToTarget(
        {
          codec: "klt",
          quantizer,
          rows: quantizer.analyze(coefficients, tokens),
          energy: energyOf(original),
          squaredErrorOf: (body) => decodedSquaredError(coder, body, original, tokens, rows.device),
        },
        target,
      );
      return { bytes, elements: coefficients.length };
    },
    async decode(reader, tokens, hiddenSize, device) {
      if (hiddenSize !== width) reader.fail(`hiddenSize ${hiddenSize} is not the table's ${width}`);
      const { values, columns } = quantizer.read(reader, tokens);
      // The basis rows of coefficients that are zero in all tokens are left out of the product.
      const used = columns === width ? values : new Float32Array(tokens * columns);
      if (used !== values) {
        for (let token = 0; token < tokens; token++) used.set(values.subarray(token * width, token * width + columns), token * columns);
      }
      return fromCoefficients(used, tokens, columns, basis, device);
    },
  };
  return coder;
}
