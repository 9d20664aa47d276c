import { StateTransferError } from "../errors.ts";
import type { StageVote } from "../membership/worker-report.ts";
import type { MessageTag } from "../transport/transport.ts";
import type { EpochPlan } from "./epoch-plan.ts";
import type { ReduceLinks } from "./reduce-gradients.ts";

/**
 * The squared norm of the whole gradient, where no leader adds it up (strategy "none"): every host of a pipeline tells the others its
 * stages'. Summed in the order of stages, as a leader does it. Null when it is not finite.
 * @throws EpochEndedError, LinkError, StateTransferError
 */
export async function exchangeNorms(
  plan: EpochPlan, step: number, votes: readonly Pick<StageVote, "stage" | "squaredNorm">[], stages: number,
  { transport, mailbox }: ReduceLinks,
): Promise<number | null> {
  const norms = new Float64Array(stages);
  for (const { stage, squaredNorm } of votes) norms[stage] = squaredNorm ?? Number.NaN;
  const peers = plan.pipelinePeers;
  const tag = (stage: number): MessageTag => ({ kind: "reduce", epoch: plan.epoch, step, channel: stages + 1, sequence: stage });
  const own = plan.member.slot.stage;
  const sends = peers.map(({ peer }) => transport.send(peer, tag(own), new Uint8Array(Float64Array.of(norms[own]!).buffer)));
  // Where a message does not come, that is told instead.
  for (const send of sends) send.catch(() => {});
  await Promise.all(peers.map(async ({ peer, stage }) => {
    const message = await mailbox.receive(peer.id, tag(stage));
    const { buffer, byteOffset, byteLength } = message.payload;
    if (byteLength === 8) norms[stage] = new DataView(buffer, byteOffset, 8).getFloat64(0, true);
    transport.release(message);
    if (byteLength === 8) return;
    throw new StateTransferError(`the norm of stage ${stage} came from ${peer.id} in ${byteLength} bytes, expected 8`, { peer: peer.id });
  }));
  await mailbox.within(plan.epoch, Promise.all(sends));
  const sum = norms.reduce((total, norm) => total + norm, 0);
  return Number.isFinite(sum) ? sum : null;
}
