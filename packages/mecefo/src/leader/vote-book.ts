import type { StageVote, Vote } from "../membership/worker-report.ts";

/** What all votes of a step together say. */
export type Verdict =
  /** Not all have voted. */
  | { readonly kind: "open" }
  /** All replicas agree. */
  | { readonly kind: "agreed"; readonly squaredNorm: number | null }
  /** Replicas of a stage differ in their weights or moments: `wrong` are the members in the minority, undefined when there is none. */
  | { readonly kind: "diverged"; readonly stage: number; readonly wrong: readonly string[] | undefined; readonly detail: string }
  /** The averaged gradients differ although the weights agree: something was lost on the way. */
  | { readonly kind: "corrupted"; readonly stage: number; readonly detail: string };

/** Members by what they say. */
function byAnswer(
  votes: ReadonlyMap<string, Vote>, stage: number, answer: (vote: StageVote) => string | undefined,
): Map<string, string[]> {
  const answers = new Map<string, string[]>();
  for (const [member, { stages }] of votes) {
    const own = stages.find((part) => part.stage === stage);
    const said = own && answer(own);
    if (said !== undefined) answers.set(said, [...(answers.get(said) ?? []), member]);
  }
  return answers;
}

/** The votes of one step of one epoch. */
export class VoteBook {
  readonly votes: Map<string, Vote> = new Map();

  /** Members that have not voted. */
  missing(members: readonly string[]): string[] {
    return members.filter((member) => !this.votes.has(member));
  }

  /** @param members that have to agree */
  verdict(members: readonly string[], stageCount: number): Verdict {
    if (this.missing(members).length > 0) return { kind: "open" };
    let squaredNorm: number | null = 0;
    for (let stage = 0; stage < stageCount; stage++) {
      const states = byAnswer(this.votes, stage, ({ stateHash }) => stateHash);
      if (states.size > 1) {
        const sorted = [...states].toSorted(([, a], [, b]) => b.length - a.length);
        const isMajority = sorted[0]![1].length > sorted[1]![1].length;
        const wrong = isMajority ? sorted.slice(1).flatMap(([, holders]) => holders) : undefined;
        const detail = sorted.map(([hash, holders]) => `${hash} in ${holders.length}`).join(", ");
        return { kind: "diverged", stage, wrong, detail };
      }
      const gradients = byAnswer(this.votes, stage, (part) => `${part.gradientHash} ${part.squaredNorm}`);
      if (gradients.size !== 1) {
        return { kind: "corrupted", stage, detail: `${gradients.size} different averages of ${this.votes.size} workers` };
      }
      // The order of stages, whoever votes: the sum has the same bits for any assignment.
      const part = [...this.votes.values()].flatMap(({ stages }) => stages).find((vote) => vote.stage === stage)!.squaredNorm;
      squaredNorm = part === null || squaredNorm === null ? null : squaredNorm + part;
    }
    return { kind: "agreed", squaredNorm };
  }
}
