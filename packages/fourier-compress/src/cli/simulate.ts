import { writeFile } from "node:fs/promises";
import { integer, note, numberBetween, printJson } from "@frugal/language-model/command-line";
import { Command, Option } from "commander";
import { SettingsError } from "../errors.ts";
import { loadCharts } from "../report/charts.ts";
import {
  clientsMarkdown, figure7Markdown, READING_TITLES, renderSimulationReport, type ClientCurves,
} from "../report/simulation-report.ts";
import { closedLoopBounds } from "../simulation/client-simulation.ts";
import { FIGURE_7_LINKS, FIGURE_7_RATIO, FIGURE_7_READINGS, figure7Settings, simulateFigure7 } from "../simulation/figure-7.ts";
import { findSaturation, sweepClients, type SweepSettings } from "../simulation/saturation.ts";
import type { LinkSharing } from "../simulation/shared-link.ts";
import { numberList } from "./evaluate-arguments.ts";

interface SimulateArguments {
  readonly clients: readonly number[];
  readonly requestMs?: number;
  readonly batchMs: number;
  readonly largestBatch: number;
  readonly accelerators: number;
  readonly thinkMs: number;
  readonly deviceMs: number;
  readonly propagationMs: number;
  readonly gigabits: number;
  readonly sharing: LinkSharing;
  readonly tokens: number;
  readonly hiddenSize: number;
  readonly bytesPerValue: number;
  readonly ratio: number;
  readonly seed: number;
  readonly report?: string;
  readonly json: boolean;
}

/** Options that Figure 7 does not take: it has its own. */
const OWN_SETTINGS = [
  "clients", "batchMs", "largestBatch", "accelerators", "thinkMs", "deviceMs", "propagationMs", "gigabits", "sharing", "tokens",
  "hiddenSize", "bytesPerValue", "ratio", "seed",
] as const;

/** Of reports. */
const TITLE = "Many clients on one link";

/** Numbers of clients of the curves. */
const CLIENTS = [1, 2, 5, 10, 20, 50, 100, 150, 200, 500, 1000, 1500, 2000] as const;

function nameOf(ratio: number): string {
  return ratio === 1 ? "not compressed" : `${ratio}x`;
}

async function simulateFigure(given: SimulateArguments): Promise<void> {
  const charts = given.report === undefined ? undefined : await loadCharts();
  const cells = simulateFigure7();
  if (given.json) printJson({ figure7: cells });
  else process.stdout.write(`${figure7Markdown(cells)}\n`);
  if (charts === undefined) return;
  const groups: ClientCurves[] = FIGURE_7_READINGS.map((reading) => ({
    title: `Response over clients, if ${READING_TITLES[reading.name]}`,
    curves: [1, 8].flatMap((accelerators) =>
      [FIGURE_7_LINKS[0]!, FIGURE_7_LINKS.at(-1)!].flatMap((link) =>
        [1, FIGURE_7_RATIO].map((ratio) => ({
          name: `${accelerators === 1 ? "one accelerator" : "eight"}, ${link / 1e9} Gbit/s, ${nameOf(ratio)}`,
          family: `${accelerators} ${link}`, results: sweepClients(figure7Settings(reading, link, accelerators, ratio), CLIENTS),
        })),
      ),
    ),
  }));
  const subtitle = "closed loop, settings of Figure 7 of FourierCompress as far as it states them";
  const page = { title: TITLE, subtitle, figure7: cells };
  await writeFile(given.report!, renderSimulationReport(groups, charts, page));
  if (!given.json) note(`wrote ${given.report}`);
}

async function simulateOwn(given: SimulateArguments, requestMs: number): Promise<void> {
  const charts = given.report === undefined ? undefined : await loadCharts();
  if (!given.clients.every(Number.isInteger)) throw new SettingsError(`--clients ${given.clients.join(",")}; give integers`);
  const settings = (ratio: number): SweepSettings => ({
    linkBitsPerSecond: given.gigabits * 1e9, linkSharing: given.sharing, propagationSeconds: given.propagationMs / 1000,
    tokens: given.tokens, hiddenSize: given.hiddenSize, bytesPerValue: given.bytesPerValue, ratio, deviceSeconds: given.deviceMs / 1000,
    accelerators: given.accelerators, batchSeconds: given.batchMs / 1000, requestSeconds: requestMs / 1000,
    largestBatch: given.largestBatch, thinkSeconds: given.thinkMs / 1000, seed: given.seed,
  });
  const curves = [...new Set([1, given.ratio])].map((ratio) => ({
    ratio, bounds: closedLoopBounds({ ...settings(ratio), clients: 1 }), servedClients: findSaturation(settings(ratio)),
    results: sweepClients(settings(ratio), given.clients),
  }));
  if (given.json) {
    printJson({ curves });
  } else {
    for (const { ratio, bounds, servedClients, results } of curves) {
      process.stdout.write(
        `${nameOf(ratio)}: ${bounds.bottleneck} saturated from ${bounds.saturationClients.toFixed(1)} clients on; ` +
          `${servedClients} clients wait at most twice as long as one alone\n\n${clientsMarkdown(results)}\n\n`,
      );
    }
  }
  if (charts === undefined) return;
  const lines = curves.map(({ ratio, results }) => ({ name: nameOf(ratio), family: String(ratio), results }));
  const subtitle = `${given.accelerators} accelerators, ${given.gigabits} Gbit/s, ${given.tokens} tokens a request`;
  const groups = [{ title: "Response over clients", curves: lines }];
  await writeFile(given.report!, renderSimulationReport(groups, charts, { title: TITLE, subtitle }));
  if (!given.json) note(`wrote ${given.report}`);
}

async function simulate(given: SimulateArguments, command: Command): Promise<void> {
  if (given.requestMs !== undefined) return await simulateOwn(given, given.requestMs);
  const own = OWN_SETTINGS.find((name) => command.getOptionValueSource(name) === "cli");
  if (own !== undefined) {
    const flag = own.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new SettingsError(`--${flag} is of a simulation of one's own, which --request-ms begins; Figure 7 has its own settings`);
  }
  await simulateFigure(given);
}

const atLeastZero = numberBetween(0, 1e9);
const positive = numberBetween(1e-9, 1e9);

/** `fourier-compress simulate`. */
export function simulateCommand(): Command {
  return new Command("simulate")
    .description("Simulate many clients on one link: Figure 7 of FourierCompress, or with --request-ms a setting of one's own.")
    .option("--request-ms <ms>", "time that a request takes an accelerator", atLeastZero)
    .option("--batch-ms <ms>", "time that a batch takes besides its requests", atLeastZero, 0)
    .option("--largest-batch <count>", "requests that an accelerator takes at once", integer(1), 1)
    .option("--accelerators <count>", "accelerators of the server", integer(1), 1)
    .option("--think-ms <ms>", "mean pause of a client between answer and request", atLeastZero, 1000)
    .option("--device-ms <ms>", "time on the client's device", atLeastZero, 0)
    .option("--propagation-ms <ms>", "delay of the link, one way", atLeastZero, 0)
    .option("--gigabits <rate>", "of the link, a second", positive, 1)
    .addOption(
      new Option("--sharing <how>", "of the link: one message after another, or all at once").choices(["fifo", "fair"]).default("fifo"),
    )
    .option("--tokens <count>", "of a request", integer(1), 64)
    .option("--hidden-size <width>", "of the activations", integer(1), 2048)
    .option("--bytes-per-value <bytes>", "before compression", positive, 2)
    .option("--ratio <ratio>", "bytes before over bytes after; 1 is simulated beside it", positive, FIGURE_7_RATIO)
    .option("--clients <counts>", "with commas", numberList, [...CLIENTS])
    .option("--seed <integer>", "of the random pauses", integer(0), 1)
    .option("--report <file>", "write an HTML page with curves (needs the package echarts)")
    .option("--json", "print one JSON object", false)
    .action((given: SimulateArguments, command: Command) => simulate(given, command));
}
