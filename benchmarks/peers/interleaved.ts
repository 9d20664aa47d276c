/** Rows of `length` complex numbers as re, im, re, im, …, in whichever kind of array the library wants. */
export function interleaved<Row extends { [index: number]: number }>(
  real: ArrayLike<number>,
  imaginary: ArrayLike<number>,
  length: number,
  createRow: (size: number) => Row,
): Row[] {
  return Array.from({ length: real.length / length }, (_, row) => {
    const values = createRow(2 * length);
    for (let i = 0; i < length; i++) {
      values[2 * i] = real[row * length + i]!;
      values[2 * i + 1] = imaginary[row * length + i]!;
    }
    return values;
  });
}

/** All real and all imaginary parts of interleaved rows. */
export function splitInterleaved(rows: readonly ArrayLike<number>[]): [real: number[], imaginary: number[]] {
  const parts: [number[], number[]] = [[], []];
  for (const row of rows) for (let i = 0; i < row.length; i++) parts[i % 2]!.push(row[i]!);
  return parts;
}
