import { MembershipError } from "../errors.ts";
import type { ClusterState } from "../membership/cluster-state.ts";
import type { Membership } from "../membership/membership.ts";

/** Waits for states. Only the newest counts: what was over before anybody looked is skipped. */
export class StateWatch {
  readonly #stop: () => void;
  #current: ClusterState | undefined;
  #failure: { readonly error: unknown } | undefined;
  #waiting: (() => void)[] = [];

  constructor(membership: Membership) {
    this.#stop = membership.onState((state) => {
      this.#current = state;
      this.#wake();
    });
  }

  /** The newest state. */
  get current(): ClusterState | undefined {
    return this.#current;
  }

  /** The first state that satisfies: the newest one, or one to come. @throws what `fail` was given */
  async next(satisfies: (state: ClusterState) => boolean): Promise<ClusterState> {
    for (;;) {
      if (this.#failure) throw this.#failure.error;
      if (this.#current && satisfies(this.#current)) return this.#current;
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
  }

  /** Whoever waits, now or later, is told. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  close(): void {
    this.#stop();
    this.fail(new MembershipError("the worker was closed"));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
