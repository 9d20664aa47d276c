import type { DeviceName } from "../backend/backend.ts";
import { GradientError } from "../errors.ts";
import { Scope } from "../tensor/scope.ts";
import { scopeStack } from "../tensor/ownership.ts";
import { contiguousStrides, formatShape, sameShape } from "../tensor/shape.ts";
import { Storage } from "../tensor/storage.ts";
import { Tensor } from "../tensor/tensor.ts";
import { itemSize, type Dtype } from "../tensor/dtype.ts";
import type { GraphNode, InputGradients } from "./graph.ts";

/** The tape that operations record on, `undefined` while nothing is differentiated. */
export const recording: { tape: Tape | undefined } = { tape: undefined };

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

/** A second handle on the same memory that no scope owns. */
export function alias<Device extends DeviceName>(tensor: Tensor<Device>): Tensor<Device> {
  void tensor.buffer; // a freed tensor has nothing to share
  return new Tensor(tensor.storage.retain(), tensor.dtype, tensor.shape, tensor.strides, tensor.offset, false);
}

/** Gives a handle without owner to the innermost scope. */
export function adopt<Device extends DeviceName>(tensor: Tensor<Device>): Tensor<Device> {
  scopeStack.at(-1)?.track(tensor);
  return tensor;
}

/**
 * The tensors that a differentiated function returned. @throws GradientError for anything else, such as the promise of an async function
 */
export function outputsOf(operation: string, value: unknown): readonly Tensor[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (list.every((output) => output instanceof Tensor)) return list;
  const kind = value instanceof Promise ? "a promise; await outside of it" : Object.prototype.toString.call(value);
  throw new GradientError(`${operation}: the function must return a tensor or an array of tensors, it returned ${kind}`);
}

/**
 * What a differentiated function returned, as a handle that `scope` owns and that no graph knows. Functions may return their inputs or
 * tensors of a closure: those
 * keep their place in the graph and their owner, and a second handle takes their part.
 */
export function detach<Output extends Tensor>(output: Output, scope: Scope): Output {
  if (output.owner === scope) {
    output.node = undefined;
    return output;
  }
  const handle = alias(output);
  scope.track(handle);
  return handle as Output;
}

/** As `detach`, for several outputs: one that stands in the list twice gets a handle for each place. */
export function detachAll(outputs: readonly Tensor[], scope: Scope): Tensor[] {
  return outputs.map((output, i) => {
    if (outputs.indexOf(output) === i) return detach(output, scope);
    const handle = alias(output);
    scope.track(handle);
    return handle;
  });
}

/** Whether an operation on these inputs has to be recorded. @throws GradientError where an outer differentiation would be lost */
export function isRecorded(inputs: readonly (Tensor | undefined)[]): boolean {
  return recording.tape !== undefined && recording.tape.sees(inputs);
}

/** What a recorded operation does in the backward pass; `saved` are the tensors it asked to keep. */
export type SavedBackward = (
  gradients: readonly (Tensor | undefined)[],
  saved: readonly Tensor[],
  needs: (input: number) => boolean,
) => InputGradients;

/**
 * Puts an operation on the tape, if any input is on it. `saved` are kept alive until the backward pass has read them.
 * `outputs` are given their place in the graph.
 */
export function record(
  operation: string,
  inputs: readonly (Tensor | undefined)[],
  outputs: Tensor | readonly Tensor[],
  saved: readonly Tensor[],
  backward: SavedBackward,
): void {
  if (isRecorded(inputs)) recording.tape!.add(operation, inputs, outputs instanceof Tensor ? [outputs] : outputs, saved, backward);
}

/** The graph of one differentiated function, in the order its operations ran. */
export class Tape {
  readonly #nodes: GraphNode[] = [];
  /** Whether an outer differentiation was recording when this one began. */
  readonly #nested = recording.tape !== undefined;
  #state: "recording" | "recorded" | "freed" = "recording";

  /** Whether operations are still being recorded. */
  get open(): boolean {
    return this.#state === "recording";
  }

  /** Marks `tensor` as something gradients are wanted for. */
  watch(tensor: Tensor): GraphNode {
    const node: GraphNode = {
      tape: this,
      operation: "input",
      inputs: [],
      backward: undefined,
      gradients: [undefined],
      ownsGradient: [false],
      dtypes: [tensor.dtype],
      saved: [],
    };
    tensor.node = node;
    tensor.nodeOutput = 0;
    return node;
  }

  /** @internal whether any input is on this tape */
  sees(inputs: readonly (Tensor | undefined)[]): boolean {
    let seen = false;
    for (let i = 0; i < inputs.length; i++) {
      const node = inputs[i]?.node;
      if (node === undefined) continue;
      if (node.tape === this) seen = true;
      else if (this.#nested && node.tape.open) {
        throw new GradientError(
          `${node.operation}: its result is differentiated by an outer grad() but used inside an inner one; gradients of gradients are not supported, ` +
            "wrap it in stopGradient(), or the inner grad() in noGrad()",
        );
      }
    }
    return seen;
  }

  /** @internal see `record` */
  add(
    operation: string,
    inputs: readonly (Tensor | undefined)[],
    outputs: readonly Tensor[],
    saved: readonly Tensor[],
    backward: SavedBackward,
  ): void {
    const kept = saved.map(alias);
    const versions = kept.map((tensor) => tensor.storage.version);
    const node: GraphNode = {
      tape: this,
      operation,
      inputs: inputs.map((input) => (input?.node?.tape === this ? { node: input.node, output: input.nodeOutput } : undefined)),
      backward: (gradients, needs) => {
        kept.forEach((tensor, i) => {
          if (tensor.storage.version !== versions[i]) {
            throw new GradientError(
              `${operation}: a tensor ${formatShape(tensor.shape)} saved for the backward pass was changed in place since; ` +
                "run backward before optimizer steps and other in-place updates",
            );
          }
        });
        return backward(gradients, kept, needs);
      },
      gradients: outputs.map(() => undefined),
      ownsGradient: outputs.map(() => false),
      dtypes: outputs.map((output) => output.dtype),
      saved: kept,
    };
    this.#nodes.push(node);
    outputs.forEach((output, i) => {
      output.node = node;
      output.nodeOutput = i;
    });
  }

  /** Ends recording. */
  close(): void {
    if (this.#state === "recording") this.#state = "recorded";
  }

  /** Adds `gradient` to what has arrived at an output of `node`. */
  accumulate(node: GraphNode, output: number, gradient: Tensor): void {
    const present = node.gradients[output];
    if (present === undefined) {
      node.gradients[output] = alias(gradient);
      return;
    }
    if (!sameShape(present.shape, gradient.shape)) {
      throw new GradientError(
        `${node.operation}: gradients of shapes ${formatShape(present.shape)} and ${formatShape(gradient.shape)} meet; a custom gradient returned the wrong shape`,
      );
    }
    // Sums are float32 and contiguous; the first gradient may belong to others too, so the second makes a copy.
    let total = present;
    if (!node.ownsGradient[output]) {
      total = copyAs(present, "float32");
      node.gradients[output] = total;
      node.ownsGradient[output] = true;
      present.dispose();
    }
    const addend = gradient.isContiguous && gradient.dtype === "float32" ? gradient : copyAs(gradient, "float32");
    total.storage.backend.kernels.addScaled({ output: total, input: addend, scale: 1 });
    if (addend !== gradient) addend.dispose();
  }

  /** @throws GradientError once the graph was freed */
  assertUsable(): void {
    if (this.#state === "freed") {
      throw new GradientError("this graph was already used or freed: its saved tensors are gone; run the forward function again");
    }
  }

  /**
   * Passes the accumulated gradients back through every operation, newest first, freeing each operation's saved tensors as it is done.
   * @throws GradientError on a second use
   */
  backward(): void {
    this.assertUsable();
    this.close();
    const outerTape = recording.tape;
    recording.tape = undefined;
    try {
      for (let i = this.#nodes.length - 1; i >= 0; i--) {
        const node = this.#nodes[i]!;
        if (node.gradients.some((gradient) => gradient !== undefined)) this.#backwardThrough(node);
        release(node);
      }
    } finally {
      recording.tape = outerTape;
      this.free();
    }
  }

  /** Frees everything still saved. */
  free(): void {
    this.#state = "freed";
    for (const node of this.#nodes) release(node);
    this.#nodes.length = 0;
  }

  #backwardThrough(node: GraphNode): void {
    const step = new Scope();
    try {
      // A sum may be float32 where the tensor is float16: each backward function sees the dtype its output had.
      const arrived = node.gradients.map((gradient, i) =>
        gradient && gradient.dtype !== node.dtypes[i] ? adopt(copyAs(gradient, node.dtypes[i]!)) : gradient,
      );
      const gradients = node.backward!(arrived, (input) => node.inputs[input] !== undefined);
      node.inputs.forEach((source, i) => {
        const gradient = gradients[i];
        if (source !== undefined && gradient !== undefined) this.accumulate(source.node, source.output, gradient);
      });
    } finally {
      step[Symbol.dispose]();
    }
  }
}

/** A contiguous copy that no scope owns. */
function copyAs(input: Tensor, dtype: Dtype): Tensor {
  const { backend } = input.storage;
  const output = new Tensor(
    new Storage(backend, input.size * itemSize(dtype)),
    dtype,
    input.shape,
    contiguousStrides(input.shape),
    0,
    false,
  );
  backend.kernels.copy({ input, output });
  return output;
}

function release(node: GraphNode): void {
  for (const tensor of node.saved) tensor.dispose();
  node.saved = [];
  node.backward = undefined;
  node.gradients.forEach((gradient, i) => {
    gradient?.dispose();
    node.gradients[i] = undefined;
  });
}
