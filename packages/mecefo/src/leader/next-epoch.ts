import type { Assignment, AssignmentSettings } from "../grid/assignment.ts";
import type { ClusterState, Decision, EpochCause, Member, RestorePoint } from "../membership/cluster-state.ts";
import { assignmentOf, hostedStages, unheldStages } from "../membership/holdings.ts";

const LONGEST_REASON = 1500;

/** What has changed since an epoch began. */
export interface EpochChange {
  /** Members that are members no more. */
  readonly gone: ReadonlySet<string>;
  readonly joining: readonly Member[];
  /** A step that is taken in the same stroke. */
  readonly decision: Decision | undefined;
  /** Members that were seen to hold what they host, whether or not a step was taken. */
  readonly settled: ReadonlySet<string>;
  /** Replicas differ, and nobody knows which is right. */
  readonly discard: boolean;
  /** Undefined: there is nowhere to go back to. */
  readonly restorePoint: RestorePoint | undefined;
  readonly cause: EpochCause;
  readonly reason: string;
}

/** In the order of slots. */
export function inSlotOrder(members: readonly Member[]): Member[] {
  return members.toSorted((a, b) => a.slot.pipeline - b.slot.pipeline || a.slot.stage - b.slot.stage);
}

/** What a member holds once the epoch is over. */
function holdingsAfter(member: Member, state: ClusterState, { decision, settled }: EpochChange, assignment: Assignment): readonly number[] {
  const hosted = hostedStages(assignment, member.slot);
  const hasStepped = (decision ?? state.decision)?.epoch === state.epoch;
  // After a step everybody holds what it hosts and has let go of the rest.
  if (hasStepped) return hosted;
  return settled.has(member.id) ? [...new Set([...member.holdings, ...hosted])].toSorted((a, b) => a - b) : member.holdings;
}

/**
 * The state that the next epoch begins with. What nobody holds is restored: then everybody goes back to the restore point. `failed` with a
 * reason where that is not allowed or not possible.
 */
export function nextEpoch(settings: AssignmentSettings, state: ClusterState, change: EpochChange): ClusterState {
  const before = assignmentOf(settings, state);
  const { decision, cause } = change;
  const reason = change.reason.slice(0, LONGEST_REASON);
  const staying = state.members
    .filter(({ id }) => !change.gone.has(id))
    .map((member): Member => ({ ...member, holdings: holdingsAfter(member, state, change, before) }));
  const members = inSlotOrder([...staying, ...change.joining]);
  const next: ClusterState = {
    ...state,
    epoch: state.epoch + 1,
    step: decision ? decision.step + 1 : state.step,
    members,
    decision: decision ?? state.decision,
    load: decision ? undefined : state.load,
    cause,
    reason,
  };
  // Without fault tolerance workers have gone on already: a step cannot be begun again.
  if (settings.strategy === "none" && cause !== "joined" && cause !== "requested") {
    return { ...next, phase: "failed", reason: `${reason}; the strategy "none" does not survive failures` };
  }
  const unheld = unheldStages(members, settings.grid.stages);
  const isLost = next.load === undefined && (change.discard || unheld.length > 0);
  const restarts = settings.strategy === "checkpoint-restart" && change.gone.size > 0;
  if (!isLost && !restarts) return next;
  if (change.restorePoint === undefined) {
    const what = change.discard ? "replicas differ and none is right" : `nobody holds stage ${unheld.join(", ")} any more`;
    return { ...next, phase: "failed", reason: `${reason}; ${what}, and there is no checkpoint to go back to` };
  }
  const { load, step } = change.restorePoint;
  const because = isLost && !change.discard ? `; nobody holds stage ${unheld.join(", ")} any more` : "";
  return {
    ...next, load, step, decision: undefined, cause: isLost && !change.discard ? "stage-lost" : cause,
    reason: `${reason}${because}: back to step ${step} (${load.from})`,
    members: members.map((member) => ({ ...member, holdings: [] })),
  };
}
