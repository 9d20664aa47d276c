import { nodeModule } from "@frugal/tensor-core/node";
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { MissingResourceError, TokenizerError } from "../errors.ts";
import { checkTokenId } from "./byte-stream.ts";
import type { StreamDecoder, StreamDecoderOptions, Tokenizer } from "./tokenizer.ts";

const tokenizerSchema = z.looseObject({
  added_tokens: z.array(z.looseObject({ id: z.int().min(0), content: z.string() })).nullish(),
  model: z.looseObject({
    type: z.string().nullish(),
    vocab: z.union([z.record(z.string(), z.int().min(0)), z.array(z.tuple([z.string(), z.number()]))]),
  }),
});
const tokenName = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();
const configSchema = z.looseObject({ bos_token: tokenName, eos_token: tokenName });

/** Texts of tokens that are still unfinished characters after this many more ids are given out as they are. */
const LONGEST_UNFINISHED = 16;

function nameOf(token: z.infer<typeof tokenName>): string | undefined {
  return typeof token === "string" ? token : token?.content;
}

function parse<T>(schema: z.ZodType<T>, value: unknown, file: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.slice(0, 4).map((issue) => `${issue.path.join(".") || "file"}: ${issue.message}`);
  throw new TokenizerError(`${file} is not valid: ${issues.join("; ")}`);
}

/**
 * Makes a tokenizer from a Hugging Face `tokenizer.json` and `tokenizer_config.json`, by `@huggingface/tokenizers`. Special tokens
 * in text are always recognised, and which ones `encode` adds by default is the post-processor's choice.
 * @param eosTokenIds ids that end generation, where the model's configuration lists more than the tokenizer's one
 * @throws TokenizerError if the files are not valid
 */
export function createHuggingFaceTokenizer(tokenizerJson: unknown, configJson: unknown = {}, eosTokenIds?: readonly number[]): Tokenizer {
  const file = parse(tokenizerSchema, tokenizerJson, "tokenizer.json");
  const config = parse(configSchema, configJson, "tokenizer_config.json");
  let tokenizer: HuggingFaceTokenizer;
  try {
    tokenizer = new HuggingFaceTokenizer(file, config);
  } catch (cause) {
    throw new TokenizerError(`tokenizer.json cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  const idOf = (name: string | undefined): number | undefined => (name === undefined ? undefined : tokenizer.token_to_id(name));
  let vocabularySize = 0;
  for (const id of tokenizer.get_vocab(true).values()) vocabularySize = Math.max(vocabularySize, id + 1);
  const bosTokenId = idOf(nameOf(config.bos_token));
  const ownEos = idOf(nameOf(config.eos_token));
  const ends = eosTokenIds ?? (ownEos === undefined ? [] : [ownEos]);

  const decode = (ids: readonly number[]): string => {
    // The library refuses an empty list.
    if (ids.length === 0) return "";
    return tokenizer.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  };
  /** Some token that a continuation can follow, so that the decoder does not take it for the start of a text. */
  const context = (): number[] => tokenizer.encode("a", { add_special_tokens: false }).ids.slice(-1);

  const streamDecoder = ({ continuation = false }: StreamDecoderOptions = {}): StreamDecoder => {
    const initial = (): number[] => (continuation ? context() : []);
    let ids = initial();
    let shownUpTo = ids.length;
    const take = (force: boolean): string => {
      const before = decode(ids.slice(0, shownUpTo));
      const after = decode(ids);
      const unfinished = after.endsWith("\uFFFD") && ids.length - shownUpTo < LONGEST_UNFINISHED;
      if (!force && (unfinished || after.length <= before.length)) return "";
      // What is shown stays as context of the next piece; anything earlier no longer matters.
      ids = ids.slice(shownUpTo);
      shownUpTo = ids.length;
      return after.slice(before.length);
    };
    return {
      push(id) {
        checkTokenId(id, vocabularySize);
        ids.push(id);
        return take(false);
      },
      end() {
        const rest = take(true);
        ids = initial();
        shownUpTo = ids.length;
        return rest;
      },
    };
  };

  return {
    vocabularySize,
    ...(bosTokenId === undefined ? {} : { bosTokenId }),
    eosTokenIds: ends,
    encode(text, options = {}) {
      const { ids } = tokenizer.encode(text, { add_special_tokens: options.bos === undefined });
      const eos = ends[0];
      const result = options.bos === true && bosTokenId !== undefined ? [bosTokenId, ...ids] : [...ids];
      if (options.eos === true && eos !== undefined) result.push(eos);
      return result;
    },
    decode(ids) {
      const list = [...ids];
      for (const id of list) checkTokenId(id, vocabularySize);
      return decode(list);
    },
    streamDecoder,
  };
}

/** A `tokenizer.json` is held whole; the largest published ones have some 30 MB. */
const LARGEST_JSON_BYTES = 1 << 27;

async function readJson(path: string): Promise<unknown> {
  const { readFile, stat } = nodeModule("node:fs/promises");
  const { size } = await stat(path);
  if (size > LARGEST_JSON_BYTES) throw new TokenizerError(`${path} has ${size} bytes, at most ${LARGEST_JSON_BYTES} are read`);
  try {
    return JSON.parse(await readFile(path, "utf8")) as unknown;
  } catch (cause) {
    throw new TokenizerError(`${path} is not JSON`, { cause });
  }
}

/**
 * Opens `tokenizer.json` and, where there is one, `tokenizer_config.json` of a Hugging Face model folder (Node).
 * @throws MissingResourceError if there is no `tokenizer.json`, TokenizerError if a file is not valid
 */
export async function openHuggingFaceTokenizer(folder: string, eosTokenIds?: readonly number[]): Promise<Tokenizer> {
  const { join } = nodeModule("node:path");
  const { existsSync } = nodeModule("node:fs");
  const path = join(folder, "tokenizer.json");
  if (!existsSync(path)) {
    throw new MissingResourceError(`There is no tokenizer.json in ${folder}`, "Download the model's tokenizer.json beside its config.json");
  }
  const configPath = join(folder, "tokenizer_config.json");
  return createHuggingFaceTokenizer(await readJson(path), existsSync(configPath) ? await readJson(configPath) : {}, eosTokenIds);
}
