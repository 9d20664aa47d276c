import { threefry2x32 } from "../random/threefry.ts";

/** Multiples that kernels are often written for: vectors, tiles, workgroups. */
const granularities = [4, 8, 16, 32, 64, 128] as const;

/**
 * The random choices behind one case. A third of the cases follow the weights; a third take every alternative equally often, so that rare
 * large sizes occur; and a third prefer sizes that are multiples of one power of two, for kernels that take no others.
 */
export class CaseRandom {
  readonly #seed: number;
  readonly #index: number;
  readonly #even: boolean;
  readonly #granularity: number;
  readonly #words = new Uint32Array(2);
  readonly #counter: { next: number };

  constructor(seed: number, index: number, plain?: { next: number }) {
    this.#seed = seed;
    this.#index = index;
    this.#counter = plain ?? { next: 0 };
    const style = plain ? 0 : index % 3;
    this.#even = style > 0;
    this.#granularity = style === 2 ? granularities[Math.floor(index / 3) % granularities.length]! : 1;
  }

  /** The same stream without preferences. */
  plain(): CaseRandom {
    return new CaseRandom(this.#seed, this.#index, this.#counter);
  }

  /** In [0, 1). */
  unit(): number {
    threefry2x32(this.#seed, this.#index, this.#counter.next++, 0, this.#words);
    return this.#words[0]! / 2 ** 32;
  }

  /** A whole number, both ends included. */
  whole(minimum: number, maximum: number): number {
    return minimum + Math.floor(this.unit() * (maximum - minimum + 1));
  }

  /** As `whole`; a multiple of the case's granularity, or of the largest smaller power of two that there is one of. */
  size(minimum: number, maximum: number): number {
    for (let granularity = this.#granularity; granularity > 1; granularity /= 2) {
      const lowest = Math.max(1, Math.ceil(minimum / granularity));
      const highest = Math.floor(maximum / granularity);
      if (lowest <= highest) return this.whole(lowest, highest) * granularity;
    }
    return this.whole(minimum, maximum);
  }

  choice(values: readonly unknown[]): unknown {
    const isPreferred = (value: unknown): boolean => typeof value === "number" && value > 0 && value % this.#granularity === 0;
    const preferred = this.#granularity === 1 ? [] : values.filter(isPreferred);
    const from = preferred.length > 0 ? preferred : values;
    return from[this.whole(0, from.length - 1)];
  }

  weighted<Option extends { readonly weight: number }>(options: readonly Option[]): Option {
    if (this.#even) return options[this.whole(0, options.length - 1)]!;
    let place = this.unit() * options.reduce((sum, { weight }) => sum + weight, 0);
    return options.find(({ weight }) => (place -= weight) < 0) ?? options[0]!;
  }

  permutation<Value>(values: readonly Value[]): Value[] {
    const result = [...values];
    for (let last = result.length - 1; last > 0; last--) {
      const other = this.whole(0, last);
      [result[last], result[other]] = [result[other]!, result[last]!];
    }
    return result;
  }
}
