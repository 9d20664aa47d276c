/** Perplexity under the paper's high failure rate, against the same run without failures. */
import { tmpdir } from "node:os";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { allTechniques, noTechniques } from "../../packages/mecefo/src/approximation/stage-mode.ts";
import type { Claim, Measured } from "../src/check.ts";
import { runConfiguration, type GapConfiguration } from "./perplexity-gap-experiment.ts";
import { gapOf } from "./perplexity-gap-table.ts";

/** A short form of the runs in REPRODUCTION.md: as many failures, fewer steps. */
const STEPS = 120;
const QUICK_STEPS = 8;

const mecefo: Omit<GapConfiguration, "steps"> = {
  strategy: "mecefo", techniques: allTechniques, basis: "weight", rank: 0.25, refreshInterval: 100, scenario: "high", seed: 0, traceSeed: 3,
};

async function perplexityGap(steps: number): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), "frugal-perplexity-"));
  try {
    const options = { folder, probe: false };
    const faultFree = await runConfiguration(
      { ...mecefo, strategy: "none", techniques: noTechniques, scenario: undefined, steps }, options,
    );
    const result = await runConfiguration({ ...mecefo, steps }, options);
    const { relative, textError } = gapOf(result, [faultFree]);
    const [without, under] = [faultFree, result].map(({ validationLoss }) => Math.exp(validationLoss).toFixed(2));
    const { failures, meanDown } = result.trace!;
    const note =
      `perplexity ${without} → ${under} on ${result.validationTokens} held-out tokens of Moby-Dick (± ${textError.toFixed(4)} by the text) ` +
      `after ${steps} steps of ${Math.round(result.trainingTokens / steps)} tokens; ${(result.parameters / 1e6).toFixed(1)} M parameters on ` +
      `${result.grid}, ${failures} failures, ${meanDown.toFixed(1)} nodes down on average; weight basis, rank n/4; aim ≤ 0.015`;
    return { value: relative, note };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What failures cost the model's predictions. */
export const perplexityClaims: readonly Claim[] = [
  {
    id: "perplexity-gap-high-rate",
    unit: "share",
    target: 0.015,
    better: "smaller",
    measure: (effort) => perplexityGap(effort.rounds < 3 ? QUICK_STEPS : STEPS),
  },
];
