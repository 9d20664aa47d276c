/**
 * Fourier transforms of any length. `src/fft/plan.ts` makes the plans and says what they hold; `src/backend/wasm/fft.ts` writes them to
 * memory.
 *
 * Two ways to put the transform on vectors:
 *  - rows: one contiguous row at a time, length divisible by 4 (first pass radix 4 with a transpose), see `fft-rows.ts`;
 *  - blocks: several lines side by side, the vector axis runs across the lines. Columns of a matrix are read where they lie, with no
 *    transpose; lines that do not come in fours are gathered to scratch first. Every other length takes this way, by Bluestein where a
 *    prime exceeds 7.
 * Each line's result is computed by itself, so neither neighbours nor the split between threads change a bit of it.
 */
import { transformBlock } from "./fft-block";
import {
  blockHermitianPack, blockRealUnpack, copyRows, expandHermitian, gatherLines, scatterLines,
} from "./fft-real";
import { realRow, complexRow, inverseRealRow } from "./fft-rows";

/** Complex rows: [rows, length] to [rows, length], length divisible by 4 and at least 16. Scratch: 8 * length bytes. */
export function fftRows(
  plan: usize, sourceReal: usize, sourceImaginary: usize, targetReal: usize, targetImaginary: usize, scale: f32, scratch: usize,
  begin: i32, end: i32,
): void {
  const rowBytes = <usize>load<i32>(plan) << 2;
  for (let row = begin; row < end; row++) {
    const at = <usize>row * rowBytes;
    complexRow(plan, sourceReal + at, sourceImaginary + at, targetReal + at, targetImaginary + at, scale, scratch);
  }
}

/**
 * Real rows [rows, 2h] to [rows, h + 1] complex; `plan` is a real plan whose half length h is divisible by 4 and at least 16. Scratch: 8 *
 * h bytes.
 */
export function realFftRows(
  plan: usize, source: usize, targetReal: usize, targetImaginary: usize, scale: f32, scratch: usize, begin: i32, end: i32,
): void {
  const length = <usize>load<i32>(plan), bins = (length >> 1) + 1;
  for (let row = begin; row < end; row++) {
    const at = (<usize>row * bins) << 2;
    realRow(plan, source + ((<usize>row * length) << 2), targetReal + at, targetImaginary + at, scale, scratch);
  }
}

/** Inverse of `realFftRows`. Scratch: 16 * h bytes. */
export function inverseRealFftRows(
  plan: usize, sourceReal: usize, sourceImaginary: usize, target: usize, scale: f32, scratch: usize, begin: i32, end: i32,
): void {
  const length = <usize>load<i32>(plan), bins = (length >> 1) + 1;
  for (let row = begin; row < end; row++) {
    const at = (<usize>row * bins) << 2;
    inverseRealRow(plan, sourceReal + at, sourceImaginary + at, target + ((<usize>row * length) << 2), scale, scratch);
  }
}

/**
 * Complex transforms along the middle axis of [outer, length, inner] in blocks of lines. With inner >= 4 a block is up to `lanes` (a
 * multiple of 4) neighbouring columns of one matrix; with inner < 4 it is `lanes` = 4 consecutive lines. begin and end count blocks. For
 * the inverse the caller swaps real and imaginary pointers. Scratch: lanes * (4 * length + 4 * work) floats, work = the plan's convolution
 * length, or length.
 */
export function fftBlocks(
  plan: usize, sourceReal: usize, sourceImaginary: usize, targetReal: usize, targetImaginary: usize,
  outer: i32, inner: i32, lanes: i32, scale: f32, scratch: usize, begin: i32, end: i32,
): void {
  const length = load<i32>(plan);
  const matrix = <usize>length * <usize>inner, rowBytes = <usize>inner << 2;
  for (let block = begin; block < end; block++) {
    const first = firstLine(block, inner, lanes), count = lineCount(block, outer, inner, lanes);
    if (inner >= 4 && (count & 3) == 0) {
      const at = (<usize>(first / inner) * matrix + <usize>(first % inner)) << 2;
      transformBlock(
        plan, sourceReal + at, sourceImaginary + at, rowBytes, targetReal + at, targetImaginary + at, rowBytes, <usize>count << 2, scale,
        scratch,
      );
    } else {
      const width = (<usize>count + 3 & ~3) << 2, size = <usize>length * width;
      const inReal = scratch, inImaginary = inReal + size, outReal = inImaginary + size, outImaginary = outReal + size;
      gatherLines(sourceReal, inReal, width, length, inner, first, count);
      gatherLines(sourceImaginary, inImaginary, width, length, inner, first, count);
      transformBlock(plan, inReal, inImaginary, width, outReal, outImaginary, width, width, scale, outImaginary + size);
      scatterLines(outReal, width, targetReal, length, inner, first, count);
      scatterLines(outImaginary, width, targetImaginary, length, inner, first, count);
    }
  }
}

/**
 * As `fftBlocks` for real input [outer, length, inner] and output [outer, floor(length / 2) + 1, inner]; `plan` is a real plan.
 * Scratch: lanes * (5 * length + 4 + 4 * work) floats, work = the inner plan's convolution length, or its length.
 */
export function realFftBlocks(
  plan: usize, source: usize, targetReal: usize, targetImaginary: usize, outer: i32, inner: i32, lanes: i32, scale: f32,
  scratch: usize, begin: i32, end: i32,
): void {
  const length = load<i32>(plan), bins = (length >> 1) + 1;
  for (let block = begin; block < end; block++) {
    const first = firstLine(block, inner, lanes), count = lineCount(block, outer, inner, lanes);
    const width = (<usize>count + 3 & ~3) << 2;
    let free = scratch;
    let from = source, fromRow = <usize>inner << 2, toReal = targetReal, toImaginary = targetImaginary, toRow = fromRow;
    const direct = inner >= 4 && (count & 3) == 0;
    if (direct) {
      const matrix = <usize>(first / inner), column = <usize>(first % inner);
      from += (matrix * <usize>length * <usize>inner + column) << 2;
      const at = (matrix * <usize>bins * <usize>inner + column) << 2;
      toReal += at; toImaginary += at;
    } else {
      from = free; fromRow = width; toRow = width;
      toReal = from + <usize>length * width;
      toImaginary = toReal + <usize>bins * width;
      free = toImaginary + <usize>bins * width;
      gatherLines(source, from, width, length, inner, first, count);
    }
    const inside = plan + <usize>load<i32>(plan, 4);
    if ((length & 1) == 0) {
      // Even: rows 2j and 2j + 1 are the real and imaginary part of a transform of half the length, taken apart afterwards.
      transformBlock(inside, from, from + fromRow, fromRow << 1, toReal, toImaginary, toRow, width, scale * 0.5, free);
      blockRealUnpack(plan, toReal, toImaginary, toRow, width);
    } else {
      const size = <usize>length * width, zeros = free, wholeReal = zeros + size, wholeImaginary = wholeReal + size;
      memory.fill(zeros, 0, size);
      // The rows may be strided; the zero rows are not, so the input is brought together when it is not already.
      if (direct) {
        copyRows(from, fromRow, wholeReal, width, length, width);
        transformBlock(inside, wholeReal, zeros, width, wholeReal, wholeImaginary, width, width, scale, wholeImaginary + size);
      } else {
        transformBlock(inside, from, zeros, width, wholeReal, wholeImaginary, width, width, scale, wholeImaginary + size);
      }
      copyRows(wholeReal, width, toReal, toRow, bins, width);
      copyRows(wholeImaginary, width, toImaginary, toRow, bins, width);
    }
    if (!direct) {
      scatterLines(toReal, width, targetReal, bins, inner, first, count);
      scatterLines(toImaginary, width, targetImaginary, bins, inner, first, count);
    }
  }
}

/** Inverse of `realFftBlocks`; the same scratch. */
export function inverseRealFftBlocks(
  plan: usize, sourceReal: usize, sourceImaginary: usize, target: usize, outer: i32, inner: i32, lanes: i32, scale: f32,
  scratch: usize, begin: i32, end: i32,
): void {
  const length = load<i32>(plan), bins = (length >> 1) + 1;
  for (let block = begin; block < end; block++) {
    const first = firstLine(block, inner, lanes), count = lineCount(block, outer, inner, lanes);
    const width = (<usize>count + 3 & ~3) << 2, size = <usize>length * width;
    let free = scratch;
    let fromReal = sourceReal, fromImaginary = sourceImaginary, fromRow = <usize>inner << 2, to = target, toRow = fromRow;
    const direct = inner >= 4 && (count & 3) == 0;
    if (direct) {
      const matrix = <usize>(first / inner), column = <usize>(first % inner);
      const at = (matrix * <usize>bins * <usize>inner + column) << 2;
      fromReal += at; fromImaginary += at;
      to += (matrix * <usize>length * <usize>inner + column) << 2;
    } else {
      fromReal = free; fromRow = width; toRow = width;
      fromImaginary = fromReal + <usize>bins * width;
      to = fromImaginary + <usize>bins * width;
      free = to + size;
      gatherLines(sourceReal, fromReal, width, bins, inner, first, count);
      gatherLines(sourceImaginary, fromImaginary, width, bins, inner, first, count);
    }
    const inside = plan + <usize>load<i32>(plan, 4);
    // Swapping real and imaginary parts on the way in and out turns the forward transform into the inverse.
    if ((length & 1) == 0) {
      const packedReal = free, packedImaginary = free + (size >> 1);
      blockHermitianPack(plan, fromReal, fromImaginary, fromRow, packedReal, packedImaginary, width);
      transformBlock(inside, packedImaginary, packedReal, width, to + toRow, to, toRow << 1, width, scale, free + size);
    } else {
      const wholeReal = free, wholeImaginary = wholeReal + size, signal = wholeImaginary + size;
      expandHermitian(length, fromReal, fromImaginary, fromRow, wholeReal, wholeImaginary, width);
      // The spectrum of real numbers: what comes out as the other part is zero and overwrites the spectrum.
      transformBlock(inside, wholeImaginary, wholeReal, width, wholeReal, signal, width, width, scale, signal + size);
      copyRows(signal, width, to, toRow, length, width);
    }
    if (!direct) scatterLines(to, width, target, length, inner, first, count);
  }
}

/** First line of a block; line l is column l % inner of matrix l / inner. */
function firstLine(block: i32, inner: i32, lanes: i32): i32 {
  if (inner < 4) return block * lanes;
  const blocks = (inner + lanes - 1) / lanes;
  return (block / blocks) * inner + (block % blocks) * lanes;
}

/** Lines in a block. */
function lineCount(block: i32, outer: i32, inner: i32, lanes: i32): i32 {
  if (inner < 4) return min(lanes, outer * inner - block * lanes);
  const blocks = (inner + lanes - 1) / lanes;
  return min(lanes, inner - (block % blocks) * lanes);
}
