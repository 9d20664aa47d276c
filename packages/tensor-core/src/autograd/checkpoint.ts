import { isFloating } from "../tensor/dtype.ts";
import { tidy } from "../tensor/scope.ts";
import { Tensor } from "../tensor/tensor.ts";
import { vjp } from "./gradients.ts";
import { isRecorded, record, recording, Tape } from "./tape.ts";

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
  let value: Output;
  recording.tape = captured;
  try {
    value = tidy(() => run(...inputs));
  } finally {
    recording.tape = tape;
  }
  const outputs: readonly Tensor[] = value instanceof Tensor ? [value] : value;
  for (const output of outputs) output.node = undefined;
  const closure = [...captured.tensors];
  if (!isRecorded([...inputs, ...closure])) return value;
  record("checkpoint", [...inputs, ...closure], outputs, inputs, (gradients, saved) => {
    // The kept inputs stand in for the originals, whose handles may be gone; captured tensors are their own handles.
    const replayed = saved as unknown as Inputs;
    const floating = replayed.filter((input) => isFloating(input.dtype));
    const { backward } = vjp(() => run(...replayed), [...floating, ...closure]);
    const results = backward(gradients);
    let next = 0;
    return [...replayed.map((input) => (isFloating(input.dtype) ? results[next++] : undefined)), ...results.slice(floating.length)];
  });
  return value;
}

/** Notes which tensors of the outer graph a function reads, without recording its operations. */
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
    for (const input of inputs) {
      if (input?.node?.tape === this.outer && !this.known.has(input)) this.tensors.add(input);
    }
    return false;
  }
}

