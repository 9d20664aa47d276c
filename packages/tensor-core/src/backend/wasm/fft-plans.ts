import {
  chirpSpectrum, createFftPlan, passTwiddles, type BluesteinPlan, type FftPlan, type SmoothPlan,
} from "../../fft/plan.ts";
import { chirp, unitRoot } from "../../fft/roots.ts";
import type { Heap, HeapBuffer } from "./heap.ts";

/** Header bytes of every plan: 16, then 8 for every pass (at most 18), then the constants. */
const headerBytes = 256;
const constantsWord = 48;
/** What the butterflies multiply by, in the order of `assembly/fft-passes.ts`. */
const butterflyConstants: readonly number[] = [
  0.5, Math.sqrt(0.75),
  ...[1, 2].map((j) => unitRoot(j, 5)[0]), ...[1, 2].map((j) => -unitRoot(j, 5)[1]),
  ...[1, 2, 3].map((j) => unitRoot(j, 7)[0]), ...[1, 2, 3].map((j) => -unitRoot(j, 7)[1]),
  Math.SQRT1_2,
];
/** Tables kept for later transforms; the least recently used go first. */
const cacheLimitBytes = 16 * 2 ** 20;
const cacheLimitPlans = 64;

/** A plan in the layout that `assembly/fft*.ts` read, position independent. */
interface Block {
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Lays tables one after another behind a header; offsets are from the start of the plan. */
class BlockWriter {
  readonly #header = new Int32Array(headerBytes / 4);
  readonly #sections: Uint8Array[] = [];
  #size = headerBytes;

  set(word: number, value: number): void {
    this.#header[word] = value;
  }

  setFloat(word: number, value: number): void {
    new Float32Array(this.#header.buffer)[word] = value;
  }

  append(section: Float32Array | Uint8Array): number {
    const offset = this.#size;
    const bytes = new Uint8Array(section.buffer, section.byteOffset, section.byteLength);
    this.#sections.push(bytes);
    this.#size += (bytes.length + 63) & ~63;
    return offset;
  }

  finish(): Block {
    const bytes = new Uint8Array(this.#size);
    bytes.set(new Uint8Array(this.#header.buffer));
    let offset = headerBytes;
    for (const section of this.#sections) {
      bytes.set(section, offset);
      offset += (section.length + 63) & ~63;
    }
    return { bytes };
  }
}

/** With `rows` the first pass (radix 4) has its twiddles as six arrays over the groups, for vectors along the row. */
function encodeSmooth(plan: SmoothPlan, rows: boolean): Block {
  const writer = new BlockWriter();
  writer.set(0, plan.length);
  writer.set(1, 0);
  writer.set(2, plan.radices.length);
  butterflyConstants.forEach((value, i) => writer.setFloat(constantsWord + i, value));
  let legs = plan.length;
  plan.radices.forEach((radix, pass) => {
    legs /= radix;
    writer.set(4 + 2 * pass, radix);
    const isLast = pass === plan.radices.length - 1;
    if (rows && pass === 0) {
      const pairs = passTwiddles(legs, radix);
      const arrays = new Float32Array(pairs.length);
      for (let i = 0; i < pairs.length; i++) arrays[(i % 6) * legs + Math.floor(i / 6)] = pairs[i]!;
      writer.set(3, writer.append(arrays));
    } else if (!isLast) {
      writer.set(5 + 2 * pass, writer.append(passTwiddles(legs, radix)));
    }
  });
  return writer.finish();
}

function interleave(real: Float64Array, imaginary: Float64Array): Float32Array {
  const pairs = new Float32Array(real.length * 2);
  for (let i = 0; i < real.length; i++) {
    pairs[2 * i] = real[i]!;
    pairs[2 * i + 1] = imaginary[i]!;
  }
  return pairs;
}

function encodeBluestein(plan: BluesteinPlan): Block {
  const writer = new BlockWriter();
  const { real, imaginary } = chirp(plan.length);
  const spectrum = chirpSpectrum(real, imaginary, plan.paddedLength);
  writer.set(0, plan.length);
  writer.set(1, 1);
  writer.set(2, plan.paddedLength);
  writer.set(3, writer.append(interleave(real, imaginary)));
  writer.set(4, writer.append(interleave(spectrum.real, spectrum.imaginary)));
  writer.set(5, writer.append(encodeSmooth(plan.inner, false).bytes));
  return writer.finish();
}

function encodeComplex(plan: FftPlan, rows: boolean): Block {
  return plan.kind === "smooth" ? encodeSmooth(plan, rows) : encodeBluestein(plan);
}

/** A real transform: a complex one of half the length (of the whole length when that is odd) and the roots that take it apart. */
function encodeReal(length: number, inside: FftPlan, rows: boolean): Block {
  const writer = new BlockWriter();
  const even = length % 2 === 0;
  writer.set(0, length);
  writer.set(1, writer.append(encodeComplex(inside, rows).bytes));
  if (even) {
    // Vectors of four may read a little past the middle.
    const count = Math.floor(length / 4) + 5;
    const real = new Float32Array(count);
    const imaginary = new Float32Array(count);
    for (let k = 0; k < count; k++) [real[k], imaginary[k]] = unitRoot(k, length) as [number, number];
    writer.set(2, writer.append(real));
    writer.set(3, writer.append(imaginary));
  }
  return writer.finish();
}

/** A plan in the heap. */
interface StoredPlan {
  /** Address, valid until the next plan is made. */
  readonly pointer: number;
  /** Points of the complex transform inside, Bluestein's padding included. */
  readonly workLength: number;
}

/** Plans in the heap, made on first use and kept while there is room. */
export class FftPlanCache {
  readonly #heap: Heap;
  readonly #plans = new Map<number, StoredPlan & { readonly buffer: HeapBuffer }>();
  #bytes = 0;

  constructor(heap: Heap) {
    this.#heap = heap;
  }

  /** `rows`: for the row kernels. @throws TensorError for a length too large to transform. */
  get(kind: "complex" | "real", length: number, rows: boolean): StoredPlan {
    const key = length * 4 + (kind === "real" ? 2 : 0) + (rows ? 1 : 0);
    let plan = this.#plans.get(key);
    if (plan) {
      this.#plans.delete(key);
    } else {
      const inside = createFftPlan(kind === "real" && length % 2 === 0 ? length / 2 : length, rows ? "rows" : "columns");
      const { bytes } = kind === "complex" ? encodeComplex(inside, rows) : encodeReal(length, inside, rows);
      this.#makeRoom(bytes.length);
      const buffer = this.#heap.allocateInternal(bytes.length);
      this.#heap.uint8.set(bytes, buffer.pointer);
      this.#bytes += bytes.length;
      plan = { pointer: buffer.pointer, workLength: inside.kind === "smooth" ? inside.length : inside.paddedLength, buffer };
    }
    // Last in the map = most recently used.
    this.#plans.set(key, plan);
    return plan;
  }

  #makeRoom(byteLength: number): void {
    for (const [key, { buffer }] of this.#plans) {
      if (this.#plans.size < cacheLimitPlans && this.#bytes + byteLength <= cacheLimitBytes) return;
      this.#plans.delete(key);
      this.#heap.free(buffer);
      this.#bytes -= buffer.byteLength;
    }
  }
}
