/** Random signs that both ends know: a linear congruential generator's top bits. */
function signsOf(width: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: width }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >= 0x8000_0000 ? -1 : 1;
  });
}

/**
 * An orthonormal rotation of rows of any width that spreads each channel over at least half of the others: random signs and a
 * Walsh–Hadamard transform of the first 2^p channels, 2^p <= width; unless that is all, other signs and the same of the last 2^p.
 */
export class HadamardRotation {
  readonly #width: number;
  /** Power of two. */
  readonly #size: number;
  readonly #first: Float32Array;
  readonly #second: Float32Array;

  constructor(width: number) {
    this.#width = width;
    this.#size = 2 ** (31 - Math.clz32(width));
    this.#first = signsOf(width, 1);
    this.#second = signsOf(width, 2);
  }

  /** In place, [tokens, width]. */
  rotate(rows: Float32Array): void {
    for (let start = 0; start < rows.length; start += this.#width) {
      this.#sign(rows, start, this.#first);
      this.#transform(rows, start);
      if (this.#size === this.#width) continue;
      this.#sign(rows, start, this.#second);
      this.#transform(rows, start + this.#width - this.#size);
    }
  }

  /** Undoes `rotate`. */
  rotateBack(rows: Float32Array): void {
    for (let start = 0; start < rows.length; start += this.#width) {
      if (this.#size !== this.#width) {
        this.#transform(rows, start + this.#width - this.#size);
        this.#sign(rows, start, this.#second);
      }
      this.#transform(rows, start);
      this.#sign(rows, start, this.#first);
    }
  }

  #sign(rows: Float32Array, start: number, signs: Float32Array): void {
    for (let channel = 0; channel < signs.length; channel++) rows[start + channel]! *= signs[channel]!;
  }

  /** The transform of `size` values, its own inverse. */
  #transform(rows: Float32Array, start: number): void {
    const end = start + this.#size;
    let half = 1;
    // Two butterflies at a time, which halves the passes over the rows.
    for (; 4 * half <= this.#size; half *= 4) {
      for (let block = start; block < end; block += 4 * half) {
        for (let place = block; place < block + half; place++) {
          const first = rows[place]!;
          const second = rows[place + half]!;
          const third = rows[place + 2 * half]!;
          const fourth = rows[place + 3 * half]!;
          rows[place] = first + second + (third + fourth);
          rows[place + half] = first - second + (third - fourth);
          rows[place + 2 * half] = first + second - (third + fourth);
          rows[place + 3 * half] = first - second - (third - fourth);
        }
      }
    }
    if (half < this.#size) {
      for (let place = start; place < start + half; place++) {
        const first = rows[place]!;
        const second = rows[place + half]!;
        rows[place] = first + second;
        rows[place + half] = first - second;
      }
    }
    const norm = 1 / Math.sqrt(this.#size);
    for (let place = start; place < end; place++) rows[place]! *= norm;
  }
}
