/** What one microbatch takes a host, all its stages together, in seconds. */
export interface HostTimes {
  readonly forward: number;
  readonly backward: number;
}

/**
 * Seconds that a pipeline takes for its microbatches under the 1F1B schedule (one forward, one backward; Narayanan et al.,
 * PipeDream-Flush): host h of H does min(H - 1 - h, m) forwards, then a forward and a backward in turn, then the backwards that are left.
 * Each pass begins when its host is free and its input has come over the link.
 * @param linkSeconds transfer of one microbatch's activations or their gradients between two hosts
 */
export function pipelineSeconds(hosts: readonly HostTimes[], microbatches: number, linkSeconds: number): number {
  const count = hosts.length;
  const forwardEnd = new Float64Array(count * microbatches);
  const backwardEnd = new Float64Array(count * microbatches);
  const forwardsDone = new Int32Array(count);
  const backwardsDone = new Int32Array(count);
  const freeAt = new Float64Array(count);
  const last = count - 1;

  // Does what host h can do with what has been computed; true if it did anything.
  const advance = (h: number): boolean => {
    const { forward, backward } = hosts[h]!;
    const inFlight = Math.min(count - h, microbatches);
    let moved = false;
    for (;;) {
      const f = forwardsDone[h]!;
      const b = backwardsDone[h]!;
      let start = freeAt[h]!;
      if (f < microbatches && f - b < inFlight) {
        if (h > 0) {
          if (forwardsDone[h - 1]! <= f) return moved;
          start = Math.max(start, forwardEnd[(h - 1) * microbatches + f]! + linkSeconds);
        }
        freeAt[h] = forwardEnd[h * microbatches + f] = start + forward;
        forwardsDone[h] = f + 1;
      } else if (b < microbatches) {
        if (h < last) {
          if (backwardsDone[h + 1]! <= b) return moved;
          start = Math.max(start, backwardEnd[(h + 1) * microbatches + b]! + linkSeconds);
        }
        freeAt[h] = backwardEnd[h * microbatches + b] = start + backward;
        backwardsDone[h] = b + 1;
      } else {
        return moved;
      }
      moved = true;
    }
  };

  for (let moved = true; moved;) {
    moved = false;
    for (let h = 0; h < count; h++) moved = advance(h) || moved;
    for (let h = last - 1; h >= 0; h--) moved = advance(h) || moved;
  }
  return freeAt.reduce((latest, time) => Math.max(latest, time), 0);
}
