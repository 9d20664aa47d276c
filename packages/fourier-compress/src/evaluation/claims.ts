import { loadModel, openStories15m, type DecoderModel, type WeightPrecision } from "@frugal/language-model";
import { calibrateModel } from "../calibration/calibrate.ts";
import type { CodecTable } from "../calibration/codec-table.ts";
import { SettingsError } from "../errors.ts";
import { readActivationsFolder, type ActivationSet } from "./activations-folder.ts";
import { calibrateActivations } from "./calibrate-activations.ts";
import { comparePerplexity } from "./perplexity-comparison.ts";
import { compareReconstruction } from "./reconstruction-comparison.ts";
import { readTokenSequences, type TokenSequences } from "./token-sequences.ts";

/** Relative errors on a folder of activations, calibrated once. */
export class ActivationClaims {
  readonly set: ActivationSet;
  readonly table: CodecTable;

  constructor(set: ActivationSet, table: CodecTable) {
    this.set = set;
    this.table = table;
  }

  /** Reads a folder (`readActivationsFolder`) and calibrates on its calibration rows. @throws EvaluationDataError */
  static async open(folder: string, options: { readonly block?: number } = {}): Promise<ActivationClaims> {
    const set = await readActivationsFolder(folder, options);
    return new ActivationClaims(set, await calibrateActivations(set));
  }

  /**
   * ‖A′ - A‖ / ‖A‖ on the test prompts without begin rows, coded bytes against float16 at `ratio`.
   * @param codec name of `comparedCodec`, as "klt" or "fourier-hermitian:elements"
   * @throws SettingsError when the codec cannot do it
   */
  async relativeError(codec: string, ratio: number): Promise<number> {
    const { results } = await compareReconstruction(this.set, this.table, { codecs: [codec], ratios: [ratio] });
    const [row] = results;
    if (row?.result === undefined) throw new SettingsError(row?.unavailable ?? `${codec} gave no result`);
    const { relativeError, elementRatio, byteRatioFloat16 } = row.result;
    const reached = codec.includes(":elements") ? elementRatio : byteRatioFloat16;
    if (reached < ratio) throw new SettingsError(`${codec} came to ${reached}x, not ${ratio}x: rows sent exactly come on top`);
    return relativeError;
  }
}

/** Options of `Stories15mClaims.open`. */
export interface Stories15mOptions {
  /** Default 1. */
  readonly splitBlock?: number;
  readonly precision?: WeightPrecision;
}

/** Perplexity rises of stories15M, calibrated and measured on sampled stories. */
export class Stories15mClaims {
  readonly model: DecoderModel;
  readonly table: CodecTable;
  readonly sequences: TokenSequences;
  readonly #splitBlock: number;

  private constructor(model: DecoderModel, table: CodecTable, sequences: TokenSequences, splitBlock: number) {
    this.model = model;
    this.table = table;
    this.sequences = sequences;
    this.#splitBlock = splitBlock;
  }

  /** @param sequencesFile of `readTokenSequences`, as sampled-stories.json @throws EvaluationDataError, MissingResourceError */
  static async open(sequencesFile: string, { splitBlock = 1, precision = "float32" }: Stories15mOptions = {}): Promise<Stories15mClaims> {
    const sequences = await readTokenSequences(sequencesFile);
    const source = await openStories15m();
    try {
      const model = await loadModel(source, { precision });
      const table = await calibrateModel(model, sequences.calibration, { model: "stories15M", splitBlock, source });
      return new Stories15mClaims(model, table, sequences, splitBlock);
    } finally {
      await source.close();
    }
  }

  /** Perplexity through the codec over perplexity without, - 1, on the test sequences. @throws SettingsError when the codec cannot do it */
  async perplexityRise(codec: string, ratio: number): Promise<number> {
    const { results } = await comparePerplexity(this.model, this.#splitBlock, this.sequences.test, {
      table: this.table, codecs: [codec], ratios: [ratio],
    });
    const [row] = results;
    if (row?.perplexityRise === undefined) throw new SettingsError(row?.unavailable ?? `${codec} gave no result`);
    const reached = codec.includes(":elements") ? row.traffic!.elementRatio : row.traffic!.byteRatioFloat16;
    if (reached < ratio) throw new SettingsError(`${codec} came to ${reached}x, not ${ratio}x: rows sent exactly come on top`);
    return row.perplexityRise;
  }

  dispose(): void {
    this.model.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
