import type { ByteReader } from "../codecs/byte-reader.ts";
import { fromBfloat16Bits, toBfloat16Bits } from "../codecs/bfloat.ts";
import { ByteWriter } from "../codecs/byte-writer.ts";
import { CodecTargetError, FourierCompressError } from "../errors.ts";
import { binaryLogarithm } from "./deterministic-math.ts";
import { HIGHEST_CLASS, MOST_ENTRIES, pushInteger, readInteger } from "./integer-code.ts";
import {
  CLASS_COUNT, CLASS_OF_RATIO_ONE, CLASSES_PER_OCTAVE, FREQUENCY_BITS, quantizerClasses, SYMBOL_BITS,
  type QuantizerClasses,
} from "./quantizer-classes.ts";
import { LOWEST_STATE, RansDecoder, RansEntries, stateCount, writeRans } from "./rans.ts";

/** A level is a token's own scale in a band, relative to the table's: 4 levels double it. */
const LEVELS_PER_OCTAVE = 4;
const CLASSES_PER_LEVEL: number = CLASSES_PER_OCTAVE / LEVELS_PER_OCTAVE;
/** Float32 spans 2 ** 277: no level is beyond. */
const LARGEST_LEVEL = 2000;
/** Classes that levels are coded in: a token's first one, and differences between neighbouring bands. About 3 and 1.2 on average. */
const FIRST_LEVEL_CLASS: number = CLASS_OF_RATIO_ONE + 13;
const LEVEL_DIFFERENCE_CLASS: number = CLASS_OF_RATIO_ONE + 2;

/** Scales are at least this share of their mean, so that a channel that calibration saw constant can be sent all the same. */
const SMALLEST_RELATIVE_SCALE: number = 1 / 4096;

/** Values over the step stay below it: an int32 with room for rounding and low bits. */
const LARGEST_MAGNITUDE: number = 2 ** 30;

/** Rows ready to be quantised with any step. */
export interface AnalyzedRows {
  readonly values: Float32Array;
  readonly tokens: number;
  /** Each token's level in each band, [tokens, bands]. */
  readonly levels: Int16Array;
  /** Sum of squares, [tokens, bands]. */
  readonly energies: Float64Array;
  /** Largest magnitude. */
  readonly peak: number;
  /** Holds the symbols of the last `quantize`, whose result is `latest`. */
  readonly sink: RansEntries;
  latest: QuantizedRows | undefined;
}

/** What a step gives. */
export interface QuantizedRows {
  readonly step: number;
  /** Length of the entropy code, within a few bytes. */
  readonly bits: number;
  /** Of the values against their reconstruction. */
  readonly squaredError: number;
}

/** What `read` found. */
export interface ReadRows {
  /** [tokens, width]. */
  readonly values: Float32Array;
  /** Columns from this one on are zero in all rows. */
  readonly columns: number;
}

/**
 * A uniform quantiser with one step for all columns (reverse water-filling: columns that vary less than a step cost almost nothing) and an
 * entropy code by static distributions. A value's distribution is that of its column's scale times its token's own scale in the column's
 * band, sent beside the values. Layout: step (float32, of messages with one state only the upper half), then the code of all tokens' levels
 * and of all values.
 */
export class RowQuantizer {
  readonly width: number;
  readonly #classes: QuantizerClasses;
  /** Classes of the columns' scales at step 1, not rounded. */
  readonly #units: Float64Array;
  readonly #inverseScales: Float32Array;
  /** Columns where the bands end. */
  readonly #bandEnds: readonly number[];

  /** @param scales mean magnitude of each column @param bandEnds ascending, the last one the number of columns */
  constructor(scales: Float32Array, bandEnds: readonly number[]) {
    this.width = scales.length;
    this.#classes = quantizerClasses();
    this.#bandEnds = bandEnds;
    let sum = 0;
    for (const scale of scales) sum += scale > 0 && scale < Infinity ? scale : 0;
    const smallest = sum > 0 ? (sum / scales.length) * SMALLEST_RELATIVE_SCALE : 1;
    const checked = Float64Array.from(scales, (scale) => (scale > smallest && scale < Infinity ? scale : smallest));
    this.#units = checked.map((scale) => CLASSES_PER_OCTAVE * binaryLogarithm(scale) + CLASS_OF_RATIO_ONE);
    this.#inverseScales = Float32Array.from(checked, (scale) => 1 / scale);
  }

  /** @param values [tokens, width], kept @throws FourierCompressError for values that are not finite */
  analyze(values: Float32Array, tokens: number): AnalyzedRows {
    const bands = this.#bandEnds.length;
    const levels = new Int16Array(tokens * bands);
    const energies = new Float64Array(tokens * bands);
    let peak = 0;
    let total = 0;
    for (let token = 0, place = 0; token < tokens; token++) {
      let column = 0;
      for (let band = 0; band < bands; band++) {
        const [start, end] = [column, this.#bandEnds[band]!];
        let sum = 0;
        let energy = 0;
        for (; column < end; column++, place++) {
          const value = values[place]!;
          const magnitude = Math.abs(value);
          if (magnitude > peak) peak = magnitude;
          sum += magnitude * this.#inverseScales[column]!;
          energy += value * value;
        }
        const index = token * bands + band;
        total += energies[index] = energy;
        const level = Math.round(LEVELS_PER_OCTAVE * Math.log2(sum / (end - start)));
        levels[index] = Math.max(-LARGEST_LEVEL, Math.min(LARGEST_LEVEL, level));
      }
    }
    if (!Number.isFinite(total)) throw new FourierCompressError("quantiser: the activations are not finite, or too large for float32");
    return { values, tokens, levels, energies, peak, sink: new RansEntries(), latest: undefined };
  }

  /** Some of the rows, evenly spread, at most `count`, for estimates. */
  sample({ values, tokens, levels, energies, peak }: AnalyzedRows, count: number): AnalyzedRows {
    const bands = this.#bandEnds.length;
    const picked = Math.min(count, tokens);
    const sample: AnalyzedRows = {
      values: new Float32Array(picked * this.width), tokens: picked, levels: new Int16Array(picked * bands),
      energies: new Float64Array(picked * bands), peak, sink: new RansEntries(), latest: undefined,
    };
    for (let index = 0; index < picked; index++) {
      const token = Math.floor(((index + 0.5) * tokens) / picked);
      sample.values.set(values.subarray(token * this.width, (token + 1) * this.width), index * this.width);
      sample.levels.set(levels.subarray(token * bands, (token + 1) * bands), index * bands);
      sample.energies.set(energies.subarray(token * bands, (token + 1) * bands), index * bands);
    }
    return sample;
  }

  /** The nearest step that a body of so many rows can carry: float32, or 8 significant bits where two bytes count for more. */
  roundStep(step: number, tokens: number): number {
    return this.#isShort(tokens) ? fromBfloat16Bits(toBfloat16Bits(Float32Array.of(step)))[0]! : Math.fround(step);
  }

  /** About what a body takes beside its bits: step, number of words and the states' unused bits. */
  bodyOverhead(tokens: number): number {
    return this.#isShort(tokens) ? 4 : 12;
  }

  #isShort(tokens: number): boolean {
    return stateCount(tokens * this.width) === 1;
  }

  /** @param step by `roundStep` @throws CodecTargetError for a step so fine that values exceed 31 bits */
  quantize(rows: AnalyzedRows, step: number): QuantizedRows {
    // Searches end at a step that they have just tried.
    if (rows.latest?.step === step) return rows.latest;
    if (!(rows.peak < step * LARGEST_MAGNITUDE)) {
      const finest = rows.peak / LARGEST_MAGNITUDE;
      throw new CodecTargetError(`quantiser: step ${step} is too fine for values up to ${rows.peak}; use more than ${finest}`);
    }
    const { sink, tokens } = rows;
    rows.latest = undefined;
    sink.length = 0;
    const bandClasses = this.#classesAt(step);
    const levels = this.#pushLevels(rows, bandClasses.emptyLevels);
    let squaredError = 0;
    for (let token = 0; token < tokens; token++) {
      sink.reserve(MOST_ENTRIES * this.width);
      squaredError += this.#pushRow(rows, token, 1 / step, bandClasses, levels);
    }
    rows.latest = { step, bits: sink.bits(), squaredError: squaredError * step * step };
    return rows.latest;
  }

  /** The body of the rows as `quantize` left them. */
  write({ sink, tokens }: AnalyzedRows, step: number): Uint8Array {
    const writer = new ByteWriter();
    if (this.#isShort(tokens)) writer.append(toBfloat16Bits(Float32Array.of(step)));
    else writer.float32(step);
    writeRans(writer, sink, stateCount(tokens * this.width));
    return writer.finish();
  }

  /** @throws CodecMessageError */
  read(reader: ByteReader, tokens: number): ReadRows {
    const step = this.#isShort(tokens) ? fromBfloat16Bits(reader.uint16Array(1))[0]! : reader.float32();
    if (!(step > 0 && step < Infinity)) reader.fail(`step ${step} is not a finite number > 0`);
    const bandClasses = this.#classesAt(step);
    const decoder = new RansDecoder(reader, stateCount(tokens * this.width));
    const bands = this.#bandEnds.length;
    const levels = new Int16Array(tokens * bands);
    for (let token = 0, index = 0; token < tokens; token++) {
      let previous = 0;
      for (let band = 0; band < bands; band++, index++) {
        const expected = Math.max(previous, bandClasses.emptyLevels[band]!);
        const difference = readInteger(decoder, this.#classes, band === 0 ? FIRST_LEVEL_CLASS : LEVEL_DIFFERENCE_CLASS);
        previous = expected + difference;
        if (Math.abs(previous) > 2 * LARGEST_LEVEL) reader.fail(`level ${previous} of token ${token} is out of range`);
        levels[index] = previous;
      }
    }
    const values = new Float32Array(tokens * this.width);
    let columns = 0;
    for (let token = 0; token < tokens; token++) {
      columns = Math.max(columns, this.#readRow(decoder, values, token, step, bandClasses, levels));
    }
    decoder.finish();
    return { values, columns };
  }

  /** The classes of the columns at a step, each band's highest, and the highest level at which all of a band is zero. */
  #classesAt(step: number): BandClasses {
    const shift = CLASSES_PER_OCTAVE * binaryLogarithm(step);
    const columns = new Int32Array(this.width);
    const highest = new Int32Array(this.#bandEnds.length);
    const emptyLevels = new Int32Array(this.#bandEnds.length);
    let column = 0;
    for (let band = 0; band < highest.length; band++) {
      let top = Number.NEGATIVE_INFINITY;
      for (; column < this.#bandEnds[band]!; column++) {
        const quantizerClass = Math.floor(this.#units[column]! - shift + 0.5);
        columns[column] = quantizerClass;
        if (quantizerClass > top) top = quantizerClass;
      }
      highest[band] = top;
      emptyLevels[band] = Math.ceil(-top / CLASSES_PER_LEVEL) - 1;
    }
    return { columns, highest, emptyLevels };
  }

  /** Codes the levels; returns them as the decoder will know them: all levels at which a band is zero are the same. */
  #pushLevels({ tokens, levels, sink }: AnalyzedRows, emptyLevels: Int32Array): Int16Array {
    const bands = emptyLevels.length;
    const sent = new Int16Array(levels.length);
    sink.reserve(MOST_ENTRIES * levels.length);
    for (let token = 0, index = 0; token < tokens; token++) {
      let previous = 0;
      for (let band = 0; band < bands; band++, index++) {
        const expected = Math.max(previous, emptyLevels[band]!);
        previous = sent[index] = Math.max(levels[index]!, emptyLevels[band]!);
        pushInteger(sink, this.#classes, band === 0 ? FIRST_LEVEL_CLASS : LEVEL_DIFFERENCE_CLASS, previous - expected);
      }
    }
    return sent;
  }

  /** Returns the squared error in steps. */
  #pushRow({ values, energies, sink }: AnalyzedRows, token: number, inverse: number, bandClasses: BandClasses, levels: Int16Array): number {
    const { largest, entries: symbolEntries } = this.#classes;
    const { columns, highest } = bandClasses;
    const { entries } = sink;
    const start = token * this.width;
    let length = sink.length;
    let error = 0;
    let column = 0;
    for (let band = 0; band < highest.length; band++) {
      const end = this.#bandEnds[band]!;
      const index = token * highest.length + band;
      const offset = levels[index]! * CLASSES_PER_LEVEL;
      if (highest[band]! + offset < 0) {
        error += energies[index]! * inverse * inverse;
        column = end;
        continue;
      }
      for (; column < end; column++) {
        const value = values[start + column]! * inverse;
        const quantizerClass = columns[column]! + offset;
        if (quantizerClass < 0) {
          error += value * value;
          continue;
        }
        const q = Math.floor(value + 0.5);
        error += (value - q) * (value - q);
        const limit = quantizerClass < CLASS_COUNT ? largest[quantizerClass]! : -1;
        if (q <= limit && q >= -limit) {
          entries[length++] = symbolEntries[(quantizerClass << SYMBOL_BITS) + limit + (q | 0)]!;
        } else {
          sink.length = length;
          pushInteger(sink, this.#classes, Math.min(quantizerClass, HIGHEST_CLASS), q);
          ({ length } = sink);
        }
      }
    }
    sink.length = length;
    return error;
  }

  /** Returns the number of columns up to the last value that is not zero. */
  #readRow(
    decoder: RansDecoder, values: Float32Array, token: number, step: number, { columns, highest }: BandClasses, levels: Int16Array,
  ): number {
    const { largest, slots } = this.#classes;
    const { words } = decoder;
    const isPair = decoder.states === 2;
    const start = token * this.width;
    let { state, other, position } = decoder;
    let used = 0;
    let column = 0;
    for (let band = 0; band < highest.length; band++) {
      const end = this.#bandEnds[band]!;
      const offset = levels[token * highest.length + band]! * CLASSES_PER_LEVEL;
      if (highest[band]! + offset < 0) {
        column = end;
        continue;
      }
      for (; column < end; column++) {
        const quantizerClass = columns[column]! + offset;
        if (quantizerClass < 0) continue;
        const slot = quantizerClass < CLASS_COUNT ? slots[(quantizerClass << FREQUENCY_BITS) | (state & SLOT_MASK)]! : 0;
        const symbol = slot >>> (2 * FREQUENCY_BITS);
        if (quantizerClass >= CLASS_COUNT || symbol > 2 * largest[quantizerClass]!) {
          decoder.state = state;
          decoder.other = other;
          decoder.position = position;
          values[start + column] = readInteger(decoder, this.#classes, Math.min(quantizerClass, HIGHEST_CLASS)) * step;
          ({ state, other, position } = decoder);
          used = column + 1;
          continue;
        }
        let next = Math.imul((slot >>> FREQUENCY_BITS) & SLOT_MASK, state >>> FREQUENCY_BITS) + (slot & SLOT_MASK);
        if (next < LOWEST_STATE && position < words.length) next = (next << 16) | words[position++]!;
        if (isPair) {
          state = other;
          other = next;
        } else {
          state = next;
        }
        const q = symbol - largest[quantizerClass]!;
        if (q !== 0) {
          values[start + column] = q * step;
          used = column + 1;
        }
      }
    }
    decoder.state = state;
    decoder.other = other;
    decoder.position = position;
    return used;
  }
}

const SLOT_MASK: number = (1 << FREQUENCY_BITS) - 1;

/** Classes at one step: of each column, the highest of each band, and each band's highest level at which it is all zero. */
interface BandClasses {
  readonly columns: Int32Array;
  readonly highest: Int32Array;
  readonly emptyLevels: Int32Array;
}
