import { foldIn, randomKey, threefry2x32, type RandomKey } from "@frugal/tensor-core";

/** Random numbers of one purpose: the same seed and purpose give the same ones, whatever else is drawn. */
export class RandomStream {
  readonly #key: RandomKey;
  /** Each counter gives two words. */
  readonly #words: Uint32Array = new Uint32Array(2);
  #drawn = 0;

  /** @param purpose any safe integer: streams of different purposes are independent @throws RangeError if `seed` is no safe integer */
  constructor(seed: number, purpose = 0) {
    this.#key = foldIn(randomKey(seed), purpose);
  }

  /** Uniform in (0, 1), never an end. */
  uniform(): number {
    const half = this.#drawn % 2;
    if (half === 0) {
      const counter = this.#drawn / 2;
      threefry2x32(this.#key[0], this.#key[1], counter >>> 0, Math.floor(counter / 4294967296) >>> 0, this.#words);
    }
    this.#drawn++;
    return (this.#words[half]! + 0.5) / 4294967296;
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
