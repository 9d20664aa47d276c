/** Arrays as plain numbers and functions of an index: the yardstick of the operation suite, written without any code of the package. */

/** Row-major values of a shape, in float64. */
export interface HostArray {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

export type Index = readonly number[];

/** Elements of a shape. */
export function count(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/** An array whose element at each index is `value(index)`. */
export function build(shape: readonly number[], value: (index: Index, position: number) => number): HostArray {
  const values: number[] = [];
  const walk = (index: number[]): void => {
    if (index.length === shape.length) values.push(value(index, values.length));
    else for (let i = 0; i < shape[index.length]!; i++) walk([...index, i]);
  };
  walk([]);
  return { shape: [...shape], values };
}

/** The element at an index; axes of length 1 repeat and missing leading axes are skipped, as in broadcasting. */
export function at(array: HostArray, index: Index): number {
  const own = index.slice(index.length - array.shape.length);
  let position = 0;
  array.shape.forEach((length, axis) => {
    position = position * length + (length === 1 ? 0 : own[axis]!);
  });
  return array.values[position]!;
}

/** The common shape of arrays that broadcast. */
export function commonShape(...shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const lengths = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1);
    return lengths.find((length) => length !== 1) ?? 1;
  });
}

/** Element by element, broadcast. */
export function zip(combine: (...values: number[]) => number, ...arrays: readonly HostArray[]): HostArray {
  return build(commonShape(...arrays.map((array) => array.shape)), (index) => combine(...arrays.map((array) => at(array, index))));
}

/** `combine` over the elements along `axes` (all when absent) of every kept index, in row-major order. */
export function reduceHost(
  array: HostArray,
  axes: readonly number[] | undefined,
  keepdims: boolean,
  combine: (values: readonly number[]) => number,
): HostArray {
  const reduced = (axes ?? array.shape.map((_, axis) => axis)).map((axis) => (axis < 0 ? axis + array.shape.length : axis));
  const inner = reduced.map((axis) => array.shape[axis]!);
  const long = array.shape.map((length, axis) => (reduced.includes(axis) ? 1 : length));
  const result = build(long, (index) => {
    const group = build(inner, (part) => {
      const full = [...index];
      reduced.forEach((axis, i) => (full[axis] = part[i]!));
      return at(array, full);
    });
    return combine(group.values);
  });
  return keepdims ? result : { shape: array.shape.filter((_, axis) => !reduced.includes(axis)), values: result.values };
}

/** Matrix product over the last two axes, batch axes broadcast. */
export function matmulHost(a: HostArray, b: HostArray): HostArray {
  const batch = commonShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const inner = a.shape.at(-1)!;
  return build([...batch, a.shape.at(-2)!, b.shape.at(-1)!], (index) => {
    const lead = index.slice(0, -2);
    const [row, column] = index.slice(-2) as [number, number];
    let total = 0;
    for (let k = 0; k < inner; k++) total += value(a, lead, row, k) * value(b, lead, k, column);
    return total;
  });
}

/** An element of a stack of matrices whose matrix axes never broadcast. */
function value(array: HostArray, lead: Index, row: number, column: number): number {
  const batchShape = array.shape.slice(0, -2);
  const batch = at({ shape: batchShape, values: Array.from({ length: count(batchShape) }, (_, i) => i) }, lead);
  const [rows, columns] = array.shape.slice(-2) as [number, number];
  return array.values[(batch * rows + row) * columns + column]!;
}

/** Another shape, or another order of axes. */
export function reshapeHost(array: HostArray, shape: readonly number[]): HostArray {
  return { shape: [...shape], values: array.values };
}

export function permuteHost(array: HostArray, order: readonly number[]): HostArray {
  return build(
    order.map((axis) => array.shape[axis]!),
    (index) => {
      const source: number[] = [];
      order.forEach((axis, i) => (source[axis] = index[i]!));
      return at(array, source);
    },
  );
}

/** Error function by Simpson's rule, to about 1e-10. */
export function erfHost(x: number): number {
  const limit = Math.min(6, Math.abs(x));
  const steps = 400;
  const width = limit / steps;
  let total = 0;
  for (let i = 0; i <= steps; i++) total += (i === 0 || i === steps ? 1 : i % 2 ? 4 : 2) * Math.exp(-((i * width) ** 2));
  return (Math.sign(x) * 2 * total * width) / 3 / Math.sqrt(Math.PI);
}

export function sigmoidHost(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** Discrete Fourier transform of complex values by its definition. */
export function dft(real: readonly number[], imaginary: readonly number[], inverse: boolean): { real: number[]; imaginary: number[] } {
  const n = real.length;
  const sign = inverse ? 1 : -1;
  const term = (k: number): [number, number] => {
    let re = 0;
    let im = 0;
    for (let j = 0; j < n; j++) {
      const angle = (sign * 2 * Math.PI * ((j * k) % n)) / n;
      re += real[j]! * Math.cos(angle) - imaginary[j]! * Math.sin(angle);
      im += real[j]! * Math.sin(angle) + imaginary[j]! * Math.cos(angle);
    }
    return [re, im];
  };
  const terms = real.map((_, k) => term(k));
  return { real: terms.map(([re]) => re), imaginary: terms.map(([, im]) => im) };
}
