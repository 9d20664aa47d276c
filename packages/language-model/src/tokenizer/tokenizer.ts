/** What every tokenizer of this package does, whatever its file format. */

/** Which special tokens `encode` adds. */
export interface EncodeOptions {
  /** Put the begin token first. Default: true where the tokenizer has one and its own configuration adds it. */
  readonly bos?: boolean;
  /** Put the first end token last. Default: false. */
  readonly eos?: boolean;
  /**
   * Read the names of special tokens in the text ("</s>", "<|im_end|>") as those tokens, as chat templates need. Default: false,
   * so that text from users cannot forge them. Tokenizers made from a `tokenizer.json` always read them.
   */
  readonly parseSpecial?: boolean;
}

/** How a stream of ids joins the text before it. */
export interface StreamDecoderOptions {
  /**
   * The ids go on from text already shown (a prompt), so a leading space is kept. Default: false, the ids are a text of their own
   * and the pieces pushed add up to `decode(ids)`.
   */
  readonly continuation?: boolean;
}

/** Turns ids into text one at a time. */
export interface StreamDecoder {
  /** Text that is complete after this id; empty while a character's bytes are still missing. */
  push(id: number): string;
  /** Whatever is left: an unfinished character becomes U+FFFD. The decoder is then as new. */
  end(): string;
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** Ids are 0 .. vocabularySize - 1. */
  readonly vocabularySize: number;
  readonly bosTokenId?: number;
  /** Ids that end a text; may be empty. */
  readonly eosTokenIds: readonly number[];
  encode(text: string, options?: EncodeOptions): number[];
  /**
   * The text of some ids, without special tokens.
   * @throws TokenizerError if an id is not in the vocabulary
   */
  decode(ids: Iterable<number>): string;
  streamDecoder(options?: StreamDecoderOptions): StreamDecoder;
}
