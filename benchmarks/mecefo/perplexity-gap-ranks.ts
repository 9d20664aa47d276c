/**
 * `node benchmarks/mecefo/perplexity-gap-ranks.ts`: the errors of gradients by basis and rank, on the same weights, batches and failures.
 * A fault-free run goes ahead; grids under failures take each of some of its steps from its weights, with projections of their own that
 * grow as old as in a real run. Losses of whole runs are noisier than what sets bases and ranks apart; these errors are not.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setThreads } from "@frugal/tensor-core";
import {
  allTechniques, noTechniques, type ProjectionSettings, type Techniques,
} from "../../packages/mecefo/src/approximation/stage-mode.ts";
import { createJob } from "../../packages/mecefo/src/job/create-job.ts";
import { decoderStageFactory } from "../../packages/mecefo/src/job/decoder-stages.ts";
import { presetConfiguration } from "../../packages/mecefo/src/job/model-presets.ts";
import { openData } from "../../packages/mecefo/src/job/prepare-data.ts";
import { createSampler } from "../../packages/mecefo/src/job/sampler.ts";
import { FailureTrace, scaledChances } from "../../packages/mecefo/src/virtual-grid/failure-trace.ts";
import { VirtualGrid } from "../../packages/mecefo/src/virtual-grid/virtual-grid.ts";
import { paperScenario } from "../../packages/mecefo/src/simulator/scenario.ts";
import { errorsOf, gradientsOf, type GradientErrors } from "./perplexity-gap-errors.ts";
import { cacheFolder, dataOf, GRID, LEARNING_RATE, MICROBATCH_SIZE, SEQUENCE_LENGTH } from "./perplexity-gap-experiment.ts";

const { values: given } = parseArgs({
  options: {
    from: { type: "string", default: "120" }, steps: { type: "string", default: "30" }, "trace-seed": { type: "string", default: "3" },
    folder: { type: "string", default: cacheFolder },
  },
});
const [from, count] = [Number(given.from), Number(given.steps)];
const RUN_STEPS = 300;

interface Variant {
  readonly name: string;
  readonly techniques: Techniques;
  readonly projection: Partial<ProjectionSettings>;
}

const onlyLowRank: Techniques = { ...noTechniques, lowRankWeightGradients: true };
const variants: Variant[] = [
  { name: "I", techniques: { ...noTechniques, skipMixerBackward: true }, projection: {} },
  { name: "I + II + III (weight, 0.25 n)", techniques: allTechniques, projection: { basis: "weight", rank: 0.25 } },
  ...(["weight", "activation", "gradient"] as const).flatMap((basis) => [0.125, 0.25, 0.5].map((rank) => (
    { name: `III (${basis}, ${rank} n)`, techniques: onlyLowRank, projection: { basis, rank } }
  ))),
];

setThreads(1);
const data = await dataOf(join(given.folder, "moby-dick"));
const model = { ...presetConfiguration("micro", { vocabularySize: data.vocabularySize }), numHiddenLayers: 8 };
const { tokens } = await openData(data.folder, data.sha256);
const factory = decoderStageFactory(model);
const gridOf = (more: Partial<Parameters<typeof createJob>[0]>): VirtualGrid => {
  const job = createJob({
    model, data, grid: GRID, microbatches: 1, microbatchSize: MICROBATCH_SIZE, sequenceLength: SEQUENCE_LENGTH, steps: RUN_STEPS,
    threads: 1, optimizer: { learningRate: LEARNING_RATE }, ...more,
  });
  return new VirtualGrid({ job, factory, sampler: createSampler(tokens, job) });
};
using reference = gridOf({ strategy: "none" });
const chances = scaledChances(paperScenario("high"), RUN_STEPS);
const trace = new FailureTrace({ grid: reference.job.grid, chances, seed: Number(given["trace-seed"]) });
for (let step = 0; step < from; step++) await reference.step();

const found = variants.map(({ techniques, projection }) => (
  { grid: gridOf({ techniques, projection }), errors: [] as Omit<GradientErrors, "step">[], energy: new Map<string, number[]>() }
));
let down = 0;
for (let step = from; step < from + count; step++) {
  const before = await Promise.all(reference.stages.map(({ replica }) => replica.state()));
  await reference.step();
  down += trace.down(step).length;
  const exact = gradientsOf(reference);
  for (const { grid, errors, energy } of found) {
    grid.stages.forEach(({ replica }, stage) => replica.load(before[stage]!));
    const taken = await grid.step(trace.at(step));
    if (taken === undefined) throw new Error(`step ${step} cannot be taken under these failures; use another --trace-seed`);
    errors.push(errorsOf(gradientsOf(grid), exact));
    for (const { matrix, energy: share } of taken.energy) energy.set(matrix, [...(energy.get(matrix) ?? []), share]);
  }
  console.error(`step ${step}`);
}
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const shown = (values: readonly number[] | undefined): string => (values === undefined ? "–" : mean(values).toFixed(2));
console.log(`steps ${from} to ${from + count - 1}, ${(down / count).toFixed(1)} nodes down on average`);
console.log("| techniques | error of all | of mixers | of feed-forwards | of feed-forwards, at most | energy gate / down |");
console.log("| --- | ---: | ---: | ---: | ---: | ---: |");
variants.forEach(({ name }, i) => {
  const { errors, energy, grid } = found[i]!;
  const of = (part: "all" | "mixer" | "feedForward"): number[] => errors.map((each) => each[part]);
  const figures = [mean(of("all")), mean(of("mixer")), mean(of("feedForward")), Math.max(...of("feedForward"))];
  const cells = figures.map((value) => value.toFixed(4));
  console.log(`| ${[name, ...cells, `${shown(energy.get("gate"))} / ${shown(energy.get("down"))}`].join(" | ")} |`);
  grid.dispose();
});
