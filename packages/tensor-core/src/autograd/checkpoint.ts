import { DisposedError } from "../errors.ts";
import { isFloating } from "../tensor/dtype.ts";
import { scopeStack } from "../tensor/ownership.ts";
import { withScope } from "../tensor/scope.ts";
import { Tensor } from "../tensor/tensor.ts";
import { vjp } from "./gradients.ts";
import { alias, detachAll, outputsOf, record, recording, Tape } from "./tape.ts";

/**
 * Runs `run(...inputs)` without keeping its intermediate tensors; the backward pass runs it again to get them (Chen et al. 2016, "Training
 * Deep Nets with
 * Sublinear Memory Cost"). Tensors that `run` reaches by closure get their gradients too, and stay in memory until then.
 * `run` must be a pure function of its tensors: the second run has to do the same.
 *
 * In the backward pass: @throws GradientError when an input or a tensor of the closure was changed in place since
 * @throws DisposedError when a tensor of the closure that no differentiable operation reads directly (indices, a condition) is gone: pass
 * it as an input
 */
export function checkpoint<Inputs extends readonly Tensor[], Output extends Tensor | readonly Tensor[]>(
  run: (...inputs: Inputs) => Output,
  ...inputs: Inputs
): Output {
  const tape = recording.tape;
  if (tape === undefined) return run(...inputs);
  return withScope((inner) => {
    // Handles of their own, so that an input that `run` also reaches by closure counts as two tensors, as it does in the second run.
    const handles = new Map(inputs.map((input) => [aliasInGraph(input), input]));
    const captured = new CaptureTape(tape, handles);
    let value: Output;
    recording.tape = captured;
    try {
      const result = run(...([...handles.keys()] as unknown as Inputs));
      const outputs = detachAll(outputsOf("checkpoint", result), inner);
      value = (result instanceof Tensor ? outputs[0] : outputs) as Output;
    } finally {
      recording.tape = tape;
      captured.close();
      for (const handle of handles.keys()) handle.dispose();
    }
    const closure = [...captured.tensors];
    const held = [...closure, ...captured.constants].filter((tensor) => !tensor.disposed);
    record("checkpoint", [...inputs, ...closure], value, [...inputs, ...held], (gradients, saved) => {
      // The kept inputs stand in for the originals, whose handles may be gone.
      const replayed = saved.slice(0, inputs.length) as unknown as Inputs;
      const floating = replayed.filter((input) => isFloating(input.dtype));
      return withHandles(held, () => {
        const { backward } = vjp(() => run(...replayed), [...floating, ...closure]);
        const results = backward(gradients);
        let next = 0;
        return [...replayed.map((input) => (isFloating(input.dtype) ? results[next++] : undefined)), ...results.slice(floating.length)];
      });
    });
    return inner.keep(value);
  });
}

/** A second handle with the same place in the graph. */
function aliasInGraph(tensor: Tensor): Tensor {
  const handle = alias(tensor);
  handle.node = tensor.node;
  handle.nodeOutput = tensor.nodeOutput;
  return handle;
}

/**
 * Runs `replay` while the given handles, which its closure refers to, can be read again: their scopes may have ended, but the graph kept
 * their memory.
 * @throws DisposedError naming the way out, when the closure refers to others that are gone
 */
function withHandles<Result>(handles: readonly Tensor[], replay: () => Result): Result {
  const revived = handles.filter((handle) => handle.disposed);
  for (const handle of revived) {
    handle.storage.retain();
    handle.disposed = false;
  }
  try {
    return replay();
  } catch (error) {
    if (!(error instanceof DisposedError)) throw error;
    throw new DisposedError(
      `checkpoint: its function reads a tensor by closure that was freed before the backward pass; pass it as an input (${error.message})`,
      { cause: error },
    );
  } finally {
    for (const handle of revived) handle.dispose();
  }
}

/**
 * Notes which tensors from outside a function reads, and keeps nothing for a backward pass. Operations see the same answers from it as they
 * will from the tape
 * of the second run, so both runs take the same paths and give the same bits.
 */
class CaptureTape extends Tape {
  /** Tensors of the outer graph. */
  readonly tensors = new Set<Tensor>();
  /** Tensors of no graph that were there before. */
  readonly constants = new Set<Tensor>();
  readonly outer: Tape;
  readonly handles: ReadonlyMap<Tensor, Tensor>;
  /** Scopes from here on are the function's own. */
  readonly depth: number = scopeStack.length - 1;

  constructor(outer: Tape, handles: ReadonlyMap<Tensor, Tensor>) {
    super();
    this.outer = outer;
    this.handles = handles;
  }

  override sees(inputs: readonly (Tensor | undefined)[]): boolean {
    let seen = false;
    for (const input of inputs) {
      if (input === undefined) continue;
      if (input.node?.tape === this) {
        seen = true;
        continue;
      }
      // Asking the outer tape lets a checkpoint around this one note the tensor too.
      const original = this.handles.get(input);
      if (this.outer.sees([original ?? input])) {
        seen = true;
        if (original === undefined) this.tensors.add(input);
      } else if (original === undefined && this.#isFromOutside(input)) this.constants.add(input);
    }
    return seen;
  }

  override add(_operation: string, _inputs: readonly (Tensor | undefined)[], outputs: readonly Tensor[], saved: readonly Tensor[]): void {
    this.sees(saved);
    for (const output of outputs) this.watch(output);
  }

  #isFromOutside(tensor: Tensor): boolean {
    return !tensor.disposed && (tensor.owner === undefined || scopeStack.lastIndexOf(tensor.owner) < this.depth);
  }
}
