import { interruption, startProgress } from "@frugal/language-model/command-line";
import { sampleSequences } from "../calibration/sample-sequences.ts";
import { EvaluationDataError, SettingsError } from "../errors.ts";
import { cutTokens, readBoundedText, readTokenSequences, type TokenSequences } from "../evaluation/token-sequences.ts";
import type { LoadedModel } from "./models.ts";

/** Where commands that calibrate take their text from. */
export interface TextArguments {
  readonly text?: string;
  readonly sequences?: string;
  readonly sample?: number;
  readonly window: number;
  readonly json: boolean;
}

/** Of a text or of samples, the share that calibrates where something has to be left to measure on. */
export const CALIBRATION_SHARE = 0.6;

/**
 * Token sequences from a text, a file of ids, or the model itself.
 * @param needsTest whether some of them are for measuring; otherwise all calibrate
 * @throws SettingsError unless exactly one source is given, EvaluationDataError for texts that are too short
 */
export async function sequencesFor(given: TextArguments, loaded: LoadedModel, needsTest: boolean): Promise<TokenSequences> {
  const sources = [given.text, given.sequences, given.sample].filter((source) => source !== undefined);
  if (sources.length !== 1) throw new SettingsError("give one of --text <file>, --sequences <file> and --sample <count>");
  if (given.sequences !== undefined) {
    const { calibration, test } = await readTokenSequences(given.sequences);
    if (calibration.length === 0) throw new EvaluationDataError(`${given.sequences} has no calibration sequences`);
    return { calibration, test };
  }
  const all = given.text === undefined ? await samplesOf(given, loaded) : await textSequences(given.text, given.window, loaded);
  if (all.length < (needsTest ? 2 : 1)) {
    throw new EvaluationDataError(`${all.length} sequences are too few; give more text, or a smaller --window`);
  }
  if (!needsTest) return { calibration: all, test: [] };
  const count = Math.min(all.length - 1, Math.max(1, Math.round(CALIBRATION_SHARE * all.length)));
  return { calibration: all.slice(0, count), test: all.slice(count) };
}

/** The tokens of a text, cut to sequences of the window or the model's context. */
export async function textSequences(path: string, window: number, { model, tokenizer }: LoadedModel): Promise<number[][]> {
  const length = Math.min(window, model.config.maxPositionEmbeddings);
  return cutTokens(tokenizer.encode(await readBoundedText(path)), length, tokenizer.bosTokenId);
}

async function samplesOf({ sample, window, json }: TextArguments, { model, tokenizer }: LoadedModel): Promise<number[][]> {
  const begin = tokenizer.bosTokenId;
  if (begin === undefined) throw new SettingsError("the model has no begin token to sample from; give --text or --sequences");
  const count = sample!;
  const progress = startProgress("sampling text", count, { silent: json });
  try {
    const maxTokens = Math.min(window, model.config.maxPositionEmbeddings);
    return await sampleSequences(model, begin, { count, maxTokens, signal: interruption, onProgress: (done) => progress.update(done) });
  } finally {
    progress.stop();
  }
}
