import { GradientError } from "../errors.ts";
import { Scope } from "../tensor/scope.ts";
import { scopeStack } from "../tensor/ownership.ts";
import { contiguousStrides, formatShape, sameShape } from "../tensor/shape.ts";
import { Storage } from "../tensor/storage.ts";
import { Tensor } from "../tensor/tensor.ts";
import { itemSize } from "../tensor/dtype.ts";
import type { GraphNode, InputGradients } from "./graph.ts";

/** The tape that operations record on, `undefined` while nothing is differentiated. */
export const recording: { tape: Tape | undefined } = { tape: undefined };

/** A second handle on the same memory that no scope owns. */
export function alias(tensor: Tensor): Tensor {
  void tensor.buffer; // a freed tensor has nothing to share
  const handle = new Tensor(tensor.storage.retain(), tensor.dtype, tensor.shape, tensor.strides, tensor.offset);
  handle.owner = undefined;
  return handle;
}

/** Gives a handle without owner to the innermost scope. */
export function adopt(tensor: Tensor): Tensor {
  scopeStack.at(-1)?.track(tensor);
  return tensor;
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
  #state: "recording" | "recorded" | "freed" = "recording";

  /** Whether operations are still being recorded. */
  get open(): boolean {
    return this.#state === "recording";
  }

  /** Marks `tensor` as something gradients are wanted for. */
  watch(tensor: Tensor): GraphNode {
    const node: GraphNode = { tape: this, operation: "input", inputs: [], backward: undefined, gradients: [undefined], ownsGradient: [false], saved: [] };
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
      else if (node.tape.open) {
        throw new GradientError(
          `${node.operation}: its result is differentiated by an outer grad() but used inside an inner one; gradients of gradients are not supported, ` +
            "pass it as an argument of the inner function or wrap it in stopGradient()",
        );
      }
    }
    return seen;
  }

  /** @internal see `record` */
  add(operation: string, inputs: readonly (Tensor | undefined)[], outputs: readonly Tensor[], saved: readonly Tensor[], backward: SavedBackward): void {
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
    const { kernels } = present.storage.backend;
    let target = present;
    if (!node.ownsGradient[output]) {
      target = uninitialized(present);
      kernels.copy({ input: present, output: target });
      present.dispose();
      node.gradients[output] = target;
      node.ownsGradient[output] = true;
    }
    if (gradient.isContiguous) kernels.addScaled({ output: target, input: gradient, scale: 1 });
    else kernels.binary({ operation: "add", a: target, b: gradient, output: swapTarget(node, output, target) });
  }

  /**
   * Passes the accumulated gradients back through every operation, newest first, freeing each operation's saved tensors as it is done.
   * @throws GradientError on a second use
   */
  backward(): void {
    if (this.#state === "freed") {
      throw new GradientError("this graph was already used: its saved tensors were freed as the backward pass went through; run the forward function again");
    }
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
      const gradients = node.backward!(node.gradients, (input) => node.inputs[input] !== undefined);
      node.inputs.forEach((source, i) => {
        const gradient = gradients[i];
        if (source !== undefined && gradient !== undefined) this.accumulate(source.node, source.output, gradient);
      });
    } finally {
      step[Symbol.dispose]();
    }
  }
}

function uninitialized(like: Tensor): Tensor {
  const tensor = new Tensor(
    new Storage(like.storage.backend, like.size * itemSize(like.dtype)), like.dtype, like.shape, contiguousStrides(like.shape), 0,
  );
  tensor.owner = undefined;
  return tensor;
}

function swapTarget(node: GraphNode, output: number, previous: Tensor): Tensor {
  const target = uninitialized(previous);
  node.gradients[output] = target;
  // The old sum is read by the kernel call this target is made for; the scope of the backward step frees it afterwards.
  adopt(previous);
  return target;
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
