import { SettingsError } from "../errors.ts";

/** Settings of a `TokenBucket`. */
export interface TokenBucketOptions {
  /** What may be taken a second, on average. */
  readonly perSecond: number;
  /** What may be taken at once after a rest. */
  readonly burst: number;
  /** Milliseconds that never go back. Default `performance.now`. */
  readonly now?: () => number;
}

/** Bounds an average rate, with bursts. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #now: () => number;
  #level: number;
  #time: number;

  /** @throws SettingsError for a rate or burst that is not above 0 */
  constructor({ perSecond, burst, now = () => performance.now() }: TokenBucketOptions) {
    if (!(perSecond > 0) || !(burst > 0)) throw new SettingsError(`rate limit of ${perSecond} a second, ${burst} at once; use numbers > 0`);
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#now = now;
    this.#level = burst;
    this.#time = now();
  }

  /** Seconds until `count` can be taken; 0 for now. More than a burst can be taken of a full bucket, and is then owed. */
  secondsUntil(count: number): number {
    const time = this.#now();
    this.#level = Math.min(this.#burst, this.#level + ((time - this.#time) / 1000) * this.#perSecond);
    this.#time = time;
    return Math.max(0, (Math.min(count, this.#burst) - this.#level) / this.#perSecond);
  }

  /** Takes `count` if that much is there. */
  take(count: number): boolean {
    if (this.secondsUntil(count) > 0) return false;
    this.#level -= count;
    return true;
  }
}

/** Settings of a `ClientRateLimit`, as in `ServerLimits`. */
export interface ClientRateLimitOptions {
  readonly framesPerSecond: number;
  readonly bytesPerSecond: number;
  /** The time that averages are over, and so bursts of. Default 10. */
  readonly seconds?: number;
  readonly now?: () => number;
}

/** Frames and bytes of one client: all its connections share one. */
export class ClientRateLimit {
  readonly #frames: TokenBucket;
  readonly #bytes: TokenBucket;

  constructor({ framesPerSecond, bytesPerSecond, seconds = 10, ...rest }: ClientRateLimitOptions) {
    this.#frames = new TokenBucket({ perSecond: framesPerSecond, burst: framesPerSecond * seconds, ...rest });
    this.#bytes = new TokenBucket({ perSecond: bytesPerSecond, burst: bytesPerSecond * seconds, ...rest });
  }

  /** Takes one frame of that many bytes, and answers 0; or takes nothing, and answers in how many seconds it may be tried again. */
  take(bytes: number): number {
    const seconds = Math.max(this.#frames.secondsUntil(1), this.#bytes.secondsUntil(bytes));
    if (seconds > 0) return seconds;
    this.#frames.take(1);
    this.#bytes.take(bytes);
    return 0;
  }
}
