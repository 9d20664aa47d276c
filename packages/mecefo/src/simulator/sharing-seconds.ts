import type { PipelineTime } from "./pipeline-time.ts";

/** Time of the slowest pipeline when each takes as many microbatches, the first ones one more where that does not divide. */
export function evenSeconds(pipelines: readonly PipelineTime[], total: number): number {
  const least = Math.floor(total / pipelines.length);
  const extra = total % pipelines.length;
  let slowest = 0;
  for (const [i, pipeline] of pipelines.entries()) slowest = Math.max(slowest, pipeline.seconds(least + (i < extra ? 1 : 0)));
  return slowest;
}

/** The most microbatches that a pipeline is through with in time. */
function mostWithin(pipeline: PipelineTime, seconds: number, greatest: number): number {
  let low = 0;
  let high = greatest;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (pipeline.seconds(middle) <= seconds) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** No pipeline is given more than this many times its even share: a limit for the search only. */
const LARGEST_SHARE = 8;
const HALVINGS = 30;

/** Time of the slowest pipeline when the microbatches are shared out so that it is the least: slow pipelines get fewer. */
export function balancedSeconds(pipelines: readonly PipelineTime[], total: number): number {
  const counts = new Map<PipelineTime, number>();
  for (const pipeline of pipelines) counts.set(pipeline, (counts.get(pipeline) ?? 0) + 1);
  const greatest = Math.min(total, LARGEST_SHARE * Math.ceil(total / pipelines.length));
  const isEnough = (seconds: number): boolean => {
    let done = 0;
    for (const [pipeline, count] of counts) done += count * mostWithin(pipeline, seconds, greatest);
    return done >= total;
  };
  let low = 0;
  let high = evenSeconds(pipelines, total);
  for (let i = 0; i < HALVINGS; i++) {
    const middle = (low + high) / 2;
    if (isEnough(middle)) high = middle;
    else low = middle;
  }
  return high;
}
