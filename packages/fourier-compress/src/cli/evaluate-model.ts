import { interruption, note, startProgress } from "@frugal/language-model/command-line";
import { readCodecTable } from "../calibration/table-file.ts";
import { calibrateModel } from "../calibration/calibrate.ts";
import type { CodecTable } from "../calibration/codec-table.ts";
import { EvaluationDataError } from "../errors.ts";
import { compareMultipleChoice, multipleChoiceMarkdown, type MultipleChoiceComparison } from "../evaluation/multiple-choice.ts";
import { comparePerplexity, perplexityMarkdown } from "../evaluation/perplexity-comparison.ts";
import { choiceSequences, readQuestions, type QuestionSet } from "../evaluation/questions.ts";
import { readTokenSequences, type TokenSequences } from "../evaluation/token-sequences.ts";
import type { EvaluationResults } from "../report/evaluation-report.ts";
import { CALIBRATION_SHARE, textSequences } from "./calibration-text.ts";
import type { EvaluateArguments } from "./evaluate-arguments.ts";
import { digestOf } from "./evaluate-activations.ts";
import { EvaluationFile } from "./evaluation-file.ts";
import { loadNamedModel, type LoadedModel } from "./models.ts";

/** Sequences that calibrate at most: more say the same and take their time. */
const CALIBRATION_SEQUENCES = 160;
/** Tokens of the leakage probe where no number is given. */
const LEAKAGE_TOKENS = 1000;

/** What is scored, and what calibrates for it. */
interface Material {
  readonly calibration: readonly (readonly number[])[];
  readonly test?: readonly (readonly number[])[];
  readonly questions: readonly QuestionSet[];
}

async function sequencesOf(given: EvaluateArguments, loaded: LoadedModel): Promise<TokenSequences | undefined> {
  if (given.sequences !== undefined) return await readTokenSequences(given.sequences);
  if (given.text === undefined) return undefined;
  const all = await textSequences(given.text, given.window, loaded);
  if (given.calibration !== undefined || given.table !== undefined) return { calibration: [], test: all };
  const count = Math.floor(CALIBRATION_SHARE * all.length);
  if (count < 1) throw new EvaluationDataError(`${given.text} is too short to calibrate on and to measure; give --calibration or --table`);
  return { calibration: all.slice(0, count), test: all.slice(count) };
}

async function materialOf(given: EvaluateArguments, loaded: LoadedModel): Promise<Material> {
  const sequences = await sequencesOf(given, loaded);
  const sets: QuestionSet[] = [];
  const calibration = [...(sequences?.calibration ?? [])];
  for (const path of given.questions ?? []) {
    const set = await readQuestions(path);
    const count = Math.min(given.limit ?? set.questions.length, set.questions.length);
    sets.push({ name: set.name, questions: set.questions.slice(0, count) });
    if (given.calibration !== undefined || given.table !== undefined) continue;
    // Questions that are not asked calibrate, each with its right answer.
    for (const question of set.questions.slice(count)) {
      calibration.push([...choiceSequences(question, loaded.tokenizer)[question.answer]!.ids]);
    }
  }
  if (given.calibration !== undefined) calibration.push(...(await textSequences(given.calibration, given.window, loaded)));
  const spread = Math.max(1, Math.ceil(calibration.length / CALIBRATION_SEQUENCES));
  return {
    calibration: calibration.filter((_, index) => index % spread === 0), questions: sets,
    ...(sequences === undefined ? {} : { test: given.limit === undefined ? sequences.test : sequences.test.slice(0, given.limit) }),
  };
}

async function tableOf(given: EvaluateArguments, loaded: LoadedModel, material: Material): Promise<CodecTable> {
  if (given.table !== undefined) {
    const table = await readCodecTable(given.table);
    if (table.model !== loaded.fingerprint) {
      note(`the codec table is of model ${table.model}, this is ${loaded.fingerprint}: is that meant?`);
    }
    return table;
  }
  const { calibration } = material;
  if (calibration.length === 0) {
    throw new EvaluationDataError(
      "there is nothing to calibrate on: give --calibration <text>, --table <table>, or --limit to leave questions for it",
    );
  }
  const progress = startProgress("calibrating", calibration.length, { silent: given.json });
  try {
    return await calibrateModel(loaded.model, calibration, {
      model: loaded.fingerprint, splitBlock: given.split, source: loaded.source, fisher: given.fisher, signal: interruption,
      onProgress: (sequences) => progress.update(sequences),
    });
  } finally {
    progress.stop();
  }
}

/** `evaluate --model`: perplexity and agreement over a text or sequences, and answers to questions. */
export async function evaluateModel(
  given: EvaluateArguments & { readonly model: string },
): Promise<{ readonly results: EvaluationResults; readonly markdown: string; readonly complete: boolean }> {
  const loaded = await loadNamedModel(given, "evaluate", given.json);
  try {
    const material = await materialOf(given, loaded);
    const table = await tableOf(given, loaded, material);
    if (!given.json) note(`codec table ${table.hash.slice(0, 16)} of ${table.rows} rows before block ${table.block}`);
    const leakageTokens = given.leakage === true ? LEAKAGE_TOKENS : (given.leakage ?? 0);
    const file = await EvaluationFile.open(given.resume, {
      test: digestOf(JSON.stringify([material.test ?? [], material.questions])), model: loaded.fingerprint,
      precision: given.precision, split: given.split, table: table.hash, allocation: given.allocation, window: given.window, leakageTokens,
    });
    const progress = startProgress("scoring", 1, { silent: given.json });
    const base = {
      table, allocation: given.allocation, leakageTokens, signal: interruption,
      ...(given.codecs === undefined ? {} : { codecs: given.codecs }), ...(given.ratios === undefined ? {} : { ratios: given.ratios }),
      onProgress: (scored: number, total: number, what: string): void => progress.update(scored / total, what),
    };
    try {
      const markdown: string[] = [];
      let results: EvaluationResults = {};
      let complete = true;
      if (material.test !== undefined) {
        const perplexity = await comparePerplexity(loaded.model, given.split, material.test, {
          ...base, done: [...file.perplexity],
          async onRow(row) {
            file.perplexity.push(row);
            await file.save();
          },
        });
        results = { perplexity };
        complete = perplexity.complete;
        markdown.push(perplexityMarkdown(perplexity));
      }
      const multipleChoice: MultipleChoiceComparison[] = [];
      for (const set of material.questions) {
        if (!complete) break;
        const rows = file.questions(set.name);
        const comparison = await compareMultipleChoice(loaded.model, loaded.tokenizer, given.split, set, {
          ...base, done: [...rows],
          async onRow(row) {
            rows.push(row);
            await file.save();
          },
        }).catch((error: unknown) => {
          // What was measured of other sets is worth showing.
          if (interruption.aborted) return undefined;
          throw error;
        });
        complete = comparison?.complete ?? false;
        if (comparison === undefined) break;
        multipleChoice.push(comparison);
        markdown.push(multipleChoiceMarkdown(comparison));
      }
      return { results: { ...results, multipleChoice }, markdown: markdown.join("\n\n"), complete };
    } finally {
      progress.stop();
    }
  } finally {
    await loaded.dispose();
  }
}
