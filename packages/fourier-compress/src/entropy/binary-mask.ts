import { CodecMessageError } from "../errors.ts";

/*
 * Which k of n places are taken, in n · H(k / n) bits and some four bytes: a bit for each place by rANS with the one probability k / n,
 * which both ends know. The same coder as `rans.ts`, with 15 bits of probability, because there are two symbols and one distribution.
 */

const PROBABILITY_BITS = 15;
const TOTAL: number = 1 << PROBABILITY_BITS;
const SLOT_MASK: number = TOTAL - 1;
const LOWEST_STATE: number = 1 << 15;
/** States are below 2 ** 31, words have 16 bits: a symbol of frequency f goes in while the state is below f << 16. */
const WORD_BITS = 16;
const FIRST_STATE = 1;

/** Of 2 ** 15 slots, those of taken places; at least one for each kind. */
function takenSlots(total: number, count: number): number {
  return Math.max(1, Math.min(TOTAL - 1, Math.floor((count / total) * TOTAL + 0.5)));
}

/** @param positions ascending and distinct, below total */
export function encodeBinaryMask(positions: Uint32Array, total: number): Uint8Array {
  const count = positions.length;
  if (count === 0 || count === total) return new Uint8Array();
  const taken = takenSlots(total, count);
  const free = TOTAL - taken;
  // At most a word for a place.
  const words = new Uint16Array(total + 2);
  let start = words.length;
  let state = FIRST_STATE;
  let next = count - 1;
  for (let place = total - 1; place >= 0; place--) {
    const isTaken = next >= 0 && positions[next] === place;
    if (isTaken) next--;
    const frequency = isTaken ? taken : free;
    if (state >= frequency << WORD_BITS) {
      words[--start] = state;
      state >>>= WORD_BITS;
    }
    const quotient = (state / frequency) | 0;
    state = (quotient << PROBABILITY_BITS) + (state - Math.imul(quotient, frequency)) + (isTaken ? 0 : taken);
  }
  words[--start] = state >>> WORD_BITS;
  words[--start] = state;
  return new Uint8Array(words.slice(start).buffer);
}

/**
 * The positions, ascending.
 * @param bytes all that `encodeBinaryMask` returned for the same total and count
 * @throws CodecMessageError for bytes that are no such mask
 */
export function decodeBinaryMask(bytes: Uint8Array, total: number, count: number, codec: string): Uint32Array {
  if (!(count >= 0 && count <= total)) throw new CodecMessageError(codec, `${count} of ${total} places`);
  if (count === 0 || count === total) {
    if (bytes.length > 0) throw new CodecMessageError(codec, `a mask of ${bytes.length} bytes where none is due`);
    return Uint32Array.from({ length: count }, (_, place) => place);
  }
  if (bytes.length < 4 || bytes.length % 2 !== 0) throw new CodecMessageError(codec, `a mask of ${bytes.length} bytes`);
  const words = new Uint16Array(bytes.slice().buffer);
  const positions = new Uint32Array(count);
  const taken = takenSlots(total, count);
  const free = TOTAL - taken;
  let state = (words[0]! | (words[1]! << WORD_BITS)) & 0x7fff_ffff;
  let position = 2;
  let found = 0;
  for (let place = 0; place < total; place++) {
    const slot = state & SLOT_MASK;
    if (slot < taken) {
      if (found < count) positions[found] = place;
      found++;
      state = Math.imul(taken, state >>> PROBABILITY_BITS) + slot;
    } else {
      state = Math.imul(free, state >>> PROBABILITY_BITS) + slot - taken;
    }
    if (state < LOWEST_STATE && position < words.length) state = (state << WORD_BITS) | words[position++]!;
  }
  if (found !== count || state !== FIRST_STATE || position !== words.length) throw new CodecMessageError(codec, "its mask is corrupt");
  return positions;
}
