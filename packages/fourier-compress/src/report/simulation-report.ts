import { markdownTable, shortNumber } from "../evaluation/markdown.ts";
import { FIGURE_7_CLAIMS, type Figure7Cell } from "../simulation/figure-7.ts";
import type { ClientSimulationResult } from "../simulation/client-simulation.ts";
import type { ChartLine, ChartMaker } from "./charts.ts";
import { renderPage, type ReportSection } from "./page.ts";

/** Responses over the number of clients, for one setting. */
export interface ClientCurve {
  readonly name: string;
  /** Curves of a family share a colour. */
  readonly family: string;
  readonly results: readonly ClientSimulationResult[];
}

/** Curves that are drawn together. */
export interface ClientCurves {
  readonly title: string;
  readonly curves: readonly ClientCurve[];
}

/** What the paper says of Figure 7, and why no simulation can show all of it. */
export const FIGURE_7_VERDICT: string =
  `The paper's two statements cannot both hold. If one accelerator saturates near ${FIGURE_7_CLAIMS.oneAccelerator} clients, eight ` +
  `saturate near ${8 * FIGURE_7_CLAIMS.oneAccelerator}, with compression or without; serving ${FIGURE_7_CLAIMS.eightWith} takes ` +
  "accelerators 19 times as fast, of which one alone serves 150 to 190 compressed clients, and fewer the slower the link. What " +
  "compression does for a link that is the bottleneck is shown truly: as many times the clients as there are fewer bytes. Widths, " +
  "tokens, pauses and service times are our guesses: the paper gives none.";

/** What each reading takes as true. */
export const READING_TITLES: { readonly [Reading in Figure7Cell["reading"]]: string } = {
  "ten-clients-saturate-one": "one accelerator saturates at 10",
  "eight-serve-1500": "eight accelerators serve 1,500",
};

/** The cells of `simulateFigure7` as rows of text, with a heading row. */
function figure7Rows(cells: readonly Figure7Cell[]): { columns: string[]; rows: string[][] } {
  return {
    columns: ["taken as true", "accelerators", "link", "ratio", "bound on clients", "clients served", "bottleneck"],
    rows: cells.map((cell) => [
      READING_TITLES[cell.reading], String(cell.accelerators), `${cell.linkBitsPerSecond / 1e9} Gbit/s`, String(cell.ratio),
      shortNumber(cell.saturationClients, 1), String(cell.servedClients), cell.bottleneck,
    ]),
  };
}

/** Figure 7 as Markdown. */
export function figure7Markdown(cells: readonly Figure7Cell[]): string {
  const { columns, rows } = figure7Rows(cells);
  return [markdownTable(columns, rows), FIGURE_7_VERDICT].join("\n\n");
}

/** A sweep over numbers of clients as Markdown. */
export function clientsMarkdown(results: readonly ClientSimulationResult[]): string {
  const milliseconds = (seconds: number): string => shortNumber(1000 * seconds, 2);
  return markdownTable(
    ["clients", "mean ms", "median ms", "95 % ms", "requests/s", "link busy", "accelerators busy"],
    results.map((result) => [
      String(result.clients), milliseconds(result.meanSeconds), milliseconds(result.medianSeconds),
      milliseconds(result.percentile95Seconds), shortNumber(result.requestsPerSecond, 1), shortNumber(result.linkUtilization, 2),
      shortNumber(result.acceleratorUtilization, 2),
    ]),
  );
}

/** A self-contained HTML page: response over clients for each group of curves, and Figure 7's cells where they are given. */
export function renderSimulationReport(
  groups: readonly ClientCurves[], charts: ChartMaker,
  options: { readonly title: string; readonly subtitle: string; readonly figure7?: readonly Figure7Cell[] },
): string {
  const draw = (curves: readonly ClientCurve[], of: (result: ClientSimulationResult) => number): string => {
    const lines: ChartLine[] = curves.map(({ name, family, results }) => ({
      name, family, points: results.map((result) => [result.clients, 1000 * of(result)] as const),
    }));
    return charts.lines(lines, { x: "clients", y: "milliseconds", logX: 10, logY: 10 });
  };
  const sections: ReportSection[] = groups.map(({ title, curves }) => ({
    title,
    parts: [
      { kind: "chart", title: "Mean response", svg: draw(curves, ({ meanSeconds }) => meanSeconds) },
      { kind: "chart", title: "95th percentile of the response", svg: draw(curves, ({ percentile95Seconds }) => percentile95Seconds) },
    ],
  }));
  if (options.figure7 !== undefined) {
    sections.unshift({
      title: "Figure 7 of FourierCompress",
      parts: [{ kind: "paragraph", text: FIGURE_7_VERDICT }, { kind: "table", ...figure7Rows(options.figure7) }],
    });
  }
  return renderPage({ title: options.title, subtitle: options.subtitle, sections });
}
