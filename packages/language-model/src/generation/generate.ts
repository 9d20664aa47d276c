import { tensor, type Tensor } from "@frugal/tensor-core";
import { ContextLengthError, LanguageModelError, SettingsError } from "../errors.ts";
import { checkIds } from "../model/check-ids.ts";
import type { DecoderCache } from "../model/decoder-cache.ts";
import type { ForwardOptions, StagedModel } from "../model/staged-model.ts";
import { breathe } from "../scheduling/event-loop.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { createSampler, type SampledToken, type SamplingOptions } from "./sampling.ts";

/** What generation needs of a model: any whole `StagedModel`, or one that is split between machines. */
export interface NextTokenModel extends Pick<StagedModel, "device" | "vocabularySize" | "config" | "createCache"> {
  forward(ids: Tensor, options: ForwardOptions): Tensor | Promise<Tensor>;
}

/** Options of `generateTokens`. */
export interface GenerationOptions extends SamplingOptions {
  /** Default: until an end token, or the end of the context. */
  readonly maxNewTokens?: number;
  /** Ids that end generation, without being returned. Default: the model's. */
  readonly stopTokenIds?: readonly number[];
  /** Stops, without an error, before the next token. */
  readonly signal?: AbortSignal;
}

/** Logits of the token after `ids`, which follow what the cache holds; the caller frees them. */
async function logitsAfter(model: NextTokenModel, ids: readonly number[], cache: DecoderCache): Promise<Tensor> {
  const input = tensor(Int32Array.from(ids), [1, ids.length], { device: model.device });
  try {
    return await model.forward(input, { cache, lastOnly: true });
  } finally {
    input.dispose();
  }
}

/**
 * Logits of the token after `ids`, which follow what the cache holds. float32 [vocabularySize], on the host.
 * @throws LanguageModelError for ids outside the vocabulary and logits that are not finite
 */
export async function nextTokenLogits(model: NextTokenModel, ids: readonly number[], cache: DecoderCache): Promise<Float32Array> {
  checkIds(model, ids);
  const logits = await logitsAfter(model, ids, cache);
  let values: Float32Array;
  try {
    values = await logits.data("float32");
  } finally {
    logits.dispose();
  }
  if (!values.every(Number.isFinite)) throw new LanguageModelError("the model's logits are not finite; are its weights damaged?");
  return values;
}

/**
 * Continues token ids one at a time.
 * @throws LanguageModelError for an empty prompt, ids outside the vocabulary or logits that are not finite,
 * ContextLengthError when the prompt fills the context
 */
export async function* generateTokens(
  model: NextTokenModel, promptIds: readonly number[], options: GenerationOptions = {},
): AsyncGenerator<SampledToken> {
  const { maxNewTokens = Infinity, stopTokenIds = model.config.eosTokenIds, signal } = options;
  const context = model.config.maxPositionEmbeddings;
  if (!(maxNewTokens >= 0)) throw new SettingsError(`maxNewTokens ${maxNewTokens}; use a number >= 0`);
  if (promptIds.length === 0) throw new LanguageModelError("the prompt has no tokens; start with the begin token");
  if (promptIds.length >= context) throw new ContextLengthError(promptIds.length + 1, context);
  checkIds(model, promptIds);
  const capacity = Math.min(context, promptIds.length + Math.ceil(maxNewTokens));
  const sample = createSampler(options);
  const cache = model.createCache({ capacity });
  try {
    let pending: readonly number[] = promptIds;
    for (let count = 0; count < maxNewTokens && cache.length + pending.length <= capacity; count++) {
      await breathe();
      if (signal?.aborted) return;
      const logits = await logitsAfter(model, pending, cache);
      let token: SampledToken;
      try {
        token = await sample(logits);
      } finally {
        logits.dispose();
      }
      if (stopTokenIds.includes(token.id)) return;
      yield token;
      pending = [token.id];
    }
  } finally {
    cache.dispose();
  }
}

/** A continuation, without the prompt. */
export interface GeneratedText {
  readonly text: string;
  readonly tokenIds: readonly number[];
}

/** Continues a text, yielding pieces of whole characters as they come. Stop early by leaving the loop. */
export async function* streamText(
  model: NextTokenModel, tokenizer: Tokenizer, prompt: string, options: GenerationOptions = {},
): AsyncGenerator<string> {
  const decoder = tokenizer.streamDecoder({ continuation: true });
  for await (const { id } of generateTokens(model, promptIds(tokenizer, prompt), { stopTokenIds: stopIds(model, tokenizer), ...options })) {
    const piece = decoder.push(id);
    if (piece !== "") yield piece;
  }
  const rest = decoder.end();
  if (rest !== "") yield rest;
}

/** Continues a text and returns the continuation. */
export async function generateText(
  model: NextTokenModel, tokenizer: Tokenizer, prompt: string, options: GenerationOptions = {},
): Promise<GeneratedText> {
  const decoder = tokenizer.streamDecoder({ continuation: true });
  const tokenIds: number[] = [];
  let text = "";
  for await (const { id } of generateTokens(model, promptIds(tokenizer, prompt), { stopTokenIds: stopIds(model, tokenizer), ...options })) {
    tokenIds.push(id);
    text += decoder.push(id);
  }
  return { text: text + decoder.end(), tokenIds };
}

/** The prompt's ids; an empty prompt is the begin token, so that a text can start from nothing. */
function promptIds(tokenizer: Tokenizer, prompt: string): number[] {
  const ids = tokenizer.encode(prompt);
  return ids.length === 0 && tokenizer.bosTokenId !== undefined ? [tokenizer.bosTokenId] : ids;
}

function stopIds(model: NextTokenModel, tokenizer: Tokenizer): readonly number[] {
  return [...new Set([...model.config.eosTokenIds, ...tokenizer.eosTokenIds])];
}
