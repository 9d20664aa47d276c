import type { Job } from "../job/job.ts";
import { slotName } from "../grid/grid.ts";
import type { EpochEvent, RecoveryEvent, StepEvent } from "../membership/run-event.ts";
import type { ClusterState, Member } from "../membership/cluster-state.ts";
import { assignmentOf } from "../membership/holdings.ts";
import type { AssignmentSettings } from "../grid/assignment.ts";
import type { CapturedEnergy } from "../approximation/projection-store.ts";
import type { Settled, Vote } from "../membership/worker-report.ts";

/** What there is to say of a new epoch. */
export function epochEvent(settings: AssignmentSettings, state: ClusterState, at: number): EpochEvent {
  const { healthy, mixerPipelines, pipelines } = assignmentOf(settings, state);
  const { epoch, step, cause, reason, members } = state;
  return {
    kind: "epoch", at, epoch, step, cause, reason, healthy, mixerPipelines,
    live: members.map(({ slot }) => slotName(slot)),
    pids: members.map(({ pid }) => pid),
    lostPipelines: pipelines.flatMap(({ active, pipeline }) => (active ? [] : [pipeline])),
  };
}

/** What there is to say of a step that was taken, from its votes. */
export function stepEvent(
  job: Pick<Job, "microbatchSize" | "sequenceLength">, members: readonly Member[], votes: ReadonlyMap<string, Vote>,
  { epoch, step, squaredNorm }: { readonly epoch: number; readonly step: number; readonly squaredNorm: number | null },
  { at, milliseconds }: { readonly at: number; readonly milliseconds: number },
): StepEvent {
  const all = members.flatMap(({ id, slot }) => {
    const vote = votes.get(id);
    return vote ? [{ slot: slotName(slot), vote }] : [];
  });
  const losses = all.flatMap(({ vote }) => vote.loss ?? []);
  const microbatches = losses.reduce((sum, loss) => sum + loss.microbatches, 0);
  const loss = losses.reduce((sum, part) => sum + part.sum, 0) / microbatches;
  // By stage and hash: replicas that differ are both to be seen.
  const hashes = new Map<string, { stage: number; hash: string; replicas: number }>();
  for (const { stage, stateHash: hash } of all.flatMap(({ vote }) => vote.stages)) {
    if (hash === undefined) continue;
    const known = hashes.get(`${stage} ${hash}`);
    if (known) known.replicas++;
    else hashes.set(`${stage} ${hash}`, { stage, hash, replicas: 1 });
  }
  const energy = all.flatMap(({ vote }): readonly CapturedEnergy[] => vote.energy ?? []);
  const batches = all.flatMap(({ vote }) => vote.batches).toSorted((a, b) => a.microbatch - b.microbatch);
  return {
    kind: "step", at, epoch, step, milliseconds, batches,
    loss: Number.isFinite(loss) ? loss : null,
    gradientNorm: squaredNorm === null ? null : Math.sqrt(squaredNorm),
    tokens: batches.length * job.microbatchSize * job.sequenceLength,
    skipped: squaredNorm === null,
    stateHashes: [...hashes.values()].toSorted((a, b) => a.stage - b.stage),
    busy: all.map(({ slot, vote: { timings } }) => ({ slot, busy: timings.busy, waiting: timings.waiting, allReduce: timings.allReduce })),
    ...(energy.length > 0 && { energy }),
  };
}

/** What there is to say once everybody has what it hosts. */
export function recoveryEvent(
  state: ClusterState, settled: ReadonlyMap<string, Settled>, { at, milliseconds }: { readonly at: number; readonly milliseconds: number },
): RecoveryEvent {
  const slotOf = (id: string): string => {
    const member = state.members.find((candidate) => candidate.id === id);
    return member ? slotName(member.slot) : "gone";
  };
  const transfers = [...settled].flatMap(([id, report]) => report.transfers.map(({ stage, donor, bytes, milliseconds: took }) => ({
    slot: slotOf(id), stage, donor: slotOf(donor), bytes, milliseconds: took,
  })));
  const { epoch, step, cause, reason } = state;
  return {
    kind: "recovery", at, epoch, step, cause, reason, milliseconds, transfers, bytes: transfers.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}
