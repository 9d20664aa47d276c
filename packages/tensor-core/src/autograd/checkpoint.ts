import { isFloating } from "../tensor/dtype.ts";
import { Scope } from "../tensor/scope.ts";
import { Tensor } from "../tensor/tensor.ts";
import { vjp } from "./gradients.ts";
import { detach, outputsOf, record, recording, Tape } from "./tape.ts";

/**
 * Runs `run(...inputs)` without keeping its intermediate tensors; the backward pass runs it again to get them (Chen et al. 2016, "Training Deep Nets with
 * Sublinear Memory Cost"). Parameters that `run` reaches by closure get their gradients too; they must still be alive and unchanged then.
 * `run` must be a pure function of its tensors: the second run has to do the same.
 */
export function checkpoint<Inputs extends readonly Tensor[], Output extends Tensor | readonly Tensor[]>(
  run: (...inputs: Inputs) => Output,
  ...inputs: Inputs
): Output {
  const tape = recording.tape;
  if (tape === undefined) return run(...inputs);
  const captured = new CaptureTape(tape, inputs);
  using inner = new Scope();
  let value: Output;
  recording.tape = captured;
  try {
    const result = run(...inputs);
    const outputs = outputsOf("checkpoint", result).map((output) => detach(output, inner));
    value = (result instanceof Tensor ? outputs[0] : outputs) as Output;
  } finally {
    recording.tape = tape;
    captured.close();
  }
  const closure = [...captured.tensors];
  record("checkpoint", [...inputs, ...closure], value, inputs, (gradients, saved) => {
    // The kept inputs stand in for the originals, whose handles may be gone; captured tensors are their own handles.
    const replayed = saved as unknown as Inputs;
    const floating = replayed.filter((input) => isFloating(input.dtype));
    const { backward } = vjp(() => run(...replayed), [...floating, ...closure]);
    const results = backward(gradients);
    let next = 0;
    return [...replayed.map((input) => (isFloating(input.dtype) ? results[next++] : undefined)), ...results.slice(floating.length)];
  });
  return inner.keep(value);
}

/**
 * Notes which tensors of the outer graph a function reads, and keeps nothing for a backward pass. Operations see the same answers from it as they will from the tape
 * of the second run, so both runs take the same paths and give the same bits.
 */
class CaptureTape extends Tape {
  readonly tensors = new Set<Tensor>();
  readonly outer: Tape;
  readonly known: ReadonlySet<Tensor>;

  constructor(outer: Tape, known: readonly Tensor[]) {
    super();
    this.outer = outer;
    this.known = new Set(known);
  }

  override sees(inputs: readonly (Tensor | undefined)[]): boolean {
    let seen = false;
    for (const input of inputs) {
      if (input?.node === undefined) continue;
      if (input.node.tape === this) seen = true;
      // Asking the outer tape lets a checkpoint around this one note the tensor too.
      else if (this.outer.sees([input])) {
        seen = true;
        if (!this.known.has(input)) this.tensors.add(input);
      }
    }
    return seen;
  }

  override add(_operation: string, _inputs: readonly (Tensor | undefined)[], outputs: readonly Tensor[]): void {
    for (const output of outputs) this.watch(output);
  }
}

