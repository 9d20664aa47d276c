import { TensorError } from "../errors.ts";
import { QuantizedTensor } from "./quantized.ts";
import { Tensor } from "./tensor.ts";
import { scopeStack, type TensorOwner } from "./ownership.ts";

/**
 * Owns the tensors made while it is the innermost scope and frees them at its end.
 *
 * ```ts
 * using step = scope();
 * const loss = step.keep(model.loss(batch)); // survives the block
 * ```
 *
 * A scope belongs to one stretch of synchronous code: tensors that other code makes while you `await` inside it would be freed with yours.
 */
export class Scope implements TensorOwner {
  #tensors: Tensor[] = [];
  #open = true;
  /** Length at which handles freed or handed on meanwhile are dropped from the list. */
  #limit = 1024;

  /** @internal use `scope()` */
  constructor() {
    scopeStack.push(this);
  }

  /** @internal */
  track(tensor: Tensor): void {
    tensor.owner = this;
    if (this.#tensors.push(tensor) < this.#limit) return;
    this.#tensors = this.#tensors.filter((each) => each.owner === this);
    this.#limit = Math.max(1024, 2 * this.#tensors.length);
  }

  /** @internal how many handles the scope holds on to */
  get trackedCount(): number {
    return this.#tensors.length;
  }

  /** Hands the tensors of `value` (a tensor, or arrays and objects of them) to the scope around this one. Returns `value`. */
  keep<Value>(value: Value): Value {
    const position = scopeStack.indexOf(this);
    const parent = position > 0 ? scopeStack[position - 1] : undefined;
    forEachTensor(value, (tensor) => {
      // A tensor owned further out, or by nobody, already outlives this scope.
      if (tensor.owner !== this) return;
      tensor.owner = undefined;
      parent?.track(tensor);
    });
    return value;
  }

  /** Frees what the scope still owns. Called by `using`. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    if (scopeStack.at(-1) === this) scopeStack.pop();
    else {
      const position = scopeStack.lastIndexOf(this);
      if (position >= 0) scopeStack.splice(position, 1);
    }
    for (const tensor of this.#tensors) if (tensor.owner === this) tensor.dispose();
  }
}

/** Opens a scope; write `using s = scope()`. */
export function scope(): Scope {
  return new Scope();
}

/**
 * Runs `run` and frees every tensor it made, except those in what it returns.
 * @throws TensorError when `run` returns a promise: tensors made later would escape the scope
 */
export function tidy<Result>(run: () => Result): Result {
  return withScope((inner) => {
    const result = run();
    if (isThenable(result)) {
      // What still runs in there will meet freed tensors; this error is the one to report.
      result.then(undefined, () => {});
      throw new TensorError("tidy: the function returned a promise; await outside, and keep the tensor work synchronous");
    }
    return inner.keep(result);
  });
}

/** Runs `run` in a scope of its own. `using` does the same, but costs every bundle the helpers that compilers put in its place. */
export function withScope<Result>(run: (inner: Scope) => Result): Result {
  const inner = new Scope();
  try {
    return run(inner);
  } finally {
    inner[Symbol.dispose]();
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

/** Takes tensors out of every scope: the caller frees them with `dispose()`. For parameters and optimizer state. Returns `value`. */
export function keep<Value>(value: Value): Value {
  forEachTensor(value, (tensor) => {
    tensor.owner = undefined;
  });
  return value;
}

/** Frees every tensor in `value`. */
export function dispose(value: unknown): void {
  forEachTensor(value, (tensor) => tensor.dispose());
}

/** Visits the tensors in nested arrays, maps and plain objects, and the parts of quantised ones. */
export function forEachTensor(value: unknown, visit: (tensor: Tensor) => void): void {
  if (value instanceof Tensor) visit(value);
  else if (value instanceof QuantizedTensor) forEachTensor([value.values, value.scales, value.minimums], visit);
  else if (Array.isArray(value)) for (const item of value) forEachTensor(item, visit);
  else if (value instanceof Map) for (const item of value.values()) forEachTensor(item, visit);
  else if (isPlainObject(value)) {
    for (const item of Object.values(value)) forEachTensor(item, visit);
  }
}

/** Whether a value is an object of no class. */
export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (value === null || typeof value !== "object") return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
