import { getThreads } from "@frugal/tensor-core";
import { Command } from "commander";
import { generateTokens } from "../generation/generate.ts";
import { applyThreads, deviceOption, integer, numberBetween, precisionOption, threadsOption } from "../command-line/arguments.ts";
import { loadNamedModel, type ModelArguments } from "./model.ts";
import { interruptible, interruption } from "../command-line/run-to-end.ts";
import { note, printJson } from "../command-line/terminal.ts";

interface GenerateArguments extends ModelArguments {
  readonly prompt: string;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topK?: number;
  readonly topP: number;
  readonly seed: number;
  readonly parseSpecial: boolean;
  readonly threads?: number;
  readonly json: boolean;
}

async function generate(given: GenerateArguments): Promise<void> {
  applyThreads(given.threads);
  const { model, tokenizer, device } = await loadNamedModel(given, "generate", given.json);
  try {
    const encoded = tokenizer.encode(given.prompt, { parseSpecial: given.parseSpecial });
    const promptIds = encoded.length === 0 && tokenizer.bosTokenId !== undefined ? [tokenizer.bosTokenId] : encoded;
    const decoder = tokenizer.streamDecoder({ continuation: true });
    const tokenIds: number[] = [];
    let text = "";
    const show = (piece: string): void => {
      text += piece;
      if (!given.json) process.stdout.write(piece);
    };
    if (!given.json) process.stdout.write(given.prompt);
    const started = performance.now();
    let first = started;
    const { topK, temperature, topP, seed, maxTokens: maxNewTokens } = given;
    const stopTokenIds = [...new Set([...model.config.eosTokenIds, ...tokenizer.eosTokenIds])];
    const options = {
      temperature, topP, seed, maxNewTokens, stopTokenIds, signal: interruption, ...(topK === undefined ? {} : { topK }),
    };
    await interruptible(async () => {
      for await (const { id } of generateTokens(model, promptIds, options)) {
        if (tokenIds.push(id) === 1) first = performance.now();
        show(decoder.push(id));
      }
    });
    show(decoder.end());
    await device.remember();
    const seconds = (performance.now() - first) / 1000;
    const tokensPerSecond = tokenIds.length > 1 ? (tokenIds.length - 1) / seconds : undefined;
    const promptSeconds = (first - started) / 1000;
    if (given.json) {
      printJson({
        model: given.model, precision: given.precision, device: given.device, threads: getThreads(), prompt: given.prompt,
        promptTokens: promptIds.length, promptSeconds, text, tokenIds, seconds, tokensPerSecond, interrupted: interruption.aborted,
      });
      return;
    }
    process.stdout.write("\n");
    const speed = tokensPerSecond === undefined ? "" : `, ${tokensPerSecond.toFixed(1)} tokens/s`;
    const where = given.device === "cpu" ? `${getThreads()} threads` : given.device;
    note(`${promptIds.length} + ${tokenIds.length} tokens, first after ${promptSeconds.toFixed(2)} s${speed}, ${where}`);
  } finally {
    model.dispose();
  }
}

/** `language-model generate`. */
export function generateCommand(): Command {
  return new Command("generate")
    .description("Continue a text, token by token, on stdout.")
    .requiredOption("--model <model>", "path, owner/name on the Hugging Face hub, stories15M or tinyllama")
    .option("--tokenizer <path>", "folder with tokenizer.json or llama2.c tokenizer.bin (default: the model's own)")
    .option("--prompt <text>", "text to continue; empty starts from nothing", "")
    .option("--max-tokens <count>", "most tokens to add", integer(0), 256)
    .option("--temperature <value>", "0 takes the most likely token, higher is more random", numberBetween(0, 100), 0)
    .option("--top-k <count>", "only the most likely tokens", integer(1))
    .option("--top-p <share>", "only the likeliest tokens that together reach this probability", numberBetween(1e-6, 1), 1)
    .option("--seed <number>", "of the random stream", integer(0), 0)
    .option("--parse-special", 'read names such as "</s>" in the prompt as special tokens', false)
    .addOption(precisionOption())
    .addOption(deviceOption())
    .addOption(threadsOption())
    .option("--json", "print one JSON object at the end instead of the text", false)
    .action((given: GenerateArguments) => generate(given));
}
