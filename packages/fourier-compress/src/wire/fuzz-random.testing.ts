/** Random numbers that are the same for the same seeds everywhere (splitmix32), and ways to spoil bytes with them. */
export class FuzzRandom {
  #state: number;

  /** @param seeds numbers that tell one stream from another, as a run's and a case's */
  constructor(...seeds: readonly number[]) {
    this.#state = 0x9e37_79b9;
    for (const seed of seeds) this.#state = (this.word() ^ Math.imul(seed + 1, 0x85eb_ca6b)) >>> 0;
  }

  /** 32 bits. */
  word(): number {
    this.#state = (this.#state + 0x9e37_79b9) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** An integer from 0 to below `bound`. */
  below(bound: number): number {
    return Math.floor((this.word() / 2 ** 32) * bound);
  }

  /** True once in `count` times. */
  oneIn(count: number): boolean {
    return this.below(count) === 0;
  }

  pick<Value>(values: readonly Value[]): Value {
    return values[this.below(values.length)]!;
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.word() & 0xff);
  }

  /** A length that is often near 0 and sometimes near `most`. */
  length(most: number): number {
    return this.below(this.pick([4, 50, 300, most + 1]));
  }

  /** A number that breaks what does not look: the ends of ranges, and sizes that nobody can allocate. */
  hostile(): number {
    return this.pick([
      0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x00ff_ffff, 0x0100_0000, 0x0100_0001, 0x7fff_ffff,
      0x8000_0000, 0xffff_fffe, 0xffff_ffff, this.word(), this.below(64),
    ]);
  }

  /** The bytes with one to three faults: flipped, overwritten, removed, repeated, inserted. Never the same object. */
  spoil(bytes: Uint8Array): Uint8Array {
    let spoiled: Uint8Array = bytes.slice();
    for (let faults = 1 + this.below(3); faults > 0; faults--) spoiled = this.#fault(spoiled);
    return spoiled;
  }

  #fault(bytes: Uint8Array): Uint8Array {
    const at = this.below(bytes.length + 1);
    const end = Math.min(bytes.length, at + 1 + this.below(16));
    switch (this.below(8)) {
      case 0:
      case 1:
        if (at < bytes.length) bytes[at]! ^= 1 << this.below(8);
        return bytes;
      case 2:
        if (at < bytes.length) bytes[at] = this.pick([0, 1, 0x7f, 0x80, 0xff, this.word() & 0xff]);
        return bytes;
      case 3:
        if (at + 4 <= bytes.length) new DataView(bytes.buffer, bytes.byteOffset).setUint32(at, this.hostile(), true);
        return bytes;
      case 4:
        return bytes.slice(0, at);
      case 5:
        return new Uint8Array([...bytes.subarray(0, at), ...bytes.subarray(end)]);
      case 6:
        return new Uint8Array([...bytes.subarray(0, end), ...bytes.subarray(at)]);
      default:
        return new Uint8Array([...bytes.subarray(0, at), ...this.bytes(1 + this.below(12)), ...bytes.subarray(at)]);
    }
  }
}
