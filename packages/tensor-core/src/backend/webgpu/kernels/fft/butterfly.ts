import { unitRoot } from "../../../../fft/roots.ts";

/** Radices of the passes that keep their points in registers. */
export const registerRadices: readonly number[] = [16, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2];

/** WGSL statements of one function, and fresh names for their values. */
class Statements {
  readonly lines: string[] = [];

  let(expression: string): string {
    const name = `t${this.lines.length}`;
    this.lines.push(`  let ${name} = ${expression};`);
    return name;
  }
}

function literal(value: number): string {
  const text = String(Math.fround(value));
  return /[.e]/.test(text) ? text : `${text}.0`;
}

/** value * exp(-2πi numerator / denominator), without multiplications where the root is simple. */
function timesRoot(statements: Statements, value: string, numerator: number, denominator: number): string {
  const [real, imaginary] = unitRoot(numerator, denominator);
  if (real === 1) return value;
  if (real === -1) return statements.let(`-${value}`);
  if (imaginary === -1) return statements.let(`vec2<f32>(${value}.y, -${value}.x)`);
  if (imaginary === 1) return statements.let(`vec2<f32>(-${value}.y, ${value}.x)`);
  const [re, im] = [literal(real), literal(imaginary)];
  return statements.let(`vec2<f32>(${value}.x * ${re} - ${value}.y * ${im}, ${value}.x * ${im} + ${value}.y * ${re})`);
}

/** An odd prime by its symmetry: cosines meet sums, sines meet differences of points that lie opposite. */
function oddTransform(statements: Statements, inputs: readonly string[]): string[] {
  const radix = inputs.length;
  const half = (radix - 1) / 2;
  const sums: string[] = [];
  const differences: string[] = [];
  for (let j = 1; j <= half; j++) {
    sums.push(statements.let(`${inputs[j]!} + ${inputs[radix - j]!}`));
    differences.push(statements.let(`${inputs[j]!} - ${inputs[radix - j]!}`));
  }
  const outputs = [statements.let([inputs[0]!, ...sums].join(" + "))];
  for (let k = 1; k <= half; k++) {
    const even = statements.let([inputs[0]!, ...sums.map((sum, j) => `${literal(unitRoot((j + 1) * k, radix)[0])} * ${sum}`)].join(" + "));
    const sines = differences.map((difference, j) => `${literal(-unitRoot((j + 1) * k, radix)[1])} * ${difference}`);
    const odd = statements.let(sines.join(" + "));
    const turned = statements.let(`vec2<f32>(${odd}.y, -${odd}.x)`);
    outputs[k] = statements.let(`${even} + ${turned}`);
    outputs[radix - k] = statements.let(`${even} - ${turned}`);
  }
  return outputs;
}

function transform(statements: Statements, inputs: readonly string[]): string[] {
  const radix = inputs.length;
  if (radix === 1) return [...inputs];
  if (radix === 2) return [statements.let(`${inputs[0]!} + ${inputs[1]!}`), statements.let(`${inputs[0]!} - ${inputs[1]!}`)];
  const first = radix === 16 ? 4 : [2, 3, 5, 7, 11, 13].find((prime) => radix % prime === 0)!;
  if (first === radix) return oddTransform(statements, inputs);
  const second = radix / first;
  const columns: string[][] = [];
  for (let j = 0; j < second; j++) {
    const column = transform(statements, Array.from({ length: first }, (_, i) => inputs[i * second + j]!));
    columns.push(column.map((value, k) => timesRoot(statements, value, j * k, radix)));
  }
  const outputs: string[] = [];
  for (let k = 0; k < first; k++) {
    transform(statements, columns.map((column) => column[k]!)).forEach((value, l) => (outputs[k + first * l] = value));
  }
  return outputs;
}

/** A function `dft<radix>` of an array of complex numbers: its forward transform, all in registers. The radix has no prime above 13. */
export function butterflySource(radix: number): string {
  const statements = new Statements();
  const outputs = transform(statements, Array.from({ length: radix }, (_, j) => `v[${j}]`));
  const type = `array<vec2<f32>, ${radix}>`;
  return `fn dft${radix}(v: ${type}) -> ${type} {\n${statements.lines.join("\n")}\n  return ${type}(${outputs.join(", ")});\n}\n`;
}
