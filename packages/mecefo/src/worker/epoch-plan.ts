import type { Assignment, HostAssignment } from "../grid/assignment.ts";
import type { ClusterState, Member } from "../membership/cluster-state.ts";
import { hostedStages } from "../membership/holdings.ts";
import type { Peer } from "../transport/transport.ts";

/** Workers that reduce gradients together, and which of them this one is. */
export interface ReduceGroup {
  /** The stage, or the number of stages for the tied matrix. */
  readonly channel: number;
  readonly participants: readonly Peer[];
  readonly rank: number;
}

/** What an epoch asks of one worker. */
export interface EpochPlan {
  readonly epoch: number;
  readonly member: Member;
  readonly assignment: Assignment;
  readonly host: HostAssignment;
  /** That it hosts, in order. */
  readonly stages: readonly number[];
  /** Whether its pipeline does passes. */
  readonly active: boolean;
  readonly microbatches: readonly number[];
  readonly hosts: number;
  readonly position: number;
  readonly previous: Peer | undefined;
  readonly next: Peer | undefined;
  /** The other hosts of its pipeline, by their own stage. */
  readonly pipelinePeers: readonly { readonly stage: number; readonly peer: Peer }[];
  /** Everybody else. */
  readonly peers: readonly Peer[];
  /** In ascending order of channels. */
  readonly groups: readonly ReduceGroup[];
  /** Stages of which this worker writes the checkpoint's shard: those that no worker of a lower pipeline hosts. */
  readonly shards: readonly number[];
}

/** Who of a pipeline hosts a stage. */
function hostIn(assignment: Assignment, pipeline: number, stage: number): HostAssignment | undefined {
  return assignment.pipelines[pipeline]!.hosts.find(({ from, to }) => from <= stage && stage < to);
}

/** @param tied whether the first and the last stage have copies of one matrix */
export function planEpoch(state: ClusterState, member: Member, assignment: Assignment, stages: number, tied: boolean): EpochPlan {
  const { pipeline, stage } = member.slot;
  const memberAt = new Map(state.members.map((other) => [`${other.slot.pipeline} ${other.slot.stage}`, other]));
  const peerAt = (place: number, host: HostAssignment): Peer => {
    const { id, address } = memberAt.get(`${place} ${host.stage}`)!;
    return { id, address };
  };
  const { hosts, active, microbatches } = assignment.pipelines[pipeline]!;
  const position = hosts.findIndex((candidate) => candidate.stage === stage);
  const host = hosts[position]!;

  const groupOf = (channel: number, ofStages: readonly number[]): ReduceGroup | undefined => {
    const participants: Peer[] = [];
    for (const { pipeline: place } of assignment.pipelines) {
      for (const ofStage of ofStages) {
        const found = hostIn(assignment, place, ofStage);
        const peer = found && peerAt(place, found);
        if (peer && !participants.some(({ id }) => id === peer.id)) participants.push(peer);
      }
    }
    const rank = participants.findIndex(({ id }) => id === member.id);
    return rank < 0 ? undefined : { channel, participants, rank };
  };
  const hosted = hostedStages(assignment, member.slot);
  const groups = hosted.map((one) => groupOf(one, [one]));
  if (tied) groups.push(groupOf(stages, [0, stages - 1]));

  return {
    epoch: state.epoch, member, assignment, host, stages: hosted, active, microbatches, hosts: hosts.length, position,
    previous: active && position > 0 ? peerAt(pipeline, hosts[position - 1]!) : undefined,
    next: active && position < hosts.length - 1 ? peerAt(pipeline, hosts[position + 1]!) : undefined,
    pipelinePeers: hosts.flatMap((other) => (other === host ? [] : [{ stage: other.stage, peer: peerAt(pipeline, other) }])),
    peers: state.members.flatMap(({ id, address }) => (id === member.id ? [] : [{ id, address }])),
    groups: groups.filter((group) => group !== undefined),
    shards: hosted.filter((one) =>
      assignment.pipelines.every(({ pipeline: place }) => place >= pipeline || hostIn(assignment, place, one) === undefined)),
  };
}
