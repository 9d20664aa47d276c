import { open } from "node:fs/promises";
import { collect, integer, numberBetween, printJson } from "@frugal/language-model/command-line";
import { Command, Option } from "commander";
import { FormatError, SettingsError } from "../errors.ts";
import { parseGrid, type Grid } from "../grid/grid.ts";
import { strategyNames, type StrategyName } from "../grid/strategy.ts";
import { simulateAblation } from "../simulator/ablation.ts";
import { parseCostProfile, type CostProfile } from "../simulator/cost-profile.ts";
import { formatAblation, formatAssumptions, formatSimulation } from "../simulator/format-simulation.ts";
import { paperModelNames, paperProfile } from "../simulator/paper-models.ts";
import type { PaperModelName } from "../simulator/paper-tables.ts";
import { paperScenario, paperScenarios, type FailureScenario, type RepairReading } from "../simulator/scenario.ts";
import { simulate } from "../simulator/simulate.ts";

interface SimulateArguments {
  readonly model: PaperModelName;
  readonly costs?: string;
  readonly grid: string;
  readonly scenario?: readonly string[];
  readonly failureEvery?: number;
  readonly repair?: number;
  readonly repairReading: RepairReading;
  readonly strategy?: readonly string[];
  readonly hours?: number;
  readonly seeds: number;
  readonly seed: number;
  readonly maximumChain: number;
  readonly lostPipeline: "reroute" | "drop";
  readonly emptyMixer: "exact" | "skip";
  readonly sharing: "even" | "balanced";
  readonly start: "healthy" | "stationary";
  readonly microbatches?: number;
  readonly rank?: number;
  readonly balancedHead: boolean;
  readonly json: boolean;
}

/** Larger than any profile: its parser has the exact limit. */
const LARGEST_FILE = 1 << 23;

async function readProfile(path: string): Promise<CostProfile> {
  let file;
  try {
    file = await open(path);
  } catch (error) {
    throw new FormatError(path, "cannot be opened", { cause: error });
  }
  try {
    const { size } = await file.stat();
    if (size > LARGEST_FILE) throw new FormatError(path, `${size} bytes; a cost profile has at most ${LARGEST_FILE}`);
    return parseCostProfile(await file.readFile("utf8"), path);
  } finally {
    await file.close();
  }
}

function scenariosOf(given: SimulateArguments, grid: Grid): FailureScenario[] {
  const { failureEvery, repair, scenario } = given;
  if (failureEvery === undefined && repair === undefined) return (scenario ?? ["low", "mid", "high"]).map(paperScenario);
  if (failureEvery === undefined || repair === undefined) throw new SettingsError("--failure-every and --repair belong together");
  if (scenario !== undefined) throw new SettingsError("--scenario has its own rates; leave it, or --failure-every and --repair, out");
  return [{ name: "own", failureEveryHours: failureEvery, repairHours: repair, nodes: grid.pipelines * grid.stages }];
}

function strategiesOf(names: readonly string[] | undefined): readonly StrategyName[] {
  if (names === undefined) return strategyNames;
  return names.map((name) => {
    const strategy = strategyNames.find((one) => one === name);
    if (strategy === undefined) throw new SettingsError(`strategy "${name}" is none of ${strategyNames.join(", ")}`);
    return strategy;
  });
}

async function runSimulations(given: SimulateArguments, command: Command): Promise<void> {
  const grid = parseGrid(given.grid);
  const { microbatches, rank, balancedHead } = given;
  if (given.costs !== undefined) {
    const own = ["model", "microbatches", "rank", "balancedHead"].find((name) => command.getOptionValueSource(name) === "cli");
    const flag = own === "balancedHead" ? "balanced-head" : own;
    if (flag !== undefined) throw new SettingsError(`--${flag} is of the model of costs; --costs has its own`);
  }
  const costs = given.costs === undefined
    ? paperProfile(given.model, {
        grid, balancedHead, ...(microbatches === undefined ? {} : { microbatches }), ...(rank === undefined ? {} : { rankShare: rank }),
      })
    : await readProfile(given.costs);
  const results = scenariosOf(given, grid).map((scenario) =>
    simulate({
      grid, costs, scenario, reading: given.repairReading, strategies: strategiesOf(given.strategy), seeds: given.seeds, seed: given.seed,
      maximumChain: given.maximumChain, lostPipeline: given.lostPipeline, emptyMixer: given.emptyMixer, sharing: given.sharing,
      start: given.start,
      ...(given.hours === undefined ? {} : { hours: given.hours }),
    }),
  );
  const ablation = given.costs === undefined && given.model === "llama-7b" ? simulateAblation() : undefined;
  if (given.json) {
    printJson({ simulations: results, ...(ablation === undefined ? {} : { ablation }) });
    return;
  }
  const parts = [...results.map(formatSimulation), ...(ablation === undefined ? [] : [formatAblation(ablation)])];
  const assumptions = results[0] === undefined ? [] : [`Assumed of\n${formatAssumptions(results[0])}`];
  process.stdout.write(`${[...parts, ...assumptions].join("\n\n\n")}\n`);
}

const hours = numberBetween(1e-6, 1e9);

/** `mecefo simulate`. */
export function simulateCommand(): Command {
  return new Command("simulate")
    .description("Simulate a grid under failures and repairs with every strategy, beside the paper's tables.")
    .addOption(
      new Option("--model <name>", "one of the paper's, with costs by floating-point operations at the paper's fault-free throughput")
        .choices(paperModelNames).default("llama-7b"),
    )
    .option("--costs <file>", "measured costs, as the benchmark writes them, instead of a model's")
    .option("--grid <pipelines>x<stages>", "of nodes", "4x8")
    .option(
      "--scenario <name>",
      `of the paper: ${paperScenarios.map(({ name }) => name).join(", ")}; repeatable (default: low, mid, high)`, collect,
    )
    .option("--failure-every <hours>", "instead of a scenario: between two failures in the whole grid", hours)
    .option("--repair <hours>", "with --failure-every: until a node is back", hours)
    .addOption(
      new Option("--repair-reading <reading>", "the paper's repair time is that of each node, or between two repairs in the cluster")
        .choices(["per-node", "cluster"]).default("per-node"),
    )
    .option("--strategy <name>", `${strategyNames.join(", ")}; repeatable (default: all)`, collect)
    .option("--hours <hours>", "simulated time of a run (default: 1000, for over 1000 nodes 24)", hours)
    .option("--seeds <count>", "runs, for standard errors", integer(1, 10_000), 5)
    .option("--seed <integer>", "of the first run", integer(0), 1)
    .option("--maximum-chain <stages>", "that one worker may host, its own included", integer(1, 4096), 4)
    .addOption(
      new Option("--lost-pipeline <what>", "becomes of the microbatches of a pipeline that cannot run")
        .choices(["reroute", "drop"]).default("drop"),
    )
    .addOption(new Option("--empty-mixer <what>", "where no pipeline gives a mixer's gradient").choices(["exact", "skip"]).default("exact"))
    .addOption(
      new Option("--sharing <how>", "of microbatches among pipelines: as many for each, or as many as each is fast")
        .choices(["even", "balanced"]).default("even"),
    )
    .addOption(
      new Option("--start <state>", "all nodes up, or as many as in the long run").choices(["healthy", "stationary"]).default("stationary"),
    )
    .option("--microbatches <count>", "of a pipeline in a step, of a model (default: 32)", integer(1, 4096))
    .option("--rank <share>", "of technique III over the hidden size, of a model (default: 0.25)", numberBetween(1e-6, 1))
    .option("--balanced-head", "leave the head's operations out, as if its stage had fewer blocks for it", false)
    .option("--json", "print one JSON object", false)
    .action((given: SimulateArguments, command: Command) => runSimulations(given, command));
}
