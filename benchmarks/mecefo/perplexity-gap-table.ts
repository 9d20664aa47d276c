import type { GapResult } from "./perplexity-gap-experiment.ts";

/** How much worse one run's model predicts than another's. */
export interface Gap {
  /** Perplexity over the fault-free run's, less one. */
  readonly relative: number;
  /** Standard error of that, from the differences of losses of the same batches of held-out text: of the text, not of the training. */
  readonly textError: number;
}

/**
 * Compares a model with fault-free ones (the mean of their losses) on the same held-out text.
 * @throws for runs that were not scored on as many batches
 */
export function gapOf({ batchLosses }: GapResult, faultFree: readonly GapResult[]): Gap {
  const count = batchLosses.length;
  for (const other of faultFree) {
    if (count !== other.batchLosses.length || count < 2) throw new Error(`${count} batches against ${other.batchLosses.length}`);
  }
  const differences = batchLosses.map((loss, i) =>
    faultFree.reduce((sum, other) => sum + (loss - other.batchLosses[i]!) / faultFree.length, 0));
  const mean = differences.reduce((sum, one) => sum + one, 0) / count;
  const variance = differences.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (count - 1);
  return { relative: Math.expm1(mean), textError: Math.exp(mean) * Math.sqrt(variance / count) };
}

/** What a run is called in the table. */
export function runName({ configuration: { strategy, techniques, basis, rank, scenario, nudge } }: GapResult): string {
  if (scenario === undefined) return nudge ? `fault-free, learning rate × ${1 + nudge}` : "fault-free";
  if (strategy !== "mecefo") return strategy;
  const used = [
    techniques.skipMixerBackward && "I", techniques.recomputeFeedForward && "II",
    techniques.lowRankWeightGradients && `III (${basis}, ${rank} n)`,
  ].filter((name) => name !== false);
  return used.length === 0 ? "mecefo, no technique" : used.join(" + ");
}

const mean = (values: readonly number[]): number | undefined =>
  (values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length);
const figure = (value: number | undefined, digits: number): string => (value === undefined ? "–" : value.toFixed(digits));
const percent = (value: number): string => `${value >= 0 ? "+" : "−"}${(100 * Math.abs(value)).toFixed(2)} %`;

function row(result: GapResult, faultFree: readonly GapResult[]): string {
  const { configuration: { seed, traceSeed }, validationLoss, trace, energy, errors, degradedShare, stalled, trainingTokens } = result;
  const gap = faultFree.length === 0 ? undefined : gapOf(result, faultFree);
  const error = (part: "all" | "mixer" | "others"): string => figure(mean(errors.map((each) => each[part])), 2);
  return [
    runName(result), `${seed}`, trace ? `${traceSeed}` : "–", validationLoss.toFixed(4), Math.exp(validationLoss).toFixed(2),
    gap ? `${percent(gap.relative)} ± ${(100 * gap.textError).toFixed(2)}` : "–",
    trace ? `${trace.failures} / ${trace.meanDown.toFixed(1)}` : "–", `${(100 * degradedShare).toFixed(0)} %`,
    `${figure(energy["gate"], 2)} / ${figure(energy["down"], 2)}`, `${error("all")} / ${error("mixer")} / ${error("others")}`,
    `${Math.round(trainingTokens / 1000)} k${stalled > 0 ? ` (stood still ${stalled})` : ""}`,
  ].join(" | ");
}

const header = [
  "run", "seed", "trace", "held-out loss", "perplexity", "against fault-free (± text)", "failures / mean down", "degraded",
  "energy gate / down", "error all / mixer / others", "tokens",
];

/**
 * The runs as a Markdown table, fault-free ones first. Each is compared with the fault-free runs of its seed; of those, nudged ones with
 * the one that is not.
 */
export function gapTable(results: readonly GapResult[]): string {
  const isFaultFree = ({ configuration: { scenario } }: GapResult): boolean => scenario === undefined;
  const isNudged = ({ configuration: { nudge } }: GapResult): boolean => nudge !== undefined;
  const baseline = (result: GapResult): GapResult[] => results
    .filter((other) => isFaultFree(other) && other.configuration.seed === result.configuration.seed)
    .filter((other) => !isFaultFree(result) || (isNudged(result) && !isNudged(other)));
  const key = (result: GapResult): string => {
    const { seed, traceSeed, strategy } = result.configuration;
    return [isFaultFree(result) ? 0 : 1, strategy === "mecefo" ? 0 : 1, runName(result), seed, traceSeed].join(" ");
  };
  const rows = results.toSorted((a, b) => (key(a) < key(b) ? -1 : 1)).map((result) => row(result, baseline(result)));
  return [header.join(" | "), header.map(() => "---").join(" | "), ...rows].map((line) => `| ${line} |`).join("\n");
}
