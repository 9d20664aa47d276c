/**
 * Sorting by 64-bit keys: the value as an unsigned number in the wanted order above, its index below. No two keys are equal, so any way of
 * sorting is stable. NaN comes last whichever the direction; -0 and 0 are equal.
 */

/** Rows up to this long are sorted by insertion, longer ones by radix. */
const SHORT: i32 = 48;

/** The value's place in the wanted order as an unsigned number. */
// @ts-ignore: decorator
@inline
function orderedBits(integer: bool, descending: bool, source: usize): u32 {
  let bits = load<u32>(source);
  if (integer) bits ^= 0x80000000;
  else {
    if (bits << 1 > 0xff000000) return 0xffffffff; // NaN
    if (bits == 0x80000000) bits = 0;
    bits ^= <u32>(<i32>bits >> 31) | 0x80000000;
  }
  return descending ? ~bits : bits;
}

/** Keys of a row to `keys`, in order. `spare`: as large as `keys`; `counters`: 4,096 bytes. */
function sortRow(integer: bool, descending: bool, input: usize, columns: i32, keys: usize, spare: usize, counters: usize): void {
  const bytes = <usize>columns << 3;
  if (columns <= SHORT) {
    for (let i = 0; i < columns; i++) {
      const key = <u64>orderedBits(integer, descending, input + (<usize>i << 2)) << 32 | <u64>i;
      let at = keys + (<usize>i << 3);
      for (; at > keys && load<u64>(at - 8) > key; at -= 8) store<u64>(at, load<u64>(at - 8));
      store<u64>(at, key);
    }
    return;
  }
  // Least significant digit first; four digits of eight bits, all counted in one pass.
  memory.fill(counters, 0, 4096);
  for (let i = 0; i < columns; i++) {
    const bits = orderedBits(integer, descending, input + (<usize>i << 2));
    store<u64>(keys + (<usize>i << 3), <u64>bits << 32 | <u64>i);
    for (let digit: usize = 0; digit < 4; digit++) {
      const counter = counters + (digit << 10) + (<usize>(bits >> <u32>(digit << 3) & 255) << 2);
      store<i32>(counter, load<i32>(counter) + 1);
    }
  }
  let source = keys;
  let target = spare;
  for (let digit: usize = 0; digit < 4; digit++) {
    const places = counters + (digit << 10);
    let place = 0;
    let onlyOne = false;
    for (let value: usize = 0; value < 1024; value += 4) {
      const count = load<i32>(places + value);
      onlyOne = onlyOne || count == columns;
      store<i32>(places + value, place);
      place += count;
    }
    if (onlyOne) continue; // all keys share this digit
    const shift = <u64>(32 + (digit << 3));
    for (let at: usize = 0; at < bytes; at += 8) {
      const key = load<u64>(source + at);
      const counter = places + (<usize>(key >> shift & 255) << 2);
      const to = load<i32>(counter);
      store<u64>(target + (<usize>to << 3), key);
      store<i32>(counter, to + 1);
    }
    const swap = source;
    source = target;
    target = swap;
  }
  if (source != keys) memory.copy(keys, source, bytes);
}

/** The first `count` keys as values and indices. */
function emit(input: usize, keys: usize, values: usize, indices: usize, count: i32): void {
  for (let i: usize = 0; i < <usize>count; i++) {
    const index = load<i32>(keys + (i << 3));
    store<i32>(values + (i << 2), load<i32>(input + (<usize>index << 2)));
    store<i32>(indices + (i << 2), index);
  }
}

/** Sorts rows. Range over rows. Scratch: 16 * columns + 4,096 bytes. */
export function sortRows(
  integer: i32, descending: i32, input: usize, values: usize, indices: usize, columns: i32, scratch: usize, begin: i32, end: i32,
): void {
  const bytes = <usize>columns << 2;
  for (let row = <usize>begin; row < <usize>end; row++) {
    const source = input + row * bytes;
    sortRow(integer != 0, descending != 0, source, columns, scratch, scratch + (<usize>columns << 3), scratch + (<usize>columns << 4));
    emit(source, scratch, values + row * bytes, indices + row * bytes, columns);
  }
}

/**
 * The first k of each row in the wanted order. Range over rows. Scratch: 8 * k bytes, or, for k above 128, what `sortRows` takes. Few are
 * kept in order by insertion; many by sorting the row.
 */
export function topK(
  integer: i32, descending: i32, input: usize, values: usize, indices: usize, columns: i32, k: i32, scratch: usize, begin: i32, end: i32,
): void {
  for (let row = <usize>begin; row < <usize>end; row++) {
    const source = input + (row * <usize>columns << 2);
    if (k > 128) {
      const spare = scratch + (<usize>columns << 3);
      sortRow(integer != 0, descending != 0, source, columns, scratch, spare, scratch + (<usize>columns << 4));
    } else {
      let kept = 0;
      let worst: u64 = u64.MAX_VALUE;
      for (let i = 0; i < columns; i++) {
        const key = <u64>orderedBits(integer != 0, descending != 0, source + (<usize>i << 2)) << 32 | <u64>i;
        if (key >= worst) continue;
        if (kept < k) kept++;
        let at = scratch + (<usize>(kept - 1) << 3);
        for (; at > scratch && load<u64>(at - 8) > key; at -= 8) store<u64>(at, load<u64>(at - 8));
        store<u64>(at, key);
        if (kept == k) worst = load<u64>(scratch + (<usize>(k - 1) << 3));
      }
    }
    emit(source, scratch, values + (row * <usize>k << 2), indices + (row * <usize>k << 2), k);
  }
}
