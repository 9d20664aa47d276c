import { ContenderPool, type Effort } from "./rounds.ts";
import type { Workload } from "./workload.ts";

/** One published claim and how it stands. */
export interface Check {
  readonly id: string;
  /** Null when it could not be measured. */
  readonly value: number | null;
  readonly unit: string;
  readonly target: number;
  readonly pass: boolean;
  /** What the value was measured against, or why it is missing. */
  readonly note?: string;
}

/** How a claim is measured. */
export interface Claim {
  readonly id: string;
  readonly unit: string;
  readonly target: number;
  /** Whether a value must reach the target, stay at or below it, or be close to it. */
  readonly better: "larger" | "smaller" | { readonly within: number };
  /** Speeds are measured up to three times on a noisy machine and the best is taken; everything else once. */
  readonly speed?: boolean;
  measure(effort: Effort): Promise<Measured>;
}

/** A value, or why there is none. */
export type Measured = { readonly value: number; readonly note?: string } | { readonly skipped: string };

const attempts = 3;

function passes({ better, target }: Claim, value: number): boolean {
  if (typeof better === "object") return Math.abs(value - target) <= better.within;
  return better === "larger" ? value >= target : value <= target;
}

/** "≥ 1.25" and the like. */
export function goal({ better, target }: Claim): string {
  if (typeof better === "object") return `${target} ± ${Number(better.within.toPrecision(3))}`;
  return `${better === "larger" ? "≥" : "≤"} ${Number(target.toPrecision(4))}`;
}

/**
 * Measures a claim; what it lacks (data, a library) makes it fail with a note: what was not measured is not
 * claimed. Only `verify`'s exit code forgives a skip, outside CI.
 */
export async function checkClaim(claim: Claim, effort: Effort): Promise<Check> {
  const { id, unit, target, better } = claim;
  let best: Check | undefined;
  for (let attempt = 0; attempt < (claim.speed ? attempts : 1); attempt++) {
    const measured = await claim.measure(effort);
    if ("skipped" in measured) return { id, value: null, unit, target, pass: false, note: `skipped: ${measured.skipped}` };
    const value = Number(measured.value.toPrecision(4));
    const check: Check = {
      id,
      value,
      unit,
      target,
      pass: passes(claim, value),
      ...(measured.note !== undefined && { note: measured.note }),
    };
    if (best === undefined || (better === "larger" ? value > best.value! : value < best.value!)) best = check;
    if (best.pass) break;
  }
  return best!;
}

/** Ours over the best peer of a workload, native ones left out. @throws when no peer could be measured */
export async function measureRatio(workload: Workload, effort: Effort): Promise<{ readonly value: number; readonly note: string }> {
  const pool = new ContenderPool();
  try {
    const peers = workload.peers.filter(({ native = false, slow = false }) => !native && !slow);
    const { rates, absent } = await pool.run({ ...workload, peers }, effort);
    const others = [...rates].filter(([contender]) => contender !== workload.ours).sort(([, a], [, b]) => b - a);
    const [best] = others;
    if (best === undefined)
      throw new Error(`${workload.id}: no peer ran: ${[...absent].map(([{ name }, reason]) => `${name} ${reason}`).join("; ")}`);
    const ours = rates.get(workload.ours)!;
    return { value: ours / best[1], note: `${ours.toPrecision(4)} against ${best[1].toPrecision(4)} ${workload.unit} (${best[0].name})` };
  } finally {
    await pool.close();
  }
}
