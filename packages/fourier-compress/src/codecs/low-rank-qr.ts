/**
 * The first columns of Q in the QR decomposition with column pivoting of rows × columns `values` (Businger and Golub 1965): Householder
 * reflections, each of the column with the largest rest. In float64.
 * @param rank at most min(rows, columns); fewer columns come back where the matrix has no more
 * @returns orthonormal columns, row-major [rows, rank found]
 */
export function pivotedQr(values: Float32Array, rows: number, columns: number, rank: number): Float32Array {
  // Column-major: a reflection works on columns.
  const work = new Float64Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) work[column * rows + row] = values[row * columns + column]!;
  /** Squared norms of what is left of each column, brought up to date by subtraction, and when they were last computed. */
  const norms = new Float64Array(columns);
  const reference = new Float64Array(columns);
  for (let column = 0; column < columns; column++) reference[column] = norms[column] = squares(work, column * rows, rows, 0);
  const order = Int32Array.from({ length: columns }, (_, column) => column);
  const reflections: { readonly vector: Float64Array; readonly factor: number }[] = [];
  let threshold = 0;
  for (let step = 0; step < rank; step++) {
    const pivot = largest(norms, order, step);
    [order[step], order[pivot]] = [order[pivot]!, order[step]!];
    const start = order[step]! * rows;
    const norm = squares(work, start, rows, step);
    // What is below the rounding of float32 input is no column of its own.
    if (step === 0) threshold = norm * 1e-14;
    if (!(norm > threshold)) break;
    const head = work[start + step]!;
    const vector = work.slice(start + step, start + rows);
    // Away from zero, so that nothing cancels.
    vector[0] = head + (head >= 0 ? 1 : -1) * Math.sqrt(norm);
    const factor = 2 / squares(vector, 0, vector.length, 0);
    reflections.push({ vector, factor });
    for (let index = step + 1; index < columns; index++) {
      const column = order[index]!;
      reflect(work, column * rows + step, vector, factor);
      const rest = norms[column]! - work[column * rows + step]! ** 2;
      // Subtraction has eaten the digits: compute anew.
      if (rest < 1e-8 * reference[column]!) reference[column] = norms[column] = squares(work, column * rows, rows, step + 1);
      else norms[column] = rest;
    }
  }
  return orthonormalColumns(reflections, rows);
}

/** Q's columns: the reflections in reverse order on those of the identity. */
function orthonormalColumns(
  reflections: readonly { readonly vector: Float64Array; readonly factor: number }[],
  rows: number,
): Float32Array {
  const rank = reflections.length;
  const basis = new Float32Array(rows * rank);
  const column = new Float64Array(rows);
  for (let index = 0; index < rank; index++) {
    column.fill(0);
    column[index] = 1;
    for (let step = index; step >= 0; step--) reflect(column, step, reflections[step]!.vector, reflections[step]!.factor);
    for (let row = 0; row < rows; row++) basis[row * rank + index] = column[row]!;
  }
  return basis;
}

/** x - factor · v (vᵀx), in place. */
function reflect(values: Float64Array, start: number, vector: Float64Array, factor: number): void {
  let product = 0;
  for (let i = 0; i < vector.length; i++) product += vector[i]! * values[start + i]!;
  product *= factor;
  for (let i = 0; i < vector.length; i++) values[start + i]! -= product * vector[i]!;
}

function squares(values: Float64Array, start: number, rows: number, from: number): number {
  let sum = 0;
  for (let row = from; row < rows; row++) sum += values[start + row]! ** 2;
  return sum;
}

function largest(norms: Float64Array, order: Int32Array, step: number): number {
  let best = step;
  for (let index = step + 1; index < order.length; index++) if (norms[order[index]!]! > norms[order[best]!]!) best = index;
  return best;
}
