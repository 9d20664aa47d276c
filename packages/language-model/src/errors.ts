/** Every error this package throws on purpose, so that callers can tell them apart by `instanceof`. */

/** Base of this package's errors. */
export class LanguageModelError extends Error {
  override readonly name: string = "LanguageModelError";
}

/** A setting outside its range: of sampling, a cache, a split, a window. */
export class SettingsError extends LanguageModelError {
  override readonly name = "SettingsError";
}

/** A weight file that breaks its own format: truncated, inconsistent or hostile. Nothing large was allocated for it. */
export class WeightFormatError extends LanguageModelError {
  override readonly name = "WeightFormatError";
  /** The file, or another description of where the bytes came from. */
  readonly source: string;

  constructor(source: string, detail: string, options?: ErrorOptions) {
    super(`${source}: ${detail}`, options);
    this.source = source;
  }
}

/** Well-formed weights that this package cannot run: an architecture, block type or rope scaling it does not have. */
export class UnsupportedModelError extends LanguageModelError {
  override readonly name = "UnsupportedModelError";
  /** The file, or another description of where the model came from. */
  readonly source: string;

  constructor(source: string, detail: string, options?: ErrorOptions) {
    super(`${source}: ${detail}`, options);
    this.source = source;
  }
}

/** A model, tokenizer or dataset that is not there; `fix` says what to do about it. */
export class MissingResourceError extends LanguageModelError {
  override readonly name = "MissingResourceError";
  /** A command or a step that makes the resource available. */
  readonly fix: string;

  constructor(detail: string, fix: string, options?: ErrorOptions) {
    super(`${detail}. ${fix}`, options);
    this.fix = fix;
  }
}

/** Bytes that are not the ones expected: a checksum differs. */
export class ChecksumError extends LanguageModelError {
  override readonly name = "ChecksumError";
  /** SHA-256 in hexadecimal that was required. */
  readonly expected: string;
  /** SHA-256 in hexadecimal that was found. */
  readonly actual: string;

  constructor(what: string, expected: string, actual: string) {
    super(`${what}: sha256 is ${actual}, expected ${expected}`);
    this.expected = expected;
    this.actual = actual;
  }
}

/** A download that could not be made; the message repeats what the package manager said. */
export class DownloadError extends LanguageModelError {
  override readonly name = "DownloadError";
}

/** A tokenizer file that breaks its format, or a token id outside the vocabulary. */
export class TokenizerError extends LanguageModelError {
  override readonly name = "TokenizerError";
}

/** A dataset that cannot give a batch: too few tokens, sizes that make no sense. */
export class DatasetError extends LanguageModelError {
  override readonly name = "DatasetError";
}

/** A partly loaded model was asked for a part it does not hold. */
export class MissingPartError extends LanguageModelError {
  override readonly name = "MissingPartError";

  constructor(part: string, fix: string) {
    super(`${part} is not held here; ${fix}`);
  }
}

/** More tokens than a cache or a model has positions for. */
export class ContextLengthError extends LanguageModelError {
  override readonly name = "ContextLengthError";

  constructor(tokens: number, limit: number) {
    super(`${tokens} tokens do not fit into a context of ${limit}; shorten the input or use a larger capacity`);
  }
}
