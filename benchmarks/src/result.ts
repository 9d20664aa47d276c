import type { Machine } from "./machine.ts";
import type { Rates } from "./rounds.ts";

/** One row of `bench --json`. */
export interface Result {
  readonly id: string;
  readonly unit: string;
  readonly ours: number;
  /** Libraries of the same kind: JavaScript and WebAssembly. */
  readonly peers: Readonly<Record<string, number>>;
  /** Ours over the best peer, null without one. */
  readonly ratio: number | null;
  /** Native libraries and the machine's own limits, which the ratio leaves out. */
  readonly yardsticks: Readonly<Record<string, number>>;
  /** Why a library has no number. */
  readonly absent: Readonly<Record<string, string>>;
  /** Size of the result, where that matters. */
  readonly bytes?: Readonly<Record<string, number>>;
  readonly remark?: string;
}

/** All of `bench --json`. */
export interface Report {
  readonly package: string;
  readonly machine: Machine;
  /** By name of the contender. */
  readonly versions: Readonly<Record<string, string>>;
  readonly results: readonly Result[];
}

const rounded = (value: number): number => Number(value.toPrecision(4));

function limitOf({ workload: { limit, ours } }: Rates, machine: Machine): Record<string, number> {
  if (limit === undefined) return {};
  const base = limit.of === "simdPeak" ? machine.simdPeak : machine.bandwidth[ours.threads > 1 ? 1 : 0];
  return { [limit.name]: rounded(base * limit.factor) };
}

/** A row from measured rates. */
export function resultOf(measured: Rates, machine: Machine): Result {
  const { workload, rates, absent, bytes } = measured;
  const ours = rates.get(workload.ours)!;
  const { yardsticks, remark } = workload.assess?.({ rate: ours, bytes: bytes.get(workload.ours) }) ?? {};
  const others = [...rates].filter(([contender]) => contender !== workload.ours);
  const named = (native: boolean): Record<string, number> =>
    Object.fromEntries(
      others.filter(([{ native: isNative = false }]) => isNative === native).map(([{ name }, rate]) => [name, rounded(rate)]),
    );
  const peers = named(false);
  const best = Math.max(...Object.values(peers));
  return {
    id: workload.id,
    unit: workload.unit,
    ours: rounded(ours),
    peers,
    ratio: Number.isFinite(best) ? rounded(ours / best) : null,
    yardsticks: { ...named(true), ...limitOf(measured, machine), ...yardsticks },
    absent: Object.fromEntries([...absent].map(([{ name }, reason]) => [name, reason])),
    ...(bytes.size > 0 && { bytes: Object.fromEntries([...bytes].map(([{ name }, size]) => [name, size])) }),
    ...(remark !== undefined && { remark }),
  };
}
