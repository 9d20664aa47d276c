/**
 * `node benchmarks/mecefo/perplexity-gap.ts --projection activation --rank 0.25`: trains one configuration and keeps its result.
 * One that is there already is not trained again. `--table` prints all results as Markdown.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { ProjectionBasis } from "../../packages/mecefo/src/approximation/stage-mode.ts";
import { strategyNames, type StrategyName } from "../../packages/mecefo/src/grid/strategy.ts";
import { cacheFolder, runConfiguration, type GapConfiguration, type GapResult } from "./perplexity-gap-experiment.ts";
import { gapTable } from "./perplexity-gap-table.ts";

const { values: given } = parseArgs({
  options: {
    strategy: { type: "string", default: "mecefo" },
    techniques: { type: "string", default: "I,II,III" },
    projection: { type: "string", default: "weight" },
    rank: { type: "string", default: "0.25" },
    "refresh-interval": { type: "string", default: "100" },
    scenario: { type: "string", default: "high" },
    "fault-free": { type: "boolean", default: false },
    seed: { type: "string", default: "0" },
    "trace-seed": { type: "string", default: "3" },
    steps: { type: "string", default: "300" },
    nudge: { type: "string", default: "0" },
    folder: { type: "string", default: cacheFolder },
    json: { type: "boolean", default: false },
    "no-probe": { type: "boolean", default: false },
    table: { type: "boolean", default: false },
  },
});

function oneOf<Name extends string>(option: string, value: string, names: readonly Name[]): Name {
  const found = names.find((name) => name === value);
  if (found === undefined) throw new Error(`--${option} ${value}: use ${names.join(", ")}`);
  return found;
}

function configurationOf(): GapConfiguration {
  const strategy: StrategyName = oneOf("strategy", given["fault-free"] ? "none" : given.strategy, strategyNames);
  const used = strategy === "mecefo" ? given.techniques.split(",") : [];
  const basis: ProjectionBasis = oneOf("projection", given.projection, ["weight", "activation", "gradient"]);
  return {
    strategy,
    techniques: {
      skipMixerBackward: used.includes("I"), recomputeFeedForward: used.includes("II"), lowRankWeightGradients: used.includes("III"),
    },
    basis, rank: Number(given.rank), refreshInterval: Number(given["refresh-interval"]),
    scenario: given["fault-free"] ? undefined : given.scenario,
    seed: Number(given.seed), traceSeed: given["fault-free"] ? 0 : Number(given["trace-seed"]), steps: Number(given.steps),
    ...(given.nudge !== "0" && { nudge: Number(given.nudge) }),
  };
}

const results = join(given.folder, "results");
await mkdir(results, { recursive: true });
if (given.table) {
  const files = (await readdir(results)).filter((name) => name.endsWith(".json")).sort();
  const all = await Promise.all(files.map(async (name) => JSON.parse(await readFile(join(results, name), "utf8")) as GapResult));
  console.log(gapTable(all.filter(({ configuration }) => configuration.steps === Number(given.steps))));
} else {
  const configuration = configurationOf();
  const text = JSON.stringify(configuration);
  const path = join(results, `${createHash("sha256").update(text).digest("hex").slice(0, 16)}.json`);
  let result: GapResult;
  try {
    result = JSON.parse(await readFile(path, "utf8")) as GapResult;
  } catch {
    const onStep = (step: number, loss: number): void => {
      if ((step + 1) % 25 === 0) console.error(`step ${step + 1}: ${loss.toFixed(3)}`);
    };
    result = await runConfiguration(configuration, { folder: given.folder, onStep, probe: !given["no-probe"] });
    await writeFile(`${path}.new`, JSON.stringify(result));
    await rename(`${path}.new`, path);
  }
  if (given.json) console.log(JSON.stringify(result));
  else console.log(`${text}: loss ${result.validationLoss.toFixed(4)}, perplexity ${Math.exp(result.validationLoss).toFixed(2)}`);
}
