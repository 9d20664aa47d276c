/** Lets long computations on the main thread share it. */
export interface Pauses {
  /** Gives the event loop a turn when it has not had one for a while. @throws the signal's reason once it is aborted */
  pause(): Promise<void>;
}

const longestStretch = 50;

/** Pauses of a computation that calls `pause()` often; results do not depend on when the turns are taken. */
export function createPauses(signal: AbortSignal | undefined): Pauses {
  let resumed = performance.now();
  return {
    async pause() {
      signal?.throwIfAborted();
      if (performance.now() - resumed < longestStretch) return;
      await new Promise((resolve) => setTimeout(resolve, 0));
      signal?.throwIfAborted();
      resumed = performance.now();
    },
  };
}
