import { ringAllReduce } from "../collectives/ring-all-reduce.ts";
import type { StageGradients } from "../collectives/stage-gradients.ts";
import { FrameError } from "../errors.ts";
import type { StageVote } from "../membership/worker-report.ts";
import type { Mailbox } from "../transport/mailbox.ts";
import type { Transport } from "../transport/transport.ts";
import type { EpochPlan } from "./epoch-plan.ts";
import type { HeldStage } from "./held-stage.ts";

/** What gradients are reduced through. */
export interface ReduceLinks {
  readonly transport: Transport;
  readonly mailbox: Mailbox;
}

/**
 * Averages the gradients of every hosted stage over the pipelines (Eq. 1), that of a tied matrix over both ends as well. Every host of a
 * stage then has the same bits.
 * @returns what there is to vote on, stage by stage
 * @throws EpochEndedError, LinkError, FrameError when gradients of some microbatches are missing, or there twice
 */
export async function reduceGradients(
  plan: EpochPlan, step: number, held: ReadonlyMap<number, HeldStage>, { transport, mailbox }: ReduceLinks,
): Promise<Omit<StageVote, "stateHash">[]> {
  const { epoch, stages, groups } = plan;
  const lastStage = plan.assignment.mixerPipelines.length - 1;
  const hosted = stages.map((stage) => held.get(stage)!);
  for (const { tied: copy } of hosted) if (copy) await mailbox.within(epoch, copy.free);
  const tied = await gatherTied(hosted, lastStage);
  await Promise.all(groups.map(async ({ channel, participants, rank }) => {
    const own = channel <= lastStage ? held.get(channel)!.gradients : tied!;
    if (own !== tied) {
      await mailbox.within(epoch, own.free);
      await own.fill(held.get(channel)!.sums);
    }
    const ring = ringAllReduce(own.values, { transport, mailbox, epoch, step, channel, participants, rank });
    own.free = ring.catch(() => {});
    await mailbox.within(epoch, ring);
  }));
  const tiedNorm = tied?.average() ?? null;
  const tiedHash = tied?.hash() ?? "";
  return hosted.map(({ replica: { stage }, gradients, tied: copy }) => {
    if (copy && copy !== tied) copy.values.set(tied!.values);
    checkContributions(stage, gradients, plan);
    const own = gradients.average();
    // The matrix is one parameter, however many stages have a copy of it: its norm counts once.
    const squaredNorm = copy && stage === 0 ? plus(own, tiedNorm) : own;
    return { stage, squaredNorm, gradientHash: gradients.hash() + (copy ? tiedHash : "") };
  });
}

/** What the batches of a vote say was run is also what was summed. */
function checkContributions(stage: number, { contributions }: StageGradients, { assignment }: EpochPlan): void {
  const expected = assignment.pipelines.reduce((sum, { microbatches }) => sum + microbatches.length, 0);
  if (contributions === undefined || contributions === expected) return;
  throw new FrameError(`gradients of ${contributions} microbatches came together in stage ${stage}, the step has ${expected}`);
}

function plus(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : a + b;
}

/** This worker's sum for the tied matrix, of one end or both. The end with the embedding counts the microbatches. */
async function gatherTied(hosted: readonly HeldStage[], lastStage: number): Promise<StageGradients | undefined> {
  const ends = hosted.filter(({ tied }) => tied !== undefined);
  for (const { replica, sums, tied } of ends) await tied!.fill(sums, { countless: replica.stage === lastStage });
  const [first, second] = ends;
  if (second) first!.tied!.accumulate(second.tied!);
  return first?.tied;
}
