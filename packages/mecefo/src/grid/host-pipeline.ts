/** A live worker and the stages it hosts, a run around its own. */
export interface HostRange {
  readonly stage: number;
  /** Inclusive. */
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
}

/**
 * Who hosts what in one pipeline (spec §1.9): each dead stage goes to the nearest live one. The middle of a gap goes to the side with less
 * to do once everybody has what nobody else is as near to; of two with as much, to the later one (s + 1, else s - 1).
 * @param live of each stage, false or 0 for dead
 * @param maximumChain stages that one worker may host, its own included; 1 = only complete pipelines run
 * @returns in stage order; undefined if somebody would have to host more than that, or nobody is left
 */
export function hostPipeline(live: ArrayLike<boolean | number>, maximumChain: number): HostRange[] | undefined {
  const stages = live.length;
  const hosts: { readonly stage: number; from: number; to: number }[] = [];
  /** Middles of gaps, by the number of the host after them. */
  const middles: number[] = [];
  for (let stage = 0; stage < stages; stage++) {
    if (!live[stage]) continue;
    const left = hosts.at(-1);
    const gap = stage - (left?.to ?? 0);
    const half = left === undefined ? 0 : gap >> 1;
    if (left !== undefined) left.to += half;
    if (left !== undefined && gap % 2 === 1) middles.push(hosts.length);
    hosts.push({ stage, from: stage - (left === undefined ? gap : half), to: stage + 1 });
  }
  const last = hosts.at(-1);
  if (last === undefined) return undefined;
  last.to = stages;
  for (const after of middles) {
    const [left, right] = [hosts[after - 1]!, hosts[after]!];
    if (right.to - right.from <= left.to - left.from) right.from--;
    else left.to++;
  }
  return hosts.every(({ from, to }) => to - from <= maximumChain) ? hosts : undefined;
}
