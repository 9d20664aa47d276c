import { foldIn, randomKey, randomWord, type RandomKey } from "@frugal/tensor-core";

/** Random numbers of one purpose: the same seed and purpose give the same ones, whatever else is drawn. */
export class RandomStream {
  readonly #key: RandomKey;
  #position = 0;

  /** @param purpose any safe integer: streams of different purposes are independent @throws RangeError if `seed` is no safe integer */
  constructor(seed: number, purpose = 0) {
    this.#key = foldIn(randomKey(seed), purpose);
  }

  /** Uniform in (0, 1), never an end. */
  uniform(): number {
    return (randomWord(this.#key, this.#position++) + 0.5) / 4294967296;
  }

  /** 0 .. count - 1. */
  index(count: number): number {
    return Math.floor(this.uniform() * count);
  }

  /** Exponentially distributed with that mean. */
  exponential(mean: number): number {
    return -mean * Math.log(this.uniform());
  }
}
