import type { AssignmentSettings } from "../grid/assignment.ts";
import { loadCharts, smoothPoints, type ChartLine, type ChartMaker, type ChartPoint } from "./charts.ts";
import { describeGrid, settingsFromEvents } from "./grid-cells.ts";
import { cellLegend, MOST_TIMELINE_ROWS, renderMixerTimeline, renderTimeline } from "./grid-timeline.ts";
import type { LedgerJob } from "./ledger.ts";
import { renderPage, type ReportPart, type ReportSection } from "./page.ts";
import type { RecoveryEvent, RunEvent, StepEvent } from "../membership/run-event.ts";
import { countingSteps, summarizeRun, type RunSummary } from "./run-summary.ts";
import { maximum } from "../statistics.ts";

/** A run to report on. */
export interface ReportedRun {
  /** Of the strategy, or whatever tells it from the others. */
  readonly name: string;
  readonly events: readonly RunEvent[];
  /** Without it the grid is guessed from the events, and the ledger is not checked. */
  readonly job?: LedgerJob & AssignmentSettings;
}

/** Rows of a table that a page shows. */
const MOST_ROWS = 250;

/** "1.2 MB". */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]!}`;
}

const missing = "–";
const number = (value: number | null, digits: number): string => (value === null ? missing : value.toFixed(digits));
const percent = (value: number | null): string => (value === null ? missing : `${(100 * value).toFixed(1)} %`);
const whole = (value: number | null): string => (value === null ? missing : Math.round(value).toLocaleString("en-US"));

function recordText(record: Partial<Record<string, number>>): string {
  return Object.entries(record).map(([name, count]) => `${count} ${name}`).join(", ") || missing;
}

/** Rows of the table that compares runs: a name and a figure of each. */
function summaryRows(summaries: readonly RunSummary[]): string[][] {
  const rows: readonly (readonly [string, (summary: RunSummary) => string])[] = [
    ["outcome", ({ outcome }) => outcome],
    ["steps", ({ steps }) => whole(steps)],
    ["steps undone", ({ undoneSteps }) => whole(undoneSteps)],
    ["seconds", ({ seconds }) => number(seconds, 1)],
    ["loss at the end (mean of the last tenth)", ({ finalLoss }) => number(finalLoss, 4)],
    ["tokens/s (median)", ({ tokensPerSecond }) => whole(tokensPerSecond)],
    ["goodput", ({ goodput }) => percent(goodput)],
    ["steps while degraded", ({ degradedSteps }) => percent(degradedSteps)],
    ["least |N(l)|", ({ smallestMixerPipelines }) => whole(smallestMixerPipelines)],
    ["captured energy (mean)", ({ capturedEnergy }) => number(capturedEnergy, 3)],
    ["faults brought about", ({ faults, faultsByKind }) => (faults === 0 ? "0" : `${faults}: ${recordText(faultsByKind)}`)],
    ["epochs", ({ epochs, epochsByCause }) => `${epochs}: ${recordText(epochsByCause)}`],
    ["recoveries from failures", ({ failureRecoveries }) => whole(failureRecoveries?.count ?? 0)],
    ["ms of a recovery (median, most)", ({ failureRecoveries: figures }) =>
      figures === null ? missing : `${whole(figures.medianMilliseconds)}, ${whole(figures.maximumMilliseconds)}`],
    ["bytes of a recovery (median, most)", ({ failureRecoveries: figures }) =>
      figures === null ? missing : `${formatBytes(figures.medianBytes)}, ${formatBytes(figures.maximumBytes)}`],
    ["batches lost / doubled / divergences", ({ ledger }) =>
      ledger === undefined ? missing : `${ledger.lost} / ${ledger.duplicated} / ${ledger.divergences}`],
  ];
  return rows.map(([name, of]) => [name, ...summaries.map(of)]);
}

/** Runs as a table of columns and rows of text, the same as in the report. */
export function summaryTable(
  runs: readonly { readonly name: string; readonly summary: RunSummary }[],
): { readonly columns: readonly string[]; readonly rows: readonly (readonly string[])[] } {
  return { columns: ["", ...runs.map(({ name }) => name)], rows: summaryRows(runs.map(({ summary }) => summary)) };
}

/** Steps that a point of the loss curves is the mean of: 2 % of the longest run, an odd number. */
function lossWindow(runs: readonly ReportedRun[]): number {
  const longest = runs.reduce((most, { events }) => Math.max(most, countingSteps(events).length), 0);
  return 2 * Math.floor(longest / 100) + 1;
}

function lossLines(runs: readonly ReportedRun[], window: number, x: (step: StepEvent, begin: number) => number): ChartLine[] {
  return runs.map(({ name, events }) => {
    const begin = events[0]?.at ?? 0;
    const points = countingSteps(events).map((step): ChartPoint => [x(step, begin), step.loss]);
    return { name, points: smoothPoints(points, window) };
  });
}

/** Energy that was captured, a line a matrix: means over the blocks. */
function energyLines(steps: readonly StepEvent[], begin: number): ChartLine[] {
  const matrices = [...new Set(steps.flatMap(({ energy }) => (energy ?? []).map(({ matrix }) => matrix)))];
  return matrices.map((matrix) => ({
    name: matrix,
    // Healthy steps capture nothing: the line breaks.
    points: steps.map(({ at, energy }): ChartPoint => {
      const own = (energy ?? []).filter((captured) => captured.matrix === matrix);
      return [(at - begin) / 1000, own.length === 0 ? null : own.reduce((sum, captured) => sum + captured.energy, 0) / own.length];
    }),
  }));
}

function recoveryRow(recovery: RecoveryEvent, begin: number): string[] {
  const donors = recovery.transfers.map(({ slot, stage, donor }) => `${slot} ← ${donor} (stage ${stage})`).join(", ");
  return [
    ((recovery.at - begin) / 1000).toFixed(1), String(recovery.epoch), String(recovery.step), recovery.cause, whole(recovery.milliseconds),
    formatBytes(recovery.bytes), donors || missing, recovery.reason,
  ];
}

function ledgerParts({ ledger }: RunSummary): ReportPart[] {
  if (ledger === undefined) return [];
  const { dropped } = ledger;
  const droppedText = dropped.length === 0 ? "" : ` ${dropped.length} microbatches were left out on purpose, their pipeline being lost.`;
  const rollbacks = ledger.rollbacks.map(({ from, to, cause }) => `from step ${from} to ${to} (${cause})`).join(", ");
  const text = `Ledger: ${ledger.steps} steps with ${ledger.microbatches} microbatches count, each once; in ${ledger.hashedSteps} steps ` +
    `all replicas of all stages were hashed and equal.${droppedText}${rollbacks === "" ? "" : ` Weights went back ${rollbacks}.`}`;
  if (ledger.ok) return [{ kind: "paragraph", text }];
  const rows = ledger.violations.slice(0, MOST_ROWS).map(({ kind, step, count, detail }) => [String(step), kind, String(count), detail]);
  return [
    { kind: "paragraph", text: `The ledger is violated ${ledger.violations.length} times.` },
    { kind: "table", columns: ["step", "violation", "count", "what"], rows, textColumns: [1, 3] },
  ];
}

function runSection(run: ReportedRun, summary: RunSummary, charts: ChartMaker): ReportSection {
  const { events } = run;
  const begin = events[0]?.at ?? 0;
  const seconds = (at: number): number => (at - begin) / 1000;
  const toX = Math.max(1e-3, maximum(events.map(({ at }) => seconds(at))) ?? 0);
  const settings = run.job ?? settingsFromEvents(events);
  const steps = countingSteps(events);
  const recoveries = events.filter((event): event is RecoveryEvent => event.kind === "recovery");
  const marks = events.flatMap((event) => (event.kind === "fault" ? [seconds(event.at)] : []));
  const figures = summary.failureRecoveries;
  const parts: ReportPart[] = [{
    kind: "figures",
    figures: [
      { label: "steps", value: whole(summary.steps) },
      { label: "loss at the end", value: number(summary.finalLoss, 3) },
      { label: "tokens/s", value: whole(summary.tokensPerSecond) },
      { label: "goodput", value: percent(summary.goodput) },
      { label: "faults", value: whole(summary.faults) },
      { label: "recovery, median", value: figures === null ? missing : `${whole(figures.medianMilliseconds)} ms` },
      { label: "recovery, bytes", value: figures === null ? missing : formatBytes(figures.medianBytes) },
      ...(summary.ledger === undefined ? [] : [{
        label: "lost · doubled · diverged", isBad: !summary.ledger.ok,
        value: `${summary.ledger.lost} · ${summary.ledger.duplicated} · ${summary.ledger.divergences}`,
      }]),
    ],
  }];
  if (summary.failure !== null) parts.push({ kind: "paragraph", text: `The run failed: ${summary.failure}` });
  const timeline = settings === undefined ? undefined : renderTimeline(events, settings);
  if (settings !== undefined && timeline !== undefined) {
    const slots = settings.grid.pipelines * settings.grid.stages;
    const cut = slots > MOST_TIMELINE_ROWS ? `, the first ${MOST_TIMELINE_ROWS} of ${slots} workers` : "";
    const legend = marks.length === 0 ? cellLegend : [...cellLegend, { className: "fault", label: "fault brought about" }];
    parts.push({ kind: "chart", title: `The grid over seconds: ${describeGrid(settings.grid)}${cut}`, svg: timeline, legend });
  }
  const speed = steps.filter(({ milliseconds }) => milliseconds > 0)
    .map(({ at, tokens, milliseconds }): ChartPoint => [seconds(at), (1000 * tokens) / milliseconds]);
  if (speed.length > 0) {
    const title = `Tokens per second${marks.length > 0 ? "; dashed where a fault was brought about" : ""}`;
    const svg = charts.lines([{ name: "tokens/s", points: speed }], { x: "seconds", y: "tokens/s", fromY: 0, toX, marks });
    parts.push({ kind: "chart", title, svg });
  }
  const mixers = settings === undefined ? undefined : renderMixerTimeline(events, settings.grid.pipelines);
  if (mixers !== undefined) {
    parts.push({ kind: "chart", title: "|N(l)|: pipelines that give a mixer gradient, by stage over seconds", svg: mixers });
  }
  const energy = energyLines(steps, begin);
  if (energy.length > 0) {
    const svg = charts.lines(energy, { x: "seconds", y: "share", fromY: 0, toY: 1, toX });
    parts.push({ kind: "chart", title: "Energy that the projections captured, in degraded steps, mean over blocks", svg });
  }
  if (recoveries.length > 0) {
    parts.push({
      kind: "table", columns: ["seconds", "epoch", "step", "cause", "ms", "bytes", "from whom", "what happened"],
      textColumns: [3, 6, 7],
      rows: recoveries.slice(0, MOST_ROWS).map((recovery) => recoveryRow(recovery, begin)),
    });
    if (recoveries.length > MOST_ROWS) {
      parts.push({ kind: "paragraph", text: `The first ${MOST_ROWS} of ${recoveries.length} recoveries; events.jsonl has them all.` });
    }
  }
  return { title: run.name, parts: [...parts, ...ledgerParts(summary)] };
}

/**
 * A self-contained HTML page: the loss curves of all runs on one chart over steps and over time, their figures side by side, and for each
 * run the grid over time, tokens/s with its faults, |N(l)|, captured energy and all recoveries.
 * @throws MissingPeerError where echarts is not installed
 */
export async function renderRunReport(runs: readonly ReportedRun[], options: { readonly title?: string } = {}): Promise<string> {
  const charts = await loadCharts();
  const summaries = runs.map(({ events, job }) => summarizeRun(events, job));
  const sections: ReportSection[] = [];
  if (runs.some(({ events }) => events.some(({ kind }) => kind === "step"))) {
    const window = lossWindow(runs);
    const mean = window === 1 ? "" : `, mean of ${window} steps`;
    const overSteps = charts.lines(lossLines(runs, window, ({ step }) => step), { x: "step", y: "loss" });
    const overTime = charts.lines(lossLines(runs, window, ({ at }, begin) => (at - begin) / 1000), { x: "seconds", y: "loss" });
    sections.push({
      title: "Loss",
      parts: [
        { kind: "chart", title: `Loss over steps, at equal tokens${mean}`, svg: overSteps },
        { kind: "chart", title: `Loss over time${mean}`, svg: overTime },
      ],
    });
  }
  const compared = runs.map(({ name }, i) => ({ name, summary: summaries[i]! }));
  const title = runs.length > 1 ? "Side by side" : "Figures";
  sections.push({ title, parts: [{ kind: "table", ...summaryTable(compared), isEven: true }] });
  runs.forEach((run, i) => sections.push(runSection(run, summaries[i]!, charts)));
  const begin = Math.min(...runs.flatMap(({ events }) => (events[0] === undefined ? [] : [events[0].at])));
  const time = Number.isFinite(begin) ? `${new Date(begin).toISOString().slice(0, 16).replace("T", " ")} UTC` : "no events";
  return renderPage({
    title: options.title ?? "Training through failures",
    subtitle: `${runs.map(({ name }) => name).join(" · ")} · ${time}`,
    sections,
  });
}
