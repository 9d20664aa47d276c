import { dispose, keep, tidy } from "@frugal/tensor-core";

/**
 * Owns tensors across awaits. A scope cannot: what other code makes during an await would belong to it.
 */
export class TensorHolder {
  readonly #held = new Set<unknown>();

  /** Runs `make`, and holds the tensors that it returns (a tensor, or arrays and objects of them); the others it made are freed. */
  make<Made>(make: () => Made): Made {
    return this.hold(tidy(make));
  }

  /** Holds what was made elsewhere. */
  hold<Made>(made: Made): Made {
    this.#held.add(keep(made));
    return made;
  }

  /** Frees something held, before its time. */
  free(made: unknown): void {
    if (this.#held.delete(made)) dispose(made);
  }

  /** Hands something held to the caller. */
  release<Made>(made: Made): Made {
    this.#held.delete(made);
    return made;
  }

  dispose(): void {
    for (const made of this.#held) dispose(made);
    this.#held.clear();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
