/**
 * Attention in blocks of keys, without the matrix of scores (Dao et al. 2022): maxima and sums of each query's row are kept up to date as
 * blocks pass, and backward recomputes probabilities from the stored log-sum-exp.
 *
 * Query heads that share a key head are taken together: "row" r of a key head is query floor(r / group) of its head r mod group.
 * Scores are kept in units of ln 2, so that exponentials are powers of two. Strides are in elements. `mask` 0 = none. Every row's
 * arithmetic is independent of the blocks that rows are grouped in.
 */
import { loadPartial, logF32, multiplyAdd, storePartial } from "./math";
import {
  addMaskToRow, dotOfRows, LN2, LOG2E, maximumOfRow, powerOfTwoOf, powersOfFourRows, powersOfRow, sumOfEach, updateFourRows,
} from "./row-functions";
import {
  accumulateColumns, accumulateRow, accumulateRows, BLOCK, BLOCK_BYTES, fillScores, multiplyPanels, packPanels, packQuads, packRow, packRows,
  paddedDim, scaleTiles, unpackTileRow,
} from "./attention-tiles";

/** Values that decoding adds together. */
const VALUES: i32 = 8;
/** Queries that backward takes together. */
const QUERY_BLOCK: i32 = 64;

/** Keys that query `query` sees. */
// @ts-ignore: decorator
@inline
function visibleKeys(query: i32, keys: i32, causal: i32, queryOffset: i32): i32 {
  return causal ? max(0, min(keys, query + queryOffset + 1)) : keys;
}

/**
 * Turns `count` scores into exponentials over the running maximum, and updates the row's maximum and sum at `state` (two floats).
 * Gives the factor by which what was accumulated before must be multiplied.
 */
function updateRow(scores: usize, count: i32, mask: usize, maskStride: i32, state: usize): f32 {
  if (mask) addMaskToRow(scores, scores, count, 1.0, mask, maskStride, LOG2E);
  const before = load<f32>(state);
  const maximum = max<f32>(before, maximumOfRow(scores, count, 1.0));
  // Nothing seen yet: subtracting 0 turns -Infinity into 0 and keeps NaN.
  const base: f32 = maximum == -Infinity ? 0.0 : maximum;
  const sum = powersOfRow(scores, count, base);
  const factor: f32 = maximum == before || before == -Infinity ? 1.0 : powerOfTwoOf(before - maximum);
  store<f32>(state, maximum);
  store<f32>(state, load<f32>(state, 4) * factor + sum, 4);
  return factor;
}

/** The log-sum-exp that a running maximum and sum stand for: -Infinity for a row that saw nothing. */
// @ts-ignore: decorator
@inline
function logSumExpOf(maximum: f32, sum: f32): f32 {
  return (maximum == -Infinity ? <f32>0.0 : maximum * LN2) + logF32(sum);
}

/**
 * Attention of many queries. [begin, end) counts blocks of `rowsPerBlock` (a multiple of 4) rows over all batches and key heads.
 * Scratch: 4 * ((2 * rowsPerBlock + 128) * padded + 2 * rowsPerBlock + 256) bytes, padded = headDim rounded up to 8.
 */
export function attention(
  query: usize, queryBatch: i32, queryHead: i32, queryStep: i32, key: usize, keyBatch: i32, keyHead: i32, keyStep: i32,
  value: usize, valueBatch: i32, valueHead: i32, valueStep: i32, output: usize, outputBatch: i32, outputHead: i32, outputStep: i32,
  logSumExp: usize, mask: usize, maskBatch: i32, maskHead: i32, maskQuery: i32, maskKey: i32,
  heads: i32, keyHeads: i32, queries: i32, keys: i32, headDim: i32, scale: f32, causal: i32, queryOffset: i32, rowsPerBlock: i32,
  scratch: usize, begin: i32, end: i32,
): void {
  const padded = paddedDim(headDim);
  const paddedBytes = <usize>padded << 2;
  const group = heads / keyHeads;
  const rows = group * queries;
  const blocks = (rows + rowsPerBlock - 1) / rowsPerBlock;
  const keyStepBytes = <usize>keyStep << 2;
  const direct = valueStep == padded && headDim == padded;
  const valueStepBytes = direct ? <usize>valueStep << 2 : paddedBytes;

  const quads = scratch;
  const tiles = quads + <usize>rowsPerBlock * paddedBytes;
  const packedKeys = tiles + <usize>rowsPerBlock * paddedBytes;
  const packedValues = packedKeys + <usize>BLOCK * paddedBytes;
  const states = packedValues + <usize>BLOCK * paddedBytes;
  const scores = states + (<usize>rowsPerBlock << 3);

  for (let task = begin; task < end; task++) {
    const pair = task / blocks;
    const batch = pair / keyHeads;
    const sharedHead = pair % keyHeads;
    // Blocks alternate between the two ends, so that every part of a causal range costs about the same.
    const turn = task % blocks;
    const firstRow = (turn & 1 ? blocks - 1 - (turn >> 1) : turn >> 1) * rowsPerBlock;
    const rowCount = min(rowsPerBlock, rows - firstRow);
    const rowsInPanels = (rowCount + 3) & ~3;

    let q = firstRow / group;
    let h = firstRow % group;
    for (let r = 0; r < rowsInPanels; r++) {
      const row = packedValues + <usize>(r & 3) * paddedBytes;
      if (r < rowCount) {
        const head = sharedHead * group + h;
        packRow(query + (<usize>(batch * queryBatch + head * queryHead + q * queryStep) << 2), headDim, padded, scale * LOG2E, row);
        if (++h == group) {
          h = 0;
          q++;
        }
      } else {
        memory.fill(row, 0, paddedBytes);
      }
      if ((r & 3) == 3) {
        packQuads(packedValues, 4, padded, quads + <usize>(r - 3) * paddedBytes);
        v128.store(states + (<usize>(r - 3) << 3), f32x4.splat(-Infinity));
        v128.store(states + (<usize>(r - 3) << 3), f32x4.splat(0.0), 16);
      }
    }
    memory.fill(tiles, 0, <usize>rowsInPanels * paddedBytes);

    const seen = visibleKeys((firstRow + rowCount - 1) / group, keys, causal, queryOffset);
    const keyBase = key + (<usize>(batch * keyBatch + sharedHead * keyHead) << 2);
    const valueBase = value + (<usize>(batch * valueBatch + sharedHead * valueHead) << 2);
    for (let k = 0; k < seen; k += BLOCK) {
      const count = min(BLOCK, seen - k);
      packPanels(keyBase + <usize>k * keyStepBytes, keyStepBytes, count, headDim, padded, packedKeys);
      let values = valueBase + (<usize>(k * valueStep) << 2);
      if (!direct) {
        packRows(values, <usize>valueStep << 2, count, headDim, padded, 1.0, packedValues);
        values = packedValues;
      }
      for (let r = 0; r < rowCount; r += 4) {
        const rowsHere = min(4, rowCount - r);
        const lastQuery = (firstRow + r + rowsHere - 1) / group;
        const most = min(count, visibleKeys(lastQuery, keys, causal, queryOffset) - k);
        if (most <= 0) continue;
        const panel = tiles + <usize>r * paddedBytes;
        multiplyPanels(quads + <usize>r * paddedBytes, packedKeys, scores, most, padded);
        q = (firstRow + r) / group;
        h = firstRow + r - q * group;
        // All four rows see the keys that the first one sees.
        const shared = max(0, min(count, visibleKeys(q, keys, causal, queryOffset) - k));
        const bytes = <usize>(most + 3 & ~3) << 2;
        if (mask != 0 || shared < most || (most & 3) != 0) {
          for (let i = 0; i < rowsHere; i++) {
            const row = scores + <usize>i * BLOCK_BYTES;
            const visible = max(0, min(count, visibleKeys(q, keys, causal, queryOffset) - k));
            if (mask) {
              const head = sharedHead * group + h;
              const maskRow = mask + (<usize>(batch * maskBatch + head * maskHead + q * maskQuery + k * maskKey) << 2);
              addMaskToRow(row, row, visible, 1.0, maskRow, maskKey, LOG2E);
            }
            fillScores(row, visible, most + 3 & ~3, -Infinity);
            if (++h == group) {
              h = 0;
              q++;
            }
          }
        }
        const factors = updateFourRows(scores, BLOCK_BYTES, bytes, states + (<usize>r << 3));
        if (v128.any_true(f32x4.ne(factors, f32x4.splat(1.0)))) scaleTiles(panel, padded, factors);
        accumulateRows(scores, values, valueStepBytes, shared, padded, panel);
        // The few keys beyond are added row by row, so that no row meets keys it must not see: 0 times NaN would show.
        if (shared == most) continue;
        for (let i = 1; i < rowsHere; i++) {
          const visible = min(count, visibleKeys((firstRow + r + i) / group, keys, causal, queryOffset) - k);
          if (visible <= shared) continue;
          accumulateRow(
            scores + <usize>i * BLOCK_BYTES + (<usize>shared << 2), values + <usize>shared * valueStepBytes, valueStepBytes,
            visible - shared, padded, panel + (<usize>i << 5),
          );
        }
      }
    }

    q = firstRow / group;
    h = firstRow % group;
    for (let r = 0; r < rowCount; r++) {
      const head = sharedHead * group + h;
      const state = states + (<usize>(r & ~3) << 3) + (<usize>(r & 3) << 2);
      const sum = load<f32>(state, 16);
      unpackTileRow(
        tiles + <usize>(r & ~3) * paddedBytes + (<usize>(r & 3) << 5), headDim, sum == 0.0 ? 0.0 : <f32>1.0 / sum,
        output + (<usize>(batch * outputBatch + head * outputHead + q * outputStep) << 2),
      );
      store<f32>(logSumExp + (<usize>((batch * heads + head) * queries + q) << 2), logSumExpOf(load<f32>(state), sum));
      if (++h == group) {
        h = 0;
        q++;
      }
    }
  }
}

/** scores[j] = scale * query · keys[j], four keys at a time; the last group may repeat the last key. */
function multiplyKeys(query: usize, keys: usize, keyStride: usize, count: i32, headDim: i32, scale: f32, scores: usize): void {
  const factor = f32x4.splat(scale);
  const whole = query + (<usize>(headDim & ~7) << 2);
  const rest = headDim & 3;
  for (let j = 0; j < count; j += 4, scores += 16) {
    const last = count - 1 - j;
    let k0 = keys;
    let k1 = keys + <usize>min(1, last) * keyStride;
    let k2 = keys + <usize>min(2, last) * keyStride;
    let k3 = keys + <usize>min(3, last) * keyStride;
    let s00 = f32x4.splat(0.0);
    let s01 = s00;
    let s10 = s00;
    let s11 = s00;
    let s20 = s00;
    let s21 = s00;
    let s30 = s00;
    let s31 = s00;
    let q = query;
    for (; q < whole; q += 32, k0 += 32, k1 += 32, k2 += 32, k3 += 32) {
      const q0 = v128.load(q);
      const q1 = v128.load(q, 16);
      s00 = multiplyAdd(q0, v128.load(k0), s00);
      s01 = multiplyAdd(q1, v128.load(k0, 16), s01);
      s10 = multiplyAdd(q0, v128.load(k1), s10);
      s11 = multiplyAdd(q1, v128.load(k1, 16), s11);
      s20 = multiplyAdd(q0, v128.load(k2), s20);
      s21 = multiplyAdd(q1, v128.load(k2, 16), s21);
      s30 = multiplyAdd(q0, v128.load(k3), s30);
      s31 = multiplyAdd(q1, v128.load(k3, 16), s31);
    }
    if (headDim & 4) {
      const q0 = v128.load(q);
      s00 = multiplyAdd(q0, v128.load(k0), s00);
      s10 = multiplyAdd(q0, v128.load(k1), s10);
      s20 = multiplyAdd(q0, v128.load(k2), s20);
      s30 = multiplyAdd(q0, v128.load(k3), s30);
      q += 16;
      k0 += 16;
      k1 += 16;
      k2 += 16;
      k3 += 16;
    }
    if (rest) {
      const q0 = loadPartial(q, rest);
      s01 = multiplyAdd(q0, loadPartial(k0, rest), s01);
      s11 = multiplyAdd(q0, loadPartial(k1, rest), s11);
      s21 = multiplyAdd(q0, loadPartial(k2, rest), s21);
      s31 = multiplyAdd(q0, loadPartial(k3, rest), s31);
    }
    const sums = sumOfEach(f32x4.add(s00, s01), f32x4.add(s10, s11), f32x4.add(s20, s21), f32x4.add(s30, s31));
    v128.store(scores, f32x4.mul(sums, factor));
    keys += keyStride << 2;
  }
}

/** accumulator[d] = factor * accumulator[d] + Σ_j scores[j] values[j, d]. */
function accumulateValues(
  scores: usize, values: usize, valueStride: usize, count: i32, headDim: i32, factor: f32, accumulator: usize,
): void {
  const f = f32x4.splat(factor);
  const end = scores + (<usize>count << 2);
  let d = headDim;
  for (; d >= 32; d -= 32, values += 128, accumulator += 128) {
    let t0 = f32x4.mul(v128.load(accumulator), f);
    let t1 = f32x4.mul(v128.load(accumulator, 16), f);
    let t2 = f32x4.mul(v128.load(accumulator, 32), f);
    let t3 = f32x4.mul(v128.load(accumulator, 48), f);
    let t4 = f32x4.mul(v128.load(accumulator, 64), f);
    let t5 = f32x4.mul(v128.load(accumulator, 80), f);
    let t6 = f32x4.mul(v128.load(accumulator, 96), f);
    let t7 = f32x4.mul(v128.load(accumulator, 112), f);
    let v = values;
    for (let p = scores; p < end; p += 4, v += valueStride) {
      const x = v128.load32_splat(p);
      t0 = multiplyAdd(x, v128.load(v), t0);
      t1 = multiplyAdd(x, v128.load(v, 16), t1);
      t2 = multiplyAdd(x, v128.load(v, 32), t2);
      t3 = multiplyAdd(x, v128.load(v, 48), t3);
      t4 = multiplyAdd(x, v128.load(v, 64), t4);
      t5 = multiplyAdd(x, v128.load(v, 80), t5);
      t6 = multiplyAdd(x, v128.load(v, 96), t6);
      t7 = multiplyAdd(x, v128.load(v, 112), t7);
    }
    v128.store(accumulator, t0);
    v128.store(accumulator, t1, 16);
    v128.store(accumulator, t2, 32);
    v128.store(accumulator, t3, 48);
    v128.store(accumulator, t4, 64);
    v128.store(accumulator, t5, 80);
    v128.store(accumulator, t6, 96);
    v128.store(accumulator, t7, 112);
  }
  for (; d >= 16; d -= 16, values += 64, accumulator += 64) {
    let t0 = f32x4.mul(v128.load(accumulator), f);
    let t1 = f32x4.mul(v128.load(accumulator, 16), f);
    let t2 = f32x4.mul(v128.load(accumulator, 32), f);
    let t3 = f32x4.mul(v128.load(accumulator, 48), f);
    let v = values;
    for (let p = scores; p < end; p += 4, v += valueStride) {
      const x = v128.load32_splat(p);
      t0 = multiplyAdd(x, v128.load(v), t0);
      t1 = multiplyAdd(x, v128.load(v, 16), t1);
      t2 = multiplyAdd(x, v128.load(v, 32), t2);
      t3 = multiplyAdd(x, v128.load(v, 48), t3);
    }
    v128.store(accumulator, t0);
    v128.store(accumulator, t1, 16);
    v128.store(accumulator, t2, 32);
    v128.store(accumulator, t3, 48);
  }
  for (; d > 0; d -= 4, values += 16, accumulator += 16) {
    let t = f32x4.mul(v128.load(accumulator), f);
    let v = values;
    for (let p = scores; p < end; p += 4, v += valueStride) {
      t = multiplyAdd(v128.load32_splat(p), d >= 4 ? v128.load(v) : loadPartial(v, d), t);
    }
    v128.store(accumulator, t);
  }
}

/**
 * Attention of a few queries, which reads keys and values where they lie. [begin, end) counts pairs of batch and key head.
 * Scratch: 4 * (rows * (padded + 2) + 64) bytes, with rows = heads / keyHeads * queries and padded = headDim rounded up to 8.
 */
export function attentionFewQueries(
  query: usize, queryBatch: i32, queryHead: i32, queryStep: i32, key: usize, keyBatch: i32, keyHead: i32, keyStep: i32,
  value: usize, valueBatch: i32, valueHead: i32, valueStep: i32, output: usize, outputBatch: i32, outputHead: i32, outputStep: i32,
  logSumExp: usize, mask: usize, maskBatch: i32, maskHead: i32, maskQuery: i32, maskKey: i32,
  heads: i32, keyHeads: i32, queries: i32, keys: i32, headDim: i32, scale: f32, causal: i32, queryOffset: i32,
  scratch: usize, begin: i32, end: i32,
): void {
  const group = heads / keyHeads;
  const rows = group * queries;
  const paddedBytes = <usize>paddedDim(headDim) << 2;
  const scores = scratch;
  const states = scores + BLOCK_BYTES;
  const accumulators = states + (<usize>rows << 3);
  const keyStepBytes = <usize>keyStep << 2;
  const valueStepBytes = <usize>valueStep << 2;
  for (let pair = begin; pair < end; pair++) {
    const batch = pair / keyHeads;
    const sharedHead = pair % keyHeads;
    memory.fill(accumulators, 0, <usize>rows * paddedBytes);
    for (let r = 0; r < rows; r++) {
      store<f32>(states + (<usize>r << 3), -Infinity);
      store<f32>(states + (<usize>r << 3), 0.0, 4);
    }
    const seen = visibleKeys(queries - 1, keys, causal, queryOffset);
    const keyBase = key + (<usize>(batch * keyBatch + sharedHead * keyHead) << 2);
    const valueBase = value + (<usize>(batch * valueBatch + sharedHead * valueHead) << 2);
    for (let k = 0; k < seen; k += BLOCK) {
      const keyBlock = keyBase + <usize>k * keyStepBytes;
      const valueBlock = valueBase + <usize>k * valueStepBytes;
      for (let r = 0; r < rows; r++) {
        const q = r / group;
        const head = sharedHead * group + r % group;
        const count = min(BLOCK, visibleKeys(q, keys, causal, queryOffset) - k);
        if (count <= 0) continue;
        multiplyKeys(
          query + (<usize>(batch * queryBatch + head * queryHead + q * queryStep) << 2), keyBlock, keyStepBytes, count, headDim,
          scale * LOG2E, scores,
        );
        const maskRow = mask ? mask + (<usize>(batch * maskBatch + head * maskHead + q * maskQuery + k * maskKey) << 2) : 0;
        const factor = updateRow(scores, count, maskRow, maskKey, states + (<usize>r << 3));
        // A few values at a time, so that each is read whole before the next: memory is read in order.
        for (let j = 0; j < count; j += VALUES) {
          accumulateValues(
            scores + (<usize>j << 2), valueBlock + <usize>j * valueStepBytes, valueStepBytes, min(VALUES, count - j), headDim,
            j == 0 ? factor : 1.0, accumulators + <usize>r * paddedBytes,
          );
        }
      }
    }
    for (let r = 0; r < rows; r++) {
      const q = r / group;
      const head = sharedHead * group + r % group;
      const state = states + (<usize>r << 3);
      const sum = load<f32>(state, 4);
      scaleInto(
        accumulators + <usize>r * paddedBytes, headDim, sum == 0.0 ? 0.0 : <f32>1.0 / sum,
        output + (<usize>(batch * outputBatch + head * outputHead + q * outputStep) << 2),
      );
      store<f32>(logSumExp + (<usize>((batch * heads + head) * queries + q) << 2), logSumExpOf(load<f32>(state), sum));
    }
  }
}

/** output = factor * x. */
function scaleInto(x: usize, count: i32, factor: f32, output: usize): void {
  const f = f32x4.splat(factor);
  const end = output + (<usize>count << 2);
  for (; output + 16 <= end; output += 16, x += 16) v128.store(output, f32x4.mul(v128.load(x), f));
  if (output < end) storePartial(output, f32x4.mul(v128.load(x), f), <i32>(end - output) >> 2);
}

/** slopes = scores * (slopes - delta) for the first `count` (a multiple of 4) entries. */
function multiplySlopes(scores: usize, slopes: usize, count: i32, delta: f32): void {
  const d = f32x4.splat(delta);
  const end = scores + (<usize>count << 2);
  for (; scores < end; scores += 16, slopes += 16) {
    v128.store(slopes, f32x4.mul(v128.load(scores), f32x4.sub(v128.load(slopes), d)));
  }
}

/**
 * Gradients for keys and values, and shares of the gradient for queries. [begin, end) counts (batch, key head, chunk): a chunk is
 * `keysPerChunk` keys (a multiple of 64) and writes its share, not yet scaled, as tiles [group][queries rounded up to 4][padded] at
 * queryPartials + task * that size. Scratch: 4 * (9 * 64 * padded + 2 * 64 * 64) bytes, padded = headDim rounded up to 8.
 */
export function attentionGradient(
  gradient: usize, gradientBatch: i32, gradientHead: i32, gradientStep: i32, query: usize, queryBatch: i32, queryHead: i32, queryStep: i32,
  key: usize, keyBatch: i32, keyHead: i32, keyStep: i32, value: usize, valueBatch: i32, valueHead: i32, valueStep: i32,
  output: usize, outputBatch: i32, outputHead: i32, outputStep: i32,
  keyGradient: usize, keyGradientBatch: i32, keyGradientHead: i32, keyGradientStep: i32,
  valueGradient: usize, valueGradientBatch: i32, valueGradientHead: i32, valueGradientStep: i32,
  queryPartials: usize, logSumExp: usize, mask: usize, maskBatch: i32, maskHead: i32, maskQuery: i32, maskKey: i32,
  heads: i32, keyHeads: i32, queries: i32, keys: i32, headDim: i32, scale: f32, causal: i32, queryOffset: i32, keysPerChunk: i32,
  scratch: usize, begin: i32, end: i32,
): void {
  const padded = paddedDim(headDim);
  const paddedBytes = <usize>padded << 2;
  const blockBytes = <usize>BLOCK * paddedBytes;
  const group = heads / keyHeads;
  const chunks = max(1, (keys + keysPerChunk - 1) / keysPerChunk);
  const headPartialBytes = <usize>((queries + 3) & ~3) * paddedBytes;
  const keyStepBytes = <usize>keyStep << 2;
  const valueStepBytes = <usize>valueStep << 2;

  const keyPanels = scratch;
  const valuePanels = keyPanels + blockBytes;
  const keyRows = valuePanels + blockBytes;
  const keyTiles = keyRows + blockBytes;
  const valueTiles = keyTiles + blockBytes;
  const queryRows = valueTiles + blockBytes;
  const gradientRows = queryRows + blockBytes;
  const queryQuads = gradientRows + blockBytes;
  const gradientQuads = queryQuads + blockBytes;
  const scores = gradientQuads + blockBytes;
  const slopes = scores + <usize>QUERY_BLOCK * BLOCK_BYTES;

  for (let task = begin; task < end; task++) {
    const pair = task / chunks;
    const batch = pair / keyHeads;
    const sharedHead = pair % keyHeads;
    const firstKey = task % chunks * keysPerChunk;
    const lastKey = min(keys, firstKey + keysPerChunk);
    const partials = queryPartials + <usize>task * <usize>group * headPartialBytes;
    memory.fill(partials, 0, <usize>group * headPartialBytes);
    const keyBase = key + (<usize>(batch * keyBatch + sharedHead * keyHead) << 2);
    const valueBase = value + (<usize>(batch * valueBatch + sharedHead * valueHead) << 2);

    for (let k = firstKey; k < lastKey; k += BLOCK) {
      const count = min(BLOCK, lastKey - k);
      packPanels(keyBase + <usize>k * keyStepBytes, keyStepBytes, count, headDim, padded, keyPanels);
      packPanels(valueBase + <usize>k * valueStepBytes, valueStepBytes, count, headDim, padded, valuePanels);
      packRows(keyBase + <usize>k * keyStepBytes, keyStepBytes, count, headDim, padded, 1.0, keyRows);
      memory.fill(keyTiles, 0, 2 * blockBytes);
      // Earlier queries see none of these keys.
      const firstQuery = causal ? max(0, k - queryOffset) & ~3 : 0;

      for (let h = 0; h < group; h++) {
        const head = sharedHead * group + h;
        const headPartial = partials + <usize>h * headPartialBytes;
        for (let q = firstQuery; q < queries; q += QUERY_BLOCK) {
          const rowCount = min(QUERY_BLOCK, queries - q);
          const rowsInPanels = (rowCount + 3) & ~3;
          packRows(
            query + (<usize>(batch * queryBatch + head * queryHead + q * queryStep) << 2), <usize>queryStep << 2,
            rowCount, headDim, padded, scale * LOG2E, queryRows,
          );
          packRows(
            gradient + (<usize>(batch * gradientBatch + head * gradientHead + q * gradientStep) << 2), <usize>gradientStep << 2,
            rowCount, headDim, padded, 1.0, gradientRows,
          );
          memory.fill(queryRows + <usize>rowCount * paddedBytes, 0, <usize>(rowsInPanels - rowCount) * paddedBytes);
          memory.fill(gradientRows + <usize>rowCount * paddedBytes, 0, <usize>(rowsInPanels - rowCount) * paddedBytes);
          packQuads(queryRows, rowsInPanels, padded, queryQuads);
          packQuads(gradientRows, rowsInPanels, padded, gradientQuads);
          for (let r = 0; r < rowCount; r += 4) {
            const last = min(r + 3, rowCount - 1);
            const most = min(count, visibleKeys(q + last, keys, causal, queryOffset) - k);
            const offset = <usize>r * BLOCK_BYTES;
            let bases = f32x4.splat(0.0);
            multiplyPanels(queryQuads + <usize>r * paddedBytes, keyPanels, scores + offset, most, padded);
            multiplyPanels(gradientQuads + <usize>r * paddedBytes, valuePanels, slopes + offset, most, padded);
            const wide = most + 7 & ~7;
            const totals = logSumExp + (<usize>((batch * heads + head) * queries + q + r) << 2);
            for (let i = 0; i <= last - r; i++) {
              const row = scores + offset + <usize>i * BLOCK_BYTES;
              if (mask) {
                const maskRow = mask + (<usize>(batch * maskBatch + head * maskHead + (q + r + i) * maskQuery + k * maskKey) << 2);
                addMaskToRow(row, row, most, 1.0, maskRow, maskKey, LOG2E);
              }
              // A row that saw nothing stands for 2^-Infinity everywhere.
              const total = load<f32>(totals + (<usize>i << 2));
              bases = v128.shuffle<i32>(bases, bases, 1, 2, 3, 0);
              bases = f32x4.replace_lane(bases, 3, total == -Infinity ? Infinity : total * LOG2E);
            }
            for (let i = last - r + 1; i < 4; i++) bases = v128.shuffle<i32>(bases, bases, 1, 2, 3, 0);
            powersOfFourRows(scores + offset, BLOCK_BYTES, <usize>wide << 2, bases);
            for (let i = r; i <= last; i++) {
              const visible = max(0, min(count, visibleKeys(q + i, keys, causal, queryOffset) - k));
              const delta = dotOfRows(
                gradientRows + <usize>i * paddedBytes,
                output + (<usize>(batch * outputBatch + head * outputHead + (q + i) * outputStep) << 2), headDim,
              );
              multiplySlopes(scores + <usize>i * BLOCK_BYTES, slopes + <usize>i * BLOCK_BYTES, wide, delta);
              fillScores(scores + <usize>i * BLOCK_BYTES, visible, wide, 0.0);
              fillScores(slopes + <usize>i * BLOCK_BYTES, visible, wide, 0.0);
            }
            accumulateRows(slopes + offset, keyRows, paddedBytes, most, padded, headPartial + <usize>(q + r) * paddedBytes);
          }
          for (let j = 0; j < count; j += 4) {
            const first = causal ? max(0, k + j - queryOffset - q) : 0;
            if (first >= rowCount) break;
            const offset = <usize>first * BLOCK_BYTES + (<usize>j << 2);
            const rowOffset = <usize>first * paddedBytes;
            accumulateColumns(scores + offset, gradientRows + rowOffset, rowCount - first, padded, valueTiles + <usize>j * paddedBytes);
            accumulateColumns(slopes + offset, queryRows + rowOffset, rowCount - first, padded, keyTiles + <usize>j * paddedBytes);
          }
        }
      }

      for (let j = 0; j < count; j++) {
        const tile = <usize>(j & ~3) * paddedBytes + (<usize>(j & 3) << 5);
        unpackTileRow(
          keyTiles + tile, headDim, LN2, // queryRows carry scale / ln 2
          keyGradient + (<usize>(batch * keyGradientBatch + sharedHead * keyGradientHead + (k + j) * keyGradientStep) << 2),
        );
        unpackTileRow(
          valueTiles + tile, headDim, 1.0,
          valueGradient + (<usize>(batch * valueGradientBatch + sharedHead * valueGradientHead + (k + j) * valueGradientStep) << 2),
        );
      }
    }
  }
}

/** queryGradient = scale * Σ_chunk partials, in order of the chunks; [begin, end) counts (batch, head). Destroys the partials. */
export function attentionQueryGradient(
  queryPartials: usize, chunks: i32, queryGradient: usize, queryGradientBatch: i32, queryGradientHead: i32, queryGradientStep: i32,
  heads: i32, keyHeads: i32, queries: i32, headDim: i32, scale: f32, begin: i32, end: i32,
): void {
  const padded = paddedDim(headDim);
  const paddedBytes = <usize>padded << 2;
  const group = heads / keyHeads;
  const headBytes = <usize>((queries + 3) & ~3) * paddedBytes;
  const chunkBytes = <usize>group * headBytes;
  for (let task = begin; task < end; task++) {
    const batch = task / heads;
    const head = task % heads;
    const base = queryPartials + <usize>(batch * keyHeads + head / group) * <usize>chunks * chunkBytes + <usize>(head % group) * headBytes;
    for (let chunk = 1; chunk < chunks; chunk++) {
      const from = base + <usize>chunk * chunkBytes;
      for (let i: usize = 0; i < headBytes; i += 16) v128.store(base + i, f32x4.add(v128.load(base + i), v128.load(from + i)));
    }
    for (let q = 0; q < queries; q++) {
      unpackTileRow(
        base + <usize>(q & ~3) * paddedBytes + (<usize>(q & 3) << 5), headDim, scale,
        queryGradient + (<usize>(batch * queryGradientBatch + head * queryGradientHead + q * queryGradientStep) << 2),
      );
    }
  }
}
