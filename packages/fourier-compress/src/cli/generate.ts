import {
  applyThreads, deviceOption, integer, interruptible, interruption, note, numberBetween, precisionOption, printJson, threadsOption,
} from "@frugal/language-model/command-line";
import { generateTokens, type SampledToken, type Tokenizer } from "@frugal/language-model";
import { getThreads } from "@frugal/tensor-core";
import { Command, Option } from "commander";
import type { SessionJournal } from "../client/session-journal.ts";
import { SplitClient } from "../client/split-client.ts";
import { SettingsError } from "../errors.ts";
import {
  addConnectionOptions, credentialsOf, noteEvents, trafficLines, transportOf, type ConnectionArguments,
} from "./arguments-connection.ts";
import { addCodecOptions, chooseCodec, type ChosenCodec, type CodecArguments } from "./codec-arguments.ts";
import { JournalFile } from "./generate-journal.ts";
import { checkSplit, loadNamedModel, type ModelArguments } from "./models.ts";

interface GenerateArguments extends ModelArguments, ConnectionArguments, CodecArguments {
  readonly split: number;
  readonly prompt: string;
  readonly parseSpecial: boolean;
  readonly maxNewTokens?: number;
  readonly temperature: number;
  readonly topK?: number;
  readonly topP: number;
  readonly seed: number;
  readonly result: "token" | "logits" | "hidden";
  readonly promptChunk?: number;
  readonly journal?: string;
  readonly resume?: string;
  readonly threads?: number;
  readonly json: boolean;
}

/** Tokens that are generated where no number is given. */
const DEFAULT_TOKENS = 256;

/** The codec of a journal's beginning; only its table has to be given again. @throws SettingsError when another is asked for */
async function codecOfJournal(given: GenerateArguments, { begin }: SessionJournal): Promise<ChosenCodec> {
  const others = [given.ratio, given.relativeError, given.bytesPerToken, given.step].some((value) => value !== undefined);
  if (others || (given.codec !== undefined && given.codec !== begin.codec)) {
    throw new SettingsError(`--resume goes on with the journal's codec (${begin.codec}); leave the codec's options out, but for --table`);
  }
  if (begin.table !== undefined && given.table === undefined) {
    throw new SettingsError(`the journal's codec needs --table (hash ${begin.table.slice(0, 16)}…)`);
  }
  const chosen = await chooseCodec({ codec: begin.codec, ...(given.table === undefined ? {} : { table: given.table }) });
  const { mode } = begin;
  const codec = { name: begin.codec, ...(mode === undefined ? {} : { mode }) };
  return { ...chosen, codec, description: `codec ${begin.codec}, as in the journal` };
}

/** The prompt's ids; an empty prompt is the begin token, so that a text can start from nothing. */
function promptOf(tokenizer: Tokenizer, { prompt, parseSpecial }: GenerateArguments): readonly number[] {
  const ids = tokenizer.encode(prompt, { parseSpecial });
  return ids.length === 0 && tokenizer.bosTokenId !== undefined ? [tokenizer.bosTokenId] : ids;
}

async function generate(given: GenerateArguments): Promise<void> {
  applyThreads(given.threads);
  if (given.journal !== undefined && given.resume !== undefined) {
    throw new SettingsError("--resume writes on in its own file; leave --journal out");
  }
  if ((given.journal ?? given.resume) !== undefined && given.result !== "token") {
    throw new SettingsError(`a journal needs --result token; with ${given.result} the tokens are chosen here`);
  }
  const resumed = given.resume === undefined ? undefined : await JournalFile.resume(given.resume);
  const split = resumed?.journal.begin.splitBlock ?? given.split;
  const chosen = resumed === undefined ? await chooseCodec(given) : await codecOfJournal(given, resumed.journal);
  const [transport, credentials] = [await transportOf(given), await credentialsOf(given)];
  const loaded = await loadNamedModel(given, "generate", given.json, (source) => {
    checkSplit(split, source);
    return { blocks: [0, split], head: given.result === "hidden" };
  });
  const { model, tokenizer, fingerprint } = loaded;
  let file = resumed?.file;
  try {
    if (!given.json) note(chosen.description);
    using client = await interruptible(() => SplitClient.connect({
      transport, model, fingerprint, splitBlock: split, codec: chosen.codec, result: given.result, onEvent: noteEvents(given.json),
      reconnect: { attempts: given.reconnect },
      ...(chosen.table === undefined ? {} : { table: chosen.table }), ...(credentials === undefined ? {} : { credentials }),
      ...(given.promptChunk === undefined ? {} : { promptChunk: given.promptChunk }),
    }));
    if (given.journal !== undefined) file = await JournalFile.create(given.journal);
    const promptIds = resumed?.journal.begin.promptIds ?? promptOf(tokenizer, given);
    const decoder = tokenizer.streamDecoder({ continuation: true });
    const tokenIds = resumed?.journal.tokens.map(({ id }) => id) ?? [];
    const before = tokenIds.length;
    let text = "";
    const show = (piece: string): void => {
      text += piece;
      if (!given.json) process.stdout.write(piece);
    };
    if (!given.json) process.stdout.write(resumed === undefined ? given.prompt : tokenizer.decode(promptIds));
    for (const id of tokenIds) show(decoder.push(id));
    const started = performance.now();
    let first = started;
    const { topK, temperature, topP, seed } = given;
    const writer = file === undefined ? {} : { journal: file };
    const maxNewTokens = given.maxNewTokens ?? (resumed === undefined ? DEFAULT_TOKENS : undefined);
    const turn = { signal: interruption, ...(maxNewTokens === undefined ? {} : { maxNewTokens }) };
    const stopTokenIds = [...new Set([...model.config.eosTokenIds, ...tokenizer.eosTokenIds])];
    const options = { ...turn, temperature, topP, seed, stopTokenIds, ...(topK === undefined ? {} : { topK }) };
    await interruptible(async () => {
      let tokens: AsyncIterable<SampledToken>;
      if (resumed !== undefined) tokens = client.resumeGeneration(resumed.journal, { ...turn, ...writer });
      else if (given.result === "token") tokens = client.generate(promptIds, { ...options, ...writer });
      else tokens = generateTokens(client, promptIds, options);
      for await (const { id } of tokens) {
        if (tokenIds.push(id) === before + 1) first = performance.now();
        show(decoder.push(id));
      }
    });
    show(decoder.end());
    const seconds = (performance.now() - first) / 1000;
    const count = tokenIds.length - before;
    const tokensPerSecond = count > 1 ? (count - 1) / seconds : undefined;
    const promptSeconds = (first - started) / 1000;
    const traffic = client.traffic();
    if (given.json) {
      printJson({
        model: given.model, server: given.server, splitBlock: split, codec: chosen.codec, result: given.result, table: chosen.table?.hash,
        threads: getThreads(), prompt: resumed === undefined ? given.prompt : tokenizer.decode(promptIds), promptTokens: promptIds.length,
        promptSeconds, text, tokenIds, resumedTokens: before, seconds, tokensPerSecond, interrupted: interruption.aborted, traffic,
      });
      return;
    }
    process.stdout.write("\n");
    const speed = tokensPerSecond === undefined ? "" : `, ${tokensPerSecond.toFixed(1)} tokens/s`;
    note(`${promptIds.length} + ${tokenIds.length} tokens, first after ${promptSeconds.toFixed(2)} s${speed}`);
    for (const line of trafficLines(traffic)) note(line);
    const path = given.journal ?? given.resume;
    if (interruption.aborted && path !== undefined) note(`go on with --resume ${path}`);
  } finally {
    await file?.close();
    await loaded.dispose();
  }
}

/** `fourier-compress generate`. */
export function generateCommand(): Command {
  const command = new Command("generate")
    .description("Continue a text on stdout: the first blocks run here, the rest on a server.")
    .requiredOption("--model <model>", "path, owner/name on the Hugging Face hub, stories15M or tinyllama")
    .option("--tokenizer <path>", "folder with tokenizer.json or llama2.c tokenizer.bin (default: the model's own)")
    .option("--split <block>", "blocks that run here", integer(0), 1)
    .option("--prompt <text>", "text to continue; empty starts from nothing", "")
    .option("--parse-special", 'read names such as "</s>" in the prompt as special tokens', false)
    .option("--max-new-tokens <count>", "most tokens to add (default: 256)", integer(0))
    .option("--temperature <value>", "0 takes the most likely token, higher is more random", numberBetween(0, 100), 0)
    .option("--top-k <count>", "only the most likely tokens", integer(1))
    .option("--top-p <share>", "only the likeliest tokens that together reach this probability", numberBetween(1e-6, 1), 1)
    .option("--seed <number>", "of the random stream", integer(0), 0)
    .addOption(
      new Option("--result <what>", "what comes back: the token, or logits or hidden states to choose it from here")
        .choices(["token", "logits", "hidden"]).default("token"),
    )
    .option("--prompt-chunk <tokens>", "tokens of one message; prompts that begin alike share earlier ones on the server", integer(1))
    .option("--journal <file>", "write down what --resume needs, token by token; keep the file as safe as a password")
    .option("--resume <file>", "go on with the generation of a journal, whatever became of its process");
  return addCodecOptions(addConnectionOptions(command))
    .addOption(precisionOption())
    .addOption(deviceOption())
    .addOption(threadsOption())
    .option("--json", "print one JSON object at the end instead of the text", false)
    .action((given: GenerateArguments) => generate(given));
}
