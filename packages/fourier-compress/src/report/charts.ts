import { FourierCompressError } from "../errors.ts";

/** An optional peer that a feature needs is not installed; the message names the command that installs it. */
export class MissingPeerError extends FourierCompressError {
  override readonly name = "MissingPeerError";
  /** Name of the package. */
  readonly peer: string;

  constructor(peer: string, feature: string, options?: ErrorOptions) {
    super(`${feature} need the package ${peer}, which is not installed: npm install ${peer}`, options);
    this.peer = peer;
  }
}

/** A named line through points. */
export interface ChartLine {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Lines of a family share a colour and differ in their strokes. */
  readonly family: string;
}

/** How a chart's axes are named and scaled. */
export interface ChartAxes {
  readonly x: string;
  readonly y: string;
  /** Base of a logarithmic axis. Default: linear. */
  readonly logX?: 2 | 10;
  readonly logY?: 2 | 10;
}

/** Draws charts as SVG strings. */
export interface ChartMaker {
  lines(lines: readonly ChartLine[], axes: ChartAxes): string;
}

const PALETTE = ["#2563eb", "#ea580c", "#059669", "#7c3aed", "#64748b", "#be123c", "#0891b2", "#a16207"] as const;
const STROKES = ["solid", [7, 4], [2, 3], [12, 3, 2, 3], [4, 2], [1, 2]] as const;
const SYMBOLS = ["circle", "rect", "triangle", "diamond", "emptyCircle", "emptyRect"] as const;
const MUTED = "#64748b";
const WIDTH = 1040;
const PLOT_HEIGHT = 360;
const LEGEND_TOP = PLOT_HEIGHT + 66;
const LEGEND_ROW = 22;
const LEGEND_COLUMNS = 2;

/** The powers of the base around the values: echarts by itself goes one further. */
function logBounds(values: readonly number[], base: number): { readonly min: number; readonly max: number } | undefined {
  const logarithms = values.filter((value) => value > 0).map((value) => Math.log(value) / Math.log(base));
  if (logarithms.length === 0) return undefined;
  const low = Math.floor(Math.min(...logarithms) + 1e-9);
  return { min: base ** low, max: base ** Math.max(low + 1, Math.ceil(Math.max(...logarithms) - 1e-9)) };
}

/** Loads echarts. @throws MissingPeerError where it is not installed */
export async function loadCharts(): Promise<ChartMaker> {
  const [{ LineChart }, { GridComponent, LegendComponent }, { init, use }, { SVGRenderer }] = await Promise.all([
    import("echarts/charts"), import("echarts/components"), import("echarts/core"), import("echarts/renderers"),
  ]).catch((cause: unknown) => {
    const code = (cause as { readonly code?: unknown }).code;
    if (code !== "ERR_MODULE_NOT_FOUND" && code !== "MODULE_NOT_FOUND") throw cause;
    throw new MissingPeerError("echarts", "the charts of reports", { cause });
  });
  use([LineChart, GridComponent, LegendComponent, SVGRenderer]);
  const axis = (name: string, logBase: 2 | 10 | undefined, values: readonly number[], nameGap: number): object => ({
    ...(logBase === undefined ? { type: "value", scale: true } : { type: "log", logBase, ...logBounds(values, logBase) }),
    name, nameGap, nameLocation: "middle", nameTextStyle: { color: MUTED }, axisLabel: { color: MUTED },
    splitLine: { lineStyle: { color: "#e2e8f0" } },
  });
  return {
    lines(lines, axes) {
      const families = [...new Set(lines.map(({ family }) => family))];
      const rows = Math.ceil(lines.length / LEGEND_COLUMNS);
      const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height: LEGEND_TOP + LEGEND_ROW * rows + 8 });
      // Columns of their own: widths of texts, which echarts would set entries by, are guesses without a browser.
      const legends = Array.from({ length: LEGEND_COLUMNS }, (_, column) => ({
        data: lines.slice(column * rows, (column + 1) * rows).map(({ name }) => name),
        orient: "vertical", left: 56 + column * (WIDTH / LEGEND_COLUMNS), top: LEGEND_TOP, itemGap: LEGEND_ROW - 14, itemWidth: 42,
        textStyle: { color: MUTED },
      }));
      const values = (index: 0 | 1): number[] => lines.flatMap(({ points }) => points.map((point) => point[index]));
      try {
        chart.setOption({
          animation: false, textStyle: { fontFamily: "system-ui, sans-serif" },
          grid: { left: 72, right: 24, top: 16, height: PLOT_HEIGHT },
          legend: legends,
          xAxis: axis(axes.x, axes.logX, values(0), 30),
          yAxis: axis(axes.y, axes.logY, values(1), 48),
          series: lines.map(({ name, points, family }) => {
            const color = PALETTE[families.indexOf(family) % PALETTE.length]!;
            const member = lines.filter((line) => line.family === family).findIndex((line) => line.name === name);
            return {
              name, type: "line", data: points, color, symbol: SYMBOLS[member % SYMBOLS.length], symbolSize: 6,
              lineStyle: { width: 2, type: STROKES[member % STROKES.length] },
            };
          }),
        });
        return chart.renderToSVGString();
      } finally {
        chart.dispose();
      }
    },
  };
}
