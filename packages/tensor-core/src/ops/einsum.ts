import type { DeviceName } from "../backend/backend.ts";
import { ShapeError } from "../errors.ts";
import { tidy } from "../tensor/scope.ts";
import { formatShape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { matmul } from "./matmul.ts";
import { sum } from "./reduce.ts";
import { diagonal, permute, reshape } from "./views.ts";

/** A tensor whose axes carry letters. */
interface Labelled<Device extends DeviceName> {
  readonly tensor: Tensor<Device>;
  readonly labels: string;
}

interface Equation {
  readonly inputs: readonly string[];
  readonly output: string;
}

function parse(equation: string, operands: number): Equation {
  const compact = equation.replaceAll(/\s/g, "");
  const match = /^([a-zA-Z]*(?:,[a-zA-Z]*)*)(?:->([a-zA-Z]*))?$/.exec(compact);
  if (!match)
    throw new ShapeError(`einsum: cannot read "${equation}"; write letters per axis, as in "bij,bjk->bik" (ellipsis is not supported)`);
  const inputs = match[1]!.split(",");
  if (inputs.length !== operands) throw new ShapeError(`einsum: "${equation}" names ${inputs.length} operands, ${operands} were given`);
  const letters = inputs.join("");
  const once = [...new Set(letters)]
    .filter((letter) => letters.split(letter).length === 2)
    .sort()
    .join("");
  const output = match[2] ?? once;
  for (const letter of output) {
    if (!letters.includes(letter)) throw new ShapeError(`einsum: output axis "${letter}" of "${equation}" is in no operand`);
    if (output.split(letter).length > 2) throw new ShapeError(`einsum: output axis "${letter}" of "${equation}" is named twice`);
  }
  return { inputs, output };
}

/**
 * Sums of products by Einstein's convention: `einsum("bij,bjk->bik", a, b)`. Operands are contracted from left to right, each pair as one
 * batched matrix product.
 * Repeated letters within an operand take its diagonal; without "->", letters that occur once stay, in alphabetical order.
 * @throws ShapeError
 */
export function einsum<Device extends DeviceName>(equation: string, ...operands: readonly Tensor<Device>[]): Tensor<Device> {
  return tidy(() => contractAll(equation, operands));
}

function contractAll<Device extends DeviceName>(equation: string, operands: readonly Tensor<Device>[]): Tensor<Device> {
  const { inputs, output } = parse(equation, operands.length);
  const sizes = new Map<string, number>();
  let terms = operands.map((tensor, i): Labelled<Device> => {
    const labels = inputs[i]!;
    if (labels.length !== tensor.rank)
      throw new ShapeError(`einsum: "${labels}" names ${labels.length} axes, operand ${i} is ${formatShape(tensor.shape)}`);
    [...labels].forEach((label, axis) => {
      const known = sizes.get(label);
      if (known !== undefined && known !== tensor.shape[axis]) {
        throw new ShapeError(
          `einsum: axis "${label}" of "${equation}" is ${known} in one operand and ${tensor.shape[axis]} in operand ${i}`,
        );
      }
      sizes.set(label, tensor.shape[axis]!);
    });
    return withoutRepeats({ tensor, labels });
  });
  while (terms.length > 1) {
    const [a, b, ...rest] = terms as [Labelled<Device>, Labelled<Device>, ...Labelled<Device>[]];
    const later = rest.map((term) => term.labels).join("") + output;
    terms = [contract(a, b, later, sizes), ...rest];
  }
  const last = sumOver(terms[0]!, (label) => output.includes(label));
  return permute(
    last.tensor,
    [...output].map((label) => last.labels.indexOf(label)),
  );
}

function withoutRepeats<Device extends DeviceName>(term: Labelled<Device>): Labelled<Device> {
  const repeated = [...term.labels].find((label, i) => term.labels.indexOf(label) !== i);
  if (repeated === undefined) return term;
  const [first, second] = [term.labels.indexOf(repeated), term.labels.lastIndexOf(repeated)];
  const others = term.tensor.shape.map((_, axis) => axis).filter((axis) => axis !== first && axis !== second);
  const tensor = diagonal(permute(term.tensor, [...others, first, second]));
  return withoutRepeats({ tensor, labels: others.map((axis) => term.labels[axis]).join("") + repeated });
}

function sumOver<Device extends DeviceName>(term: Labelled<Device>, stays: (label: string) => boolean): Labelled<Device> {
  const axes = [...term.labels].flatMap((label, axis) => (stays(label) ? [] : [axis]));
  return axes.length === 0 ? term : { tensor: sum(term.tensor, axes), labels: [...term.labels].filter(stays).join("") };
}

/** One pair as batch · [rows, inner] × [inner, columns]. */
function contract<Device extends DeviceName>(
  left: Labelled<Device>,
  right: Labelled<Device>,
  later: string,
  sizes: ReadonlyMap<string, number>,
): Labelled<Device> {
  const a = sumOver(left, (label) => later.includes(label) || right.labels.includes(label));
  const b = sumOver(right, (label) => later.includes(label) || left.labels.includes(label));
  const shared = [...a.labels].filter((label) => b.labels.includes(label));
  const batch = shared.filter((label) => later.includes(label));
  const inner = shared.filter((label) => !later.includes(label));
  const rows = [...a.labels].filter((label) => !b.labels.includes(label));
  const columns = [...b.labels].filter((label) => !a.labels.includes(label));
  const length = (labels: readonly string[]): number => labels.reduce((total, label) => total * sizes.get(label)!, 1);
  const lengths = (labels: readonly string[]): number[] => labels.map((label) => sizes.get(label)!);
  const arrange = (term: Labelled<Device>, order: readonly string[]): Tensor<Device> =>
    permute(
      term.tensor,
      order.map((label) => term.labels.indexOf(label)),
    );
  const matrixA = reshape(arrange(a, [...batch, ...rows, ...inner]), [...lengths(batch), length(rows), length(inner)]);
  const matrixB = reshape(arrange(b, [...batch, ...inner, ...columns]), [...lengths(batch), length(inner), length(columns)]);
  const product = matmul(matrixA, matrixB);
  const labels = [...batch, ...rows, ...columns];
  return { tensor: reshape(product, lengths(labels)), labels: labels.join("") };
}
