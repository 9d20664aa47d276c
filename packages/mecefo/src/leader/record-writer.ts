import type { ClusterState } from "../membership/cluster-state.ts";
import type { ControlPlane } from "../membership/membership.ts";

/** Options of `RecordWriter`. */
export interface RecordWriterOptions {
  readonly plane: ControlPlane;
  /** The state that follows, if any does: asked again after every write. */
  readonly next: () => ClusterState | undefined;
  /** It is in the record. */
  readonly written: (state: ClusterState) => void;
  /** A write failed: nobody knows whether the state is in the record. */
  readonly failed: (detail: string) => void;
  /** Another leads now, or may: nothing is written any more. */
  readonly deposed: () => void;
}

/** Changes the cluster's record by compare-and-set, one write at a time: everything else waits for it. */
export class RecordWriter {
  readonly #options: RecordWriterOptions;
  #revision = 0;
  #isWriting = false;
  #isClosed = false;

  constructor(options: RecordWriterOptions) {
    this.#options = options;
  }

  /** The record as it is; where there is none it begins with `first`. Undefined: another was faster. */
  async begin(first: ClusterState): Promise<ClusterState | undefined> {
    const { plane } = this.#options;
    const known = await plane.read();
    const revision = known?.revision ?? (await plane.compareAndSet(first, 0));
    if (revision === undefined) return this.#depose();
    this.#revision = revision;
    return known?.state ?? first;
  }

  /** Writes states as long as there is something to write. */
  pump(): void {
    if (this.#isWriting || this.#isClosed) return;
    this.#isWriting = true;
    void (async () => {
      try {
        for (let next = this.#options.next(); next !== undefined && !this.#isClosed; next = this.#options.next()) {
          const revision = await this.#write(next);
          if (revision === undefined) return this.#depose();
          this.#revision = revision;
          this.#options.written(next);
        }
      } finally {
        this.#isWriting = false;
      }
    })();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    this.#isClosed = true;
  }

  async #write(next: ClusterState): Promise<number | undefined> {
    try {
      return await this.#options.plane.compareAndSet(next, this.#revision);
    } catch (error) {
      this.#options.failed(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  #depose(): undefined {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#options.deposed();
  }
}
