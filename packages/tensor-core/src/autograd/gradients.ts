import type { DeviceName } from "../backend/backend.ts";
import { GradientError } from "../errors.ts";
import { isFloating } from "../tensor/dtype.ts";
import { forEachTensor, Scope } from "../tensor/scope.ts";
import { formatShape, sameShape } from "../tensor/shape.ts";
import { Tensor } from "../tensor/tensor.ts";
import { contiguous, fillLike } from "../ops/materialize.ts";
import type { GraphNode } from "./graph.ts";
import { adopt, recording, Tape } from "./tape.ts";

/** A tensor, or nested arrays and plain objects of tensors (JAX's pytree). */
export type TensorTree = Tensor | readonly TensorTree[] | { readonly [key: string]: TensorTree };

/** Gradients have the structure of what they are taken for. */
// Told apart by one property: comparing whole tensor types here exceeds the compiler's depth.
export type GradientOf<Tree> = Tree extends { readonly device: infer Device extends DeviceName }
  ? Tensor<Device>
  : { -readonly [Key in keyof Tree]: GradientOf<Tree[Key]> };

/** The result of `vjp`: the function's value and its pullback. */
export interface VectorJacobianProduct<Output> {
  readonly value: Output;
  /**
   * Gradients of the inputs, given gradients of the outputs (same count and shapes; `undefined` = zero). Can be called once: it frees the graph as it goes.
   * @throws GradientError on a second call, or after `free`
   */
  backward(outputGradients: readonly (Tensor | undefined)[]): Tensor[];
  /** Frees the graph unused. */
  free(): void;
}

/**
 * Runs `run` and records how its outputs depend on `inputs`, for a later backward pass: `value` now, vector-Jacobian product when the gradients of the outputs
 * are known (as between pipeline stages). `inputs` may be read from a closure; what matters is the identity of the tensors.
 * @throws GradientError when an input is not of a floating dtype
 */
export function vjp<Output extends Tensor | readonly Tensor[]>(run: () => Output, inputs: readonly Tensor[]): VectorJacobianProduct<Output> {
  const tape = new Tape();
  for (const input of inputs) {
    if (!isFloating(input.dtype)) throw new GradientError(`vjp: input ${formatShape(input.shape)} is ${input.dtype}; only floating tensors have gradients`);
  }
  const previous = inputs.map((input) => ({ node: input.node, output: input.nodeOutput }));
  const outerTape = recording.tape;
  const forward = new Scope();
  let value: Output;
  let outputs: readonly Tensor[];
  let sources: readonly ({ node: GraphNode; output: number } | undefined)[];
  let leaves: readonly GraphNode[];
  try {
    leaves = inputs.map((input) => tape.watch(input));
    recording.tape = tape;
    value = run();
    outputs = value instanceof Tensor ? [value] : value;
    sources = outputs.map((output) => (output.node?.tape === tape ? { node: output.node, output: output.nodeOutput } : undefined));
    for (const output of outputs) output.node = undefined;
    forward.keep(value);
  } catch (error) {
    tape.free();
    throw error;
  } finally {
    tape.close();
    recording.tape = outerTape;
    inputs.forEach((input, i) => {
      input.node = previous[i]!.node;
      input.nodeOutput = previous[i]!.output;
    });
    forward[Symbol.dispose]();
  }
  const shapes = outputs.map((output) => output.shape);
  const likeInputs = inputs.map((input) => ({ shape: input.shape, dtype: input.dtype, backend: input.storage.backend }));
  return {
    value,
    free: () => tape.free(),
    backward(outputGradients) {
      if (outputGradients.length !== shapes.length) {
        throw new GradientError(`backward: ${shapes.length} outputs but ${outputGradients.length} gradients`);
      }
      outputGradients.forEach((gradient, i) => {
        if (gradient === undefined) return;
        if (!sameShape(gradient.shape, shapes[i]!)) {
          throw new GradientError(`backward: output ${i} has shape ${formatShape(shapes[i]!)}, its gradient ${formatShape(gradient.shape)}`);
        }
        const source = sources[i];
        if (source) tape.accumulate(source.node, source.output, gradient);
      });
      tape.backward();
      return leaves.map((leaf, i) => {
        const gradient = leaf.gradients[0];
        leaf.gradients[0] = undefined;
        if (gradient === undefined) return fillLike(likeInputs[i]!, 0);
        adopt(gradient);
        return contiguous(gradient);
      });
    },
  };
}

/** A function of tensors whose first argument is differentiated. */
type Differentiable<Tree extends TensorTree, Rest extends unknown[], Output> = (first: Tree, ...rest: Rest) => Output;

function differentiate<Tree extends TensorTree, Rest extends unknown[]>(
  operation: string,
  run: Differentiable<Tree, Rest, Tensor>,
  first: Tree,
  rest: Rest,
): { value: Tensor; gradient: unknown } {
  const inputs: Tensor[] = [];
  forEachTensor(first, (input) => inputs.push(input));
  const { value, backward, free } = vjp(() => run(first, ...rest), inputs);
  if (value.size !== 1) {
    free();
    throw new GradientError(`${operation}: the function must return one number, it returned shape ${formatShape(value.shape)}; take its sum or mean`);
  }
  const one = fillLike({ shape: value.shape, dtype: value.dtype, backend: value.storage.backend }, 1);
  const gradients = backward([one]);
  one.dispose();
  return { value, gradient: rebuild(first, gradients[Symbol.iterator]()) };
}

function rebuild(tree: TensorTree, gradients: Iterator<Tensor>): unknown {
  if (tree instanceof Tensor) return gradients.next().value;
  if (Array.isArray(tree)) return tree.map((item: TensorTree) => rebuild(item, gradients));
  return Object.fromEntries(Object.entries(tree).map(([key, item]) => [key, rebuild(item as TensorTree, gradients)]));
}

/**
 * `valueAndGrad(f)(x, …)` gives `[f(x, …), ∂f/∂x]` for a scalar-valued `f`. x may be a tree, and `f` may also reach its tensors by closure, so a module trains with
 * `valueAndGrad(() => loss(model, batch))(model.parameters())`. Gradients are contiguous and accumulate in one fixed order.
 * @throws GradientError when the value is not a scalar
 */
export function valueAndGrad(run: () => Tensor): <Tree extends TensorTree>(first: Tree) => [value: Tensor, gradient: GradientOf<Tree>];
export function valueAndGrad<Tree extends TensorTree, Rest extends unknown[]>(
  run: Differentiable<Tree, Rest, Tensor>,
): (first: Tree, ...rest: Rest) => [value: Tensor, gradient: GradientOf<Tree>];
export function valueAndGrad<Tree extends TensorTree, Rest extends unknown[]>(
  run: Differentiable<Tree, Rest, Tensor>,
): (first: Tree, ...rest: Rest) => [value: Tensor, gradient: GradientOf<Tree>] {
  return (first, ...rest) => {
    const { value, gradient } = differentiate("valueAndGrad", run, first, rest);
    return [value, gradient as GradientOf<Tree>];
  };
}

/** `grad(f)(x, …)` gives ∂f/∂x; see `valueAndGrad`. */
export function grad(run: () => Tensor): <Tree extends TensorTree>(first: Tree) => GradientOf<Tree>;
export function grad<Tree extends TensorTree, Rest extends unknown[]>(
  run: Differentiable<Tree, Rest, Tensor>,
): (first: Tree, ...rest: Rest) => GradientOf<Tree>;
export function grad<Tree extends TensorTree, Rest extends unknown[]>(
  run: Differentiable<Tree, Rest, Tensor>,
): (first: Tree, ...rest: Rest) => GradientOf<Tree> {
  return (first, ...rest) => {
    const { value, gradient } = differentiate("grad", run, first, rest);
    value.dispose();
    return gradient as GradientOf<Tree>;
  };
}

/** Runs `run` without recording: nothing inside is differentiated. */
export function noGrad<Result>(run: () => Result): Result {
  const outerTape = recording.tape;
  recording.tape = undefined;
  try {
    return run();
  } finally {
    recording.tape = outerTape;
  }
}
