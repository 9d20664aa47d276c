import { Command } from "commander";
import { tokenLogProbabilities } from "../evaluation/scoring.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { applyThreads, deviceOption, integer, precisionOption, threadsOption } from "../command-line/arguments.ts";
import { loadNamedModel, type ModelArguments } from "./model.ts";
import { interruptible, interruption, Interrupted } from "../command-line/run-to-end.ts";
import { printJson, startProgress } from "../command-line/terminal.ts";
import { loadNamedText, TEXT_NAMES } from "./text.ts";

/** More than tokens have on average in any language, so that so much text gives enough of them. */
const CHARACTERS_PER_TOKEN = 8;

interface PerplexityArguments extends ModelArguments {
  readonly text: string;
  readonly window?: number;
  readonly maxTokens?: number;
  readonly threads?: number;
  readonly json: boolean;
}

/** The first tokens of a text, without encoding all of it where its beginning gives enough. */
function encodeBeginning(tokenizer: Tokenizer, text: string, count: number | undefined): number[] {
  if (count === undefined) return tokenizer.encode(text);
  const ids = tokenizer.encode(text.slice(0, count * CHARACTERS_PER_TOKEN));
  return (ids.length >= count ? ids : tokenizer.encode(text)).slice(0, count);
}

async function perplexity(given: PerplexityArguments): Promise<void> {
  applyThreads(given.threads);
  const text = await loadNamedText(given.text);
  const { model, tokenizer, device } = await loadNamedModel(given, "perplexity", given.json);
  try {
    const ids = encodeBeginning(tokenizer, text, given.maxTokens);
    const characters = tokenizer.decode(ids).length;
    const progress = startProgress("scoring", ids.length - 1, { silent: given.json });
    let logProbability = 0;
    try {
      const options = {
        ...(given.window === undefined ? {} : { window: given.window }),
        onProgress(scored: number): void {
          if (interruption.aborted) throw new Interrupted("interrupted");
          progress.update(scored);
        },
      };
      const values = await interruptible(() => tokenLogProbabilities(model, ids, options));
      for (const value of values) logProbability += value;
    } finally {
      progress.stop();
    }
    await device.remember();
    const tokens = ids.length - 1;
    const result = {
      model: given.model, precision: given.precision, text: given.text, tokens, perplexity: Math.exp(-logProbability / tokens),
      bitsPerCharacter: -logProbability / Math.LN2 / characters,
    };
    if (given.json) return printJson(result);
    const bits = `${result.bitsPerCharacter.toFixed(3)} bits a character`;
    process.stdout.write(`perplexity ${result.perplexity.toFixed(3)} over ${tokens} tokens (${bits})\n`);
  } finally {
    model.dispose();
  }
}

/** `language-model perplexity`. */
export function perplexityCommand(): Command {
  return new Command("perplexity")
    .description("Score how well a model predicts a text.")
    .requiredOption("--model <model>", "path, owner/name on the Hugging Face hub, stories15M or tinyllama")
    .requiredOption("--text <text>", TEXT_NAMES)
    .option("--tokenizer <path>", "folder with tokenizer.json or llama2.c tokenizer.bin (default: the model's own)")
    .option("--window <tokens>", "tokens seen at a time, overlapping by half (default: the model's context, at most 2048)", integer(2))
    .option("--max-tokens <count>", "score only the beginning of the text", integer(2))
    .addOption(precisionOption())
    .addOption(deviceOption())
    .addOption(threadsOption())
    .option("--json", "print one JSON object", false)
    .action((given: PerplexityArguments) => perplexity(given));
}
