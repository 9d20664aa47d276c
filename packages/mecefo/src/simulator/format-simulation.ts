import { formatGrid } from "../grid/grid.ts";
import type { AblationRow } from "./ablation.ts";
import { formatTable } from "./format-table.ts";
import { paperThroughputs } from "./paper-tables.ts";
import type { Estimate, SimulationResult, StrategyResult } from "./simulate.ts";

/** Significant digits that the standard error leaves, a share as a percentage. */
function percent({ mean, standardError }: Estimate): string {
  const digits = Math.abs(mean) > 0 && Math.abs(mean) < 0.001 ? 4 : 2;
  return `${(100 * mean).toFixed(digits)}${standardError === null ? "" : ` ±${(100 * standardError).toFixed(digits)}`}`;
}

function amount({ mean }: Estimate): string {
  return mean === 0 ? "0" : mean >= 100 ? mean.toFixed(0) : mean.toPrecision(3);
}

/** Thousand tokens a second, as the paper counts. */
function thousands(tokens: number): string {
  return (tokens / 1000).toFixed(2);
}

/** A row of the paper's that is of the same model, grid and scenario. */
interface PaperRow {
  readonly system: string;
  readonly none: number;
  readonly throughput: number;
  readonly drop: number;
}

function paperRows(result: SimulationResult): PaperRow[] {
  const { pipelines, stages } = result.grid;
  const { name, nodes } = result.scenario;
  if (pipelines !== 4 || stages !== 8 || nodes !== 32 || (name !== "low" && name !== "mid" && name !== "high")) return [];
  return paperThroughputs.filter(({ model }) => model === result.costs.name).map((row) => (
    { system: row.system, none: row.none, throughput: row[name], drop: 1 - row[name] / row.none }
  ));
}

/** How slow steps would be with anybody down, for the paper's drop to follow from the rates. */
function impliedSlowdown(rows: readonly PaperRow[], healthy: number): string[] {
  const ours = rows.find(({ system }) => system === "MeCeFO");
  if (ours === undefined) return [];
  const factor = (1 - healthy) / (1 - ours.drop - healthy);
  return [`The paper's MeCeFO row follows from these rates if a step with anybody down takes ${factor.toFixed(3)} times as long.`];
}

function speedRow(result: SimulationResult, { strategy, figures, throughputDrop, goodputDrop }: StrategyResult): string[] {
  return [
    strategy, thousands(figures.throughput.mean), percent(throughputDrop), thousands(figures.goodput.mean), percent(goodputDrop),
    percent(figures.stalledShare), thousands(result.faultFreeThroughput),
  ];
}

/** A simulation as text: speed of each strategy beside the paper's rows, and how often what is the case. Shares are percentages. */
export function formatSimulation(result: SimulationResult): string {
  const { scenario, expected } = result;
  const paper = paperRows(result);
  const fails = result.strategies.filter(({ strategy }) => strategy !== "none");
  const ofNodes = `${scenario.nodes} nodes`;
  const failure = `a failure every ${+scenario.failureEveryHours.toPrecision(4)} h in ${ofNodes}`;
  const repair = `repair ${+scenario.repairHours.toPrecision(4)} h ${result.reading === "per-node" ? "for each node" : `over ${ofNodes}`}`;
  return [
    `${result.costs.name}, ${formatGrid(result.grid)} grid, scenario ${scenario.name}: ${failure}, ${repair}`,
    `costs: ${result.costs.basis}`,
    `${result.seeds} runs of ${result.hours} h from seed ${result.seed}, chains up to ${result.maximumChain} stages, lost pipelines: ` +
      `${result.lostPipeline}, empty N(l): ${result.emptyMixer}, microbatches: ${result.sharing}, start: ${result.start}`,
    "",
    formatTable(
      ["strategy", "ktok/s", "drop %", "goodput", "drop %", "stalled %", "fault-free"],
      [
        ...result.strategies.map((one) => speedRow(result, one)),
        ...paper.map(({ system, none, throughput, drop }) => [
          `paper: ${system}`, throughput.toFixed(2), (100 * drop).toFixed(2), "", "", "", none.toFixed(2),
        ]),
      ],
    ),
    ...impliedSlowdown(paper, expected.healthy),
    "",
    formatTable(
      ["share of time, %", ...fails.map(({ strategy }) => strategy), "expected"],
      [
        ["all nodes up", ...fails.map(({ figures }) => percent(figures.healthyShare)), (100 * expected.healthy).toFixed(2)],
        ["adjacent pair down", ...fails.map(({ figures }) => percent(figures.adjacentPairShare)), (100 * expected.adjacentPair).toFixed(2)],
        ["chain of 3 or more", ...fails.map(({ figures }) => percent(figures.longChainShare))],
        ["empty N(l)", ...fails.map(({ strategy, figures }) => (strategy === "mecefo" ? percent(figures.emptyMixerShare) : ""))],
        ["some pipeline lost", ...fails.map(({ figures }) => percent(figures.pipelineLostShare))],
        [
          "a stage's own workers all down", ...fails.map(({ figures }) => percent(figures.stageDownShare)),
          (100 * expected.stageDown).toFixed(4),
        ],
        ["no pipeline runs", ...fails.map(({ figures }) => percent(figures.gridLostShare))],
      ],
    ),
    "",
    formatTable(
      ["a run", ...fails.map(({ strategy }) => strategy), "expected"],
      [
        ["nodes down, mean", ...fails.map(({ figures }) => amount(figures.nodesDown)), expected.nodesDown.toPrecision(3)],
        ["pipelines lost, mean", ...fails.map(({ figures }) => amount(figures.pipelinesLost))],
        ["failures", ...fails.map(({ figures }) => amount(figures.failures))],
        ["recoveries", ...fails.map(({ figures }) => amount(figures.recoveries))],
        ["stages lost to the checkpoint", ...fails.map(({ figures }) => amount(figures.stagesLost))],
        ["Mtokens begun again", ...fails.map(({ figures }) => (figures.abandonedTokens.mean / 1e6).toFixed(1))],
        ["Mtokens rolled back", ...fails.map(({ figures }) => (figures.rolledBackTokens.mean / 1e6).toFixed(1))],
      ],
    ),
  ].join("\n");
}

/** What each strategy takes for granted. */
export function formatAssumptions(result: SimulationResult): string {
  return result.strategies.map(({ strategy, assumption }) => `${strategy}: ${assumption}`).join("\n");
}

/** The ablation beside the paper's, as shares of the throughput without a fault. */
export function formatAblation(rows: readonly AblationRow[]): string {
  const share = (value: number | undefined): string => (value === undefined ? "out of memory" : `${(100 * value).toFixed(1)}`);
  return `Ablation: one pipeline of 8 stages, one failed node, throughput in % of fault-free (batch 256 | 512)\n\n${formatTable(
    ["variant", "simulated 256", "512", "paper 256", "512"],
    rows.map(({ variant, simulated, paper }) => [
      variant, share(simulated.batch256), share(simulated.batch512), share(paper.batch256), share(paper.batch512),
    ]),
  )}`;
}
