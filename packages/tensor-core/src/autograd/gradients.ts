import type { DeviceName } from "../backend/backend.ts";
import type { Backend } from "../backend/backend.ts";
import { DeviceError, GradientError } from "../errors.ts";
import { checkDevices, release } from "../ops/dispatch.ts";
import { asDtype, clone, fillLike } from "../ops/materialize.ts";
import { isFloating, type Dtype } from "../tensor/dtype.ts";
import { forEachTensor, isPlainObject, Scope } from "../tensor/scope.ts";
import { formatShape, sameShape, type Shape } from "../tensor/shape.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { GraphNode } from "./graph.ts";
import { adopt, alias, detach, detachAll, noGrad, outputsOf, recording, Tape } from "./tape.ts";

export { noGrad } from "./tape.ts";

/** A tensor, or nested arrays and plain objects of tensors (JAX's pytree). */
export type TensorTree = Tensor | readonly TensorTree[] | { readonly [key: string]: TensorTree };

/**
 * Gradients have the structure of what they are taken for. They are on the device of the function's value, which `Device` may know better.
 */
// Told apart by one property: comparing whole tensor types here exceeds the compiler's depth.
export type GradientOf<Tree, Device extends DeviceName = DeviceName> = Tree extends { readonly device: infer Own extends DeviceName }
  ? Tensor<Own & Device>
  : { -readonly [Key in keyof Tree]: GradientOf<Tree[Key], Device> };

/** The result of `vjp`: the function's value and its pullback. */
export interface VectorJacobianProduct<Output, Device extends DeviceName = DeviceName> {
  readonly value: Output;
  /**
   * Gradients of the inputs, given gradients of the outputs (same count and shapes; `undefined` = zero). Can be called once: it frees the
   * graph as it goes.
   * @throws GradientError on a second call, or after `free`
   */
  backward(outputGradients: readonly (Tensor | undefined)[]): Tensor<Device>[];
  /** Frees the graph unused. */
  free(): void;
}

/**
 * Runs `run` and records how its outputs depend on `inputs`, for a later backward pass: `value` now, vector-Jacobian product when the
 * gradients of the outputs
 * are known (as between pipeline stages). `inputs` may be read from a closure; what matters is the identity of the tensors.
 * @throws GradientError when an input is not of a floating dtype
 */
export function vjp<Output extends Tensor | readonly Tensor[], Device extends DeviceName>(
  run: () => Output,
  inputs: readonly Tensor<Device>[],
): VectorJacobianProduct<Output, Device> {
  return pullback("vjp", run, inputs) as VectorJacobianProduct<Output, Device>;
}

/** `vjp` under the name of the function that the user called. */
function pullback<Output extends Tensor | readonly Tensor[]>(
  operation: string,
  run: () => Output,
  inputs: readonly Tensor[],
): VectorJacobianProduct<Output> {
  const tape = new Tape();
  for (const input of inputs) {
    if (!isFloating(input.dtype))
      throw new GradientError(`${operation}: input ${formatShape(input.shape)} is ${input.dtype}; only floating tensors have gradients`);
  }
  if (recording.tape?.sees(inputs)) {
    throw new GradientError(
      `${operation}: an input is being differentiated by an outer grad() already; gradients of gradients are not supported, pass stopGradient(input) or use noGrad()`,
    );
  }
  const previous = inputs.map((input) => ({ node: input.node, output: input.nodeOutput }));
  const outerTape = recording.tape;
  const forward = new Scope();
  let value: Output;
  let sources: readonly ({ node: GraphNode; output: number } | undefined)[];
  // A tensor given twice has one place in the graph.
  const leaves = new Map<Tensor, GraphNode>();
  try {
    for (const input of inputs) if (!leaves.has(input)) leaves.set(input, tape.watch(input));
    recording.tape = tape;
    const result = run();
    const list = outputsOf(operation, result);
    sources = list.map((output) => (output.node?.tape === tape ? { node: output.node, output: output.nodeOutput } : undefined));
    value = (result instanceof Tensor ? detach(result, forward) : detachAll(list, forward)) as Output;
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
  const outputs: readonly Tensor[] = value instanceof Tensor ? [value] : value;
  const likeOutputs = outputs.map((output) => ({ shape: output.shape, dtype: output.dtype, backend: output.storage.backend }));
  const likeInputs = inputs.map((input) => ({
    shape: input.shape,
    dtype: input.dtype,
    backend: input.storage.backend,
    leaf: leaves.get(input)!,
  }));
  return {
    value,
    free: () => tape.free(),
    backward(outputGradients) {
      checkOutputGradients(outputGradients, likeOutputs);
      tape.assertUsable();
      return noGrad(() => {
        try {
          outputGradients.forEach((gradient, i) => {
            const source = sources[i];
            if (gradient === undefined || source === undefined) return;
            const converted = asDtype(gradient, likeOutputs[i]!.dtype);
            tape.accumulate(source.node, source.output, converted);
            release(converted, gradient);
          });
          tape.backward();
          return likeInputs.map(({ leaf, ...like }) => ownGradient(leaf.gradients[0], like));
        } finally {
          for (const leaf of leaves.values()) leaf.gradients[0]?.dispose();
        }
      });
    },
  };
}

type Like = { readonly shape: Shape; readonly dtype: Dtype; readonly backend: Backend };

function checkOutputGradients(gradients: readonly (Tensor | undefined)[], outputs: readonly Like[]): void {
  if (gradients.length !== outputs.length) throw new GradientError(`backward: ${outputs.length} outputs but ${gradients.length} gradients`);
  gradients.forEach((gradient, i) => {
    const { shape, backend } = outputs[i]!;
    if (gradient === undefined) return;
    if (!sameShape(gradient.shape, shape)) {
      throw new GradientError(`backward: output ${i} has shape ${formatShape(shape)}, its gradient ${formatShape(gradient.shape)}`);
    }
    if (gradient.storage.backend !== backend) {
      throw new DeviceError(
        `backward: output ${i} is on device "${backend.name}", its gradient on "${gradient.device}"; move it with to()`,
      );
    }
  });
}

/** The gradient of one input, contiguous, of the input's dtype and in memory that no other tensor sees; zeros where none arrived. */
function ownGradient(gradient: Tensor | undefined, like: Like): Tensor {
  if (gradient === undefined) return fillLike(like, 0);
  if (gradient.dtype !== like.dtype) return asDtype(gradient, like.dtype);
  if (!gradient.isContiguous || gradient.storage.shared) return clone(gradient);
  return adopt(alias(gradient));
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
  checkTree(operation, first);
  forEachTensor(first, (input) => inputs.push(input));
  const { value, backward, free } = pullback(operation, () => run(first, ...rest), inputs);
  try {
    checkDevices(operation, value, ...inputs);
    if (value.size !== 1) {
      throw new GradientError(
        `${operation}: the function must return one number, it returned shape ${formatShape(value.shape)}; take its sum or mean`,
      );
    }
    const one = fillLike({ shape: value.shape, dtype: value.dtype, backend: value.storage.backend }, 1);
    try {
      return { value, gradient: rebuild(first, backward([one])[Symbol.iterator]()) };
    } finally {
      one.dispose();
    }
  } catch (error) {
    free();
    value.dispose();
    throw error;
  }
}

/** @throws GradientError for what gradients cannot take the structure of, such as a module */
function checkTree(operation: string, tree: unknown): void {
  if (tree instanceof Tensor || tree === null || (typeof tree !== "object" && typeof tree !== "function")) return;
  if (Array.isArray(tree)) for (const item of tree) checkTree(operation, item);
  else if (isPlainObject(tree)) for (const item of Object.values(tree)) checkTree(operation, item);
  else {
    throw new GradientError(
      `${operation}: takes a tensor, or arrays and plain objects of tensors, got ${typeof tree === "function" ? "a function" : tree.constructor.name}; ` +
        "for a module give its parameters()",
    );
  }
}

function rebuild(tree: TensorTree, gradients: Iterator<Tensor>): unknown {
  if (tree instanceof Tensor) return gradients.next().value;
  if (Array.isArray(tree)) return tree.map((item: TensorTree) => rebuild(item, gradients));
  if (tree === null || typeof tree !== "object") return undefined;
  return Object.fromEntries(Object.entries(tree).map(([key, item]) => [key, rebuild(item as TensorTree, gradients)]));
}

/** What `valueAndGrad` makes of a function of one tensor, or of none (where x is reached by closure). */
// One signature for both, because only the first overload gives an unannotated parameter its type.
export type ValueAndGradOf<Run extends (first: Tensor) => Tensor> = Run extends () => { readonly device: infer Device extends DeviceName }
  ? <Tree extends TensorTree>(first: Tree) => [value: Tensor<Device>, gradient: GradientOf<Tree, Device>]
  : <Device extends DeviceName>(
      first: Tensor<Device>,
    ) => [value: Tensor<Device & ReturnType<Run>["device"]>, gradient: Tensor<Device & ReturnType<Run>["device"]>];

/** As `ValueAndGradOf`, for `grad`. */
export type GradOf<Run extends (first: Tensor) => Tensor> = Run extends () => { readonly device: infer Device extends DeviceName }
  ? <Tree extends TensorTree>(first: Tree) => GradientOf<Tree, Device>
  : <Device extends DeviceName>(first: Tensor<Device>) => Tensor<Device & ReturnType<Run>["device"]>;

/**
 * `valueAndGrad(f)(x, …)` gives `[f(x, …), ∂f/∂x]` for a scalar-valued `f`. x may be a tree, and `f` may also reach its tensors by closure,
 * so a module trains with
 * `valueAndGrad(() => loss(model, batch))(model.parameters())`. Gradients are contiguous and accumulate in one fixed order.
 * Everything is on one device: the type of the gradients names it when that of `f`'s result or of x does, the type of the value when that
 * of `f`'s result does, or x is one tensor.
 * @throws DeviceError when the value is on another device than x
 * @throws GradientError when the value is not a scalar, or x holds other things than floating tensors
 */
export function valueAndGrad<Run extends (first: Tensor) => Tensor>(run: Run): ValueAndGradOf<Run>;
export function valueAndGrad<Tree extends TensorTree, Rest extends unknown[], Device extends DeviceName>(
  run: Differentiable<Tree, Rest, Tensor<Device>>,
): (first: Tree, ...rest: Rest) => [value: Tensor<Device>, gradient: GradientOf<Tree, Device>];
export function valueAndGrad(run: (first: never, ...rest: never[]) => Tensor): unknown {
  return (first: TensorTree, ...rest: unknown[]) => {
    const { value, gradient } = differentiate("valueAndGrad", run as Differentiable<TensorTree, unknown[], Tensor>, first, rest);
    return [value, gradient];
  };
}

/** `grad(f)(x, …)` gives ∂f/∂x; see `valueAndGrad`. */
export function grad<Run extends (first: Tensor) => Tensor>(run: Run): GradOf<Run>;
export function grad<Tree extends TensorTree, Rest extends unknown[], Device extends DeviceName>(
  run: Differentiable<Tree, Rest, Tensor<Device>>,
): (first: Tree, ...rest: Rest) => GradientOf<Tree, Device>;
export function grad(run: (first: never, ...rest: never[]) => Tensor): unknown {
  return (first: TensorTree, ...rest: unknown[]) => {
    const { value, gradient } = differentiate("grad", run as Differentiable<TensorTree, unknown[], Tensor>, first, rest);
    value.dispose();
    return gradient;
  };
}
