/** A live worker and the stages it hosts, a run around its own. */
export interface HostRange {
  readonly stage: number;
  /** Inclusive. */
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
}

/**
 * Who hosts what in one pipeline: each dead stage goes to the nearest live one, the middle of a gap to the later one
 * (s + 1, else s - 1); what exceeds the cap of one side goes to the other.
 * @param live of each stage, 0 for dead
 * @param maximumChain stages that one worker may host, its own included; 1 = only complete pipelines run
 * @returns undefined if too few are left for all stages
 */
export function hostPipeline(live: Uint8Array, maximumChain: number): HostRange[] | undefined {
  const hosts: { stage: number; from: number; to: number }[] = [];
  const stages = live.length;
  let gap = 0;
  for (let stage = 0; stage <= stages; stage++) {
    const isEnd = stage === stages;
    if (!isEnd && live[stage] === 0) {
      gap++;
      continue;
    }
    const left = hosts.at(-1);
    const leftRoom = left === undefined ? 0 : maximumChain - (left.to - left.from);
    const rightRoom = isEnd ? 0 : maximumChain - 1;
    if (leftRoom + rightRoom < gap) return undefined;
    let toLeft = 0;
    if (left !== undefined) {
      const wanted = isEnd ? gap : Math.floor(gap / 2);
      toLeft = Math.min(leftRoom, Math.max(wanted, gap - rightRoom));
      left.to += toLeft;
    }
    if (!isEnd) hosts.push({ stage, from: stage - (gap - toLeft), to: stage + 1 });
    gap = 0;
  }
  return hosts.length === 0 ? undefined : hosts;
}
