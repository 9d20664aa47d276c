import type { CodecTable } from "../calibration/codec-table.ts";
import { withHash } from "../calibration/hash-table.ts";
import { FuzzRandom } from "./fuzz-random.testing.ts";

const real = (random: FuzzRandom): number => (random.word() / 2 ** 32) * 2 - 1;

/** Orthonormal rows by Gram and Schmidt. */
function orthonormal(random: FuzzRandom, size: number): Float32Array {
  const rows: number[][] = [];
  while (rows.length < size) {
    let row = Array.from({ length: size }, () => real(random));
    for (const other of rows) {
      const overlap = row.reduce((total, value, index) => total + value * other[index]!, 0);
      row = row.map((value, index) => value - overlap * other[index]!);
    }
    const norm = Math.hypot(...row);
    rows.push(row.map((value) => value / norm));
  }
  return Float32Array.from(rows.flat());
}

/** A table for a model of random weights that every codec can work with; its numbers are made up. */
export function tableForFuzzing(model: string, block: number, hiddenSize: number): Promise<CodecTable> {
  const random = new FuzzRandom(hiddenSize, block);
  const vector = (value: (index: number) => number): Float32Array => Float32Array.from({ length: hiddenSize }, (_, index) => value(index));
  const factor = new Float32Array(hiddenSize * hiddenSize);
  for (let row = 0; row < hiddenSize; row++) {
    for (let column = 0; column <= row; column++) {
      factor[row * hiddenSize + column] = row === column ? 1 + real(random) / 2 : real(random) / 8;
    }
  }
  const rates = [0.02, 0.1, 0.5, 1, 2].map((step, index) => ({ step, bytesPerToken: hiddenSize / (1 + index), relativeError: step / 4 }));
  return withHash({
    model, block, hiddenSize, rows: 1000,
    mean: vector(() => real(random) / 4),
    channelScale: vector(() => 0.5 + real(random) / 4),
    basis: orthonormal(random, hiddenSize),
    coefficientScale: vector((index) => 1 / (1 + index / 4)),
    beginRow: vector(() => real(random)),
    spikeNorm: 50,
    secondMoment: vector(() => 0.5 + real(random) / 4),
    fisher: vector(() => 0.5 + real(random) / 4),
    consumerFactor: factor,
    fourierTokenShare: 0.25,
    rates: { channel: rates, klt: rates },
  });
}
