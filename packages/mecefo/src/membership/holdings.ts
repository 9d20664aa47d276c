import { assign, type Assignment, type AssignmentSettings } from "../grid/assignment.ts";
import { slotName, type Slot } from "../grid/grid.ts";
import type { ClusterState, Member } from "./cluster-state.ts";

/** The assignment of a state: who is a member is all it depends on. */
export function assignmentOf(settings: AssignmentSettings, { members }: Pick<ClusterState, "members">): Assignment {
  const live = new Set(members.map(({ slot }) => slotName(slot)));
  return assign(settings, (slot) => live.has(slotName(slot)));
}

/** Stages that a slot's worker hosts. */
export function hostedStages({ pipelines }: Assignment, { pipeline, stage }: Slot): number[] {
  const host = pipelines[pipeline]?.hosts.find((candidate) => candidate.stage === stage);
  return host ? Array.from({ length: host.to - host.from }, (_, i) => host.from + i) : [];
}

/** A state is fetched from this many donors at once, at most. */
const MOST_DONORS = 4;

/**
 * Who gives a stage's state to a member that needs it: on recovery the neighbour of the same pipeline that hosted it, on failure workers of
 * other pipelines (paper §3.1). Of several each sends a share; whom it begins with goes round by the requester's pipeline.
 * @returns nobody when no member holds the stage
 */
export function donorsOf({ members }: Pick<ClusterState, "members">, stage: number, { id, slot }: Member): Member[] {
  const holders = members.filter((member) => member.id !== id && member.holdings.includes(stage));
  const neighbours = holders.filter((member) => member.slot.pipeline === slot.pipeline);
  const candidates = neighbours.length > 0 ? neighbours : holders;
  const first = slot.pipeline % Math.max(1, candidates.length);
  return [...candidates.slice(first), ...candidates.slice(0, first)].slice(0, MOST_DONORS);
}

/** Stages of which no member holds the state. */
export function unheldStages(members: readonly Member[], stageCount: number): number[] {
  const held = new Set(members.flatMap(({ holdings }) => holdings));
  return Array.from({ length: stageCount }, (_, stage) => stage).filter((stage) => !held.has(stage));
}
