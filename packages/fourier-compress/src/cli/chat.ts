import { createInterface } from "node:readline/promises";
import {
  applyThreads, deviceOption, integer, interruptible, interruption, note, numberBetween, precisionOption, printJson, threadsOption,
} from "@frugal/language-model/command-line";
import type { Tokenizer } from "@frugal/language-model";
import { Command } from "commander";
import { SplitClient } from "../client/split-client.ts";
import { SettingsError } from "../errors.ts";
import {
  addConnectionOptions, credentialsOf, noteEvents, trafficLines, transportOf, type ConnectionArguments,
} from "./arguments-connection.ts";
import { addCodecOptions, chooseCodec, type CodecArguments } from "./codec-arguments.ts";
import { checkSplit, loadNamedModel, type ModelArguments } from "./models.ts";

interface ChatArguments extends ModelArguments, ConnectionArguments, CodecArguments {
  readonly split: number;
  readonly system?: string;
  readonly turn?: string;
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topK?: number;
  readonly topP: number;
  readonly seed: number;
  readonly threads?: number;
  readonly json: boolean;
}

/** How TinyLlama-Chat was taught to tell turns apart. */
const ZEPHYR = "<|user|>\n{text}</s>\n<|assistant|>\n";
/** Where the user's words go. */
const TEXT = "{text}";

/** The default template of a model, by its name: chat models need theirs, others just go on from the text. */
function templateOf({ turn, model }: ChatArguments): string {
  const template = turn?.replaceAll("\\n", "\n") ?? (/tinyllama/i.test(model) ? ZEPHYR : TEXT);
  if (template.split(TEXT).length === 2) return template;
  throw new SettingsError(`--turn ${JSON.stringify(template)}; put ${TEXT} where the words go, once`);
}

/** Ids of a turn: the template's special tokens are read as such, what the user writes never is. */
function turnIds(tokenizer: Tokenizer, template: string, text: string, isFirst: boolean): number[] {
  const [before = "", after = ""] = template.split(TEXT);
  const ids = isFirst && tokenizer.bosTokenId !== undefined ? [tokenizer.bosTokenId] : [];
  for (const [part, parseSpecial] of [[before, true], [text, false], [after, true]] as const) {
    if (part !== "") ids.push(...tokenizer.encode(part, { bos: false, parseSpecial }));
  }
  return ids;
}

async function chat(given: ChatArguments): Promise<void> {
  applyThreads(given.threads);
  const template = templateOf(given);
  const chosen = await chooseCodec(given);
  const [transport, credentials] = [await transportOf(given), await credentialsOf(given)];
  const loaded = await loadNamedModel(given, "chat", given.json, (source) => {
    checkSplit(given.split, source);
    return { blocks: [0, given.split], head: false };
  });
  const { model, tokenizer, fingerprint } = loaded;
  try {
    note(chosen.description);
    using client = await interruptible(() => SplitClient.connect({
      transport, model, fingerprint, splitBlock: given.split, codec: chosen.codec, result: "token", onEvent: noteEvents(given.json),
      reconnect: { attempts: given.reconnect },
      ...(chosen.table === undefined ? {} : { table: chosen.table }), ...(credentials === undefined ? {} : { credentials }),
    }));
    const { temperature, topK, topP, seed, maxNewTokens } = given;
    const stopTokenIds = [...new Set([...model.config.eosTokenIds, ...tokenizer.eosTokenIds])];
    using conversation = client.conversation({ temperature, topP, seed, stopTokenIds, ...(topK === undefined ? {} : { topK }) });
    const terminal = createInterface({ input: process.stdin, output: process.stderr, terminal: process.stdin.isTTY === true });
    if (process.stdin.isTTY) note("An empty line, Ctrl-D or Ctrl-C ends the conversation.");
    const ask = async (): Promise<string | undefined> => {
      terminal.setPrompt("> ");
      if (process.stdin.isTTY) terminal.prompt();
      const next = await lines.next();
      return next.done === true || next.value === "" ? undefined : next.value;
    };
    const lines = terminal[Symbol.asyncIterator]();
    terminal.on("SIGINT", () => terminal.close());
    await interruptible(async () => {
      interruption.addEventListener("abort", () => terminal.close(), { once: true });
      let system = given.system === undefined ? "" : `${given.system}\n`;
      for (let text = await ask(); text !== undefined && !interruption.aborted; text = await ask()) {
        const isFirst = conversation.length === 0;
        const decoder = tokenizer.streamDecoder({ continuation: true });
        const ids = turnIds(tokenizer, template, system + text, isFirst);
        system = "";
        const before = client.traffic();
        let answer = "";
        let count = 0;
        if (conversation.length + ids.length >= conversation.capacity) {
          note(`the conversation is full: ${conversation.length} of ${conversation.capacity} tokens`);
          break;
        }
        for await (const { id } of conversation.generate(ids, { maxNewTokens, signal: interruption })) {
          const piece = decoder.push(id);
          count++;
          answer += piece;
          if (!given.json) process.stdout.write(piece);
        }
        answer += decoder.end();
        const { tokens, activationBytes } = client.traffic();
        if (given.json) {
          printJson({
            text, answer, tokens: count, sentTokens: tokens - before.tokens, sentBytes: activationBytes - before.activationBytes,
            conversation: conversation.length,
          });
        } else {
          process.stdout.write("\n");
        }
      }
    });
    terminal.close();
    const traffic = client.traffic();
    if (given.json) printJson({ model: given.model, codec: chosen.codec, conversation: conversation.length, traffic });
    else for (const line of trafficLines(traffic)) note(line);
  } finally {
    await loaded.dispose();
  }
}

/** `fourier-compress chat`. */
export function chatCommand(): Command {
  const command = new Command("chat")
    .description("Talk to a split model, a line at a time. The conversation stays on the server: each turn sends its own tokens alone.")
    .requiredOption("--model <model>", "path, owner/name on the Hugging Face hub, stories15M or tinyllama")
    .option("--tokenizer <path>", "folder with tokenizer.json or llama2.c tokenizer.bin (default: the model's own)")
    .option("--split <block>", "blocks that run here", integer(0), 1)
    .option("--system <text>", "put before the first turn's words")
    .option("--turn <template>", 'as "<|user|>\\n{text}</s>\\n<|assistant|>\\n" (default: that for TinyLlama, else the words alone)')
    .option("--max-new-tokens <count>", "most tokens of an answer", integer(1), 256)
    .option("--temperature <value>", "0 takes the most likely token, higher is more random", numberBetween(0, 100), 0.7)
    .option("--top-k <count>", "only the most likely tokens", integer(1))
    .option("--top-p <share>", "only the likeliest tokens that together reach this probability", numberBetween(1e-6, 1), 0.95)
    .option("--seed <number>", "of the random stream", integer(0), 0);
  return addCodecOptions(addConnectionOptions(command))
    .addOption(precisionOption())
    .addOption(deviceOption())
    .addOption(threadsOption())
    .option("--json", "print a JSON object for each turn, and one at the end", false)
    .action((given: ChatArguments) => chat(given));
}
