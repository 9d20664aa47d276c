import type { StageVote } from "../membership/worker-report.ts";
import type { MessageTag } from "../transport/transport.ts";
import type { EpochPlan } from "./epoch-plan.ts";
import type { ReduceLinks } from "./reduce-gradients.ts";

/**
 * The squared norm of the whole gradient, where no leader adds it up (strategy "none"): every host of a pipeline tells the others its stages'.
 * Summed in the order of stages, as a leader does it.
 */
export async function exchangeNorms(
  plan: EpochPlan, step: number, votes: readonly Pick<StageVote, "stage" | "squaredNorm">[], stages: number, { transport, mailbox }: ReduceLinks,
): Promise<number | null> {
  const norms = new Float64Array(stages);
  for (const { stage, squaredNorm } of votes) norms[stage] = squaredNorm ?? Number.NaN;
  const peers = plan.pipelinePeers;
  const tag = (stage: number): MessageTag => ({ kind: "reduce", epoch: plan.epoch, step, channel: stages + 1, sequence: stage });
  const own = plan.member.slot.stage;
  const sends = peers.map(({ peer }) => transport.send(peer, tag(own), new Uint8Array(Float64Array.of(norms[own]!).buffer)));
  await Promise.all(peers.map(async ({ peer, stage }) => {
    const message = await mailbox.receive(peer.id, tag(stage));
    norms[stage] = new DataView(message.payload.buffer, message.payload.byteOffset, 8).getFloat64(0, true);
    transport.release(message);
  }));
  await Promise.all(sends);
  const sum = norms.reduce((total, norm) => total + norm, 0);
  return Number.isFinite(sum) ? sum : null;
}
