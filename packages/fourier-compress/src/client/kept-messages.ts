/** A message of a stream: what its frame says, and its bytes. */
export interface StreamMessage {
  /** Position of its first token. */
  readonly position: number;
  readonly tokens: number;
  readonly payload: Uint8Array;
  /** Numbers that the codec kept, for the ratio. */
  readonly elements: number;
  /** `FRAME_FLAGS` of its frame. */
  readonly flags: number;
}

/** A message that is kept, so that the stream can be told once more. */
export interface KeptMessage extends StreamMessage {
  /** Its number in the server's session; 0 while it has none. */
  sequence: number;
  /** Whether its result is here. */
  isAcknowledged: boolean;
}

/**
 * The messages that make a stream's key-value cache, in order, within a bound on their bytes. Past it the acknowledged ones are let go, and
 * the stream can no longer be rebuilt on a server that lost it.
 */
export class KeptMessages {
  readonly #byteLimit: number;
  #messages: KeptMessage[] = [];
  #bytes = 0;
  #isWhole = true;

  constructor(byteLimit: number) {
    this.#byteLimit = byteLimit;
  }

  /** Whether all messages of the stream are here. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  get byteLength(): number {
    return this.#bytes;
  }

  get byteLimit(): number {
    return this.#byteLimit;
  }

  get all(): readonly KeptMessage[] {
    return this.#messages;
  }

  push(message: KeptMessage): void {
    this.#messages.push(message);
    this.#bytes += message.payload.length;
    if (!this.#isWhole || this.#bytes > this.#byteLimit) this.#letGo();
  }

  /** An acknowledged message of a stream that is not whole is of no use. */
  acknowledged(): void {
    if (!this.#isWhole) this.#letGo();
  }

  #letGo(): void {
    this.#isWhole = false;
    this.#keepOnly((message) => !message.isAcknowledged);
  }

  /** Forgets a message that was refused or given up. */
  remove(message: KeptMessage): void {
    this.#keepOnly((other) => other !== message);
  }

  /** The stream goes on at `position`: messages that begin there or later made nothing that is left. */
  truncate(position: number): void {
    this.#keepOnly((message) => message.position < position);
    // Whatever was let go is before what is kept; nothing of it is left either.
    if (position === 0) this.#isWhole = true;
  }

  /** Those that a fork of the stream at `length` begins with. */
  fork(length: number): KeptMessages {
    const copy = new KeptMessages(this.#byteLimit);
    copy.#isWhole = this.#isWhole || length === 0;
    for (const message of this.#messages) {
      if (message.isAcknowledged && message.position < length) copy.push({ ...message, sequence: 0 });
    }
    return copy;
  }

  #keepOnly(isKept: (message: KeptMessage) => boolean): void {
    this.#messages = this.#messages.filter(isKept);
    this.#bytes = this.#messages.reduce((total, { payload }) => total + payload.length, 0);
  }
}
