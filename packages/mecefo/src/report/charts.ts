import { MecefoError } from "../errors.ts";

/** An optional peer that a feature needs is not installed; the message names the command that installs it. */
export class MissingPeerError extends MecefoError {
  override readonly name = "MissingPeerError";
  /** Name of the package. */
  readonly peer: string;

  constructor(peer: string, feature: string, options?: ErrorOptions) {
    super(`${feature} need the package ${peer}, which is not installed: npm install ${peer}`, options);
    this.peer = peer;
  }
}

/** A point of a line; null breaks it. */
export type ChartPoint = readonly [x: number, y: number | null];

/** A named line through points. */
export interface ChartLine {
  readonly name: string;
  readonly points: readonly ChartPoint[];
}

/** Means over a window around each point, shorter at the ends: what single steps add to a curve is noise. */
export function smoothPoints(points: readonly ChartPoint[], window: number): readonly ChartPoint[] {
  const half = Math.floor(window / 2);
  const measured = points.filter((point): point is readonly [number, number] => point[1] !== null);
  const sums = [0];
  for (const [, y] of measured) sums.push(sums.at(-1)! + y);
  return measured.map(([x], i): ChartPoint => {
    const reach = Math.min(half, i, measured.length - 1 - i);
    return [x, (sums[i + reach + 1]! - sums[i - reach]!) / (2 * reach + 1)];
  });
}

/** A chart's axes and what is marked on them. */
export interface ChartAxes {
  readonly x: string;
  readonly y: string;
  /** Where the y axis begins. Default: near the least value. */
  readonly fromY?: number;
  readonly toY?: number;
  /** The x axis goes from 0 to here, so that charts under one another agree. Default: what the lines need. */
  readonly toX?: number;
  /** Vertical lines, e.g. where a fault was brought about. */
  readonly marks?: readonly number[];
}

/** Draws charts as SVG strings. */
export interface ChartMaker {
  lines(lines: readonly ChartLine[], axes: ChartAxes): string;
}

/** Legible on light and on dark ground. */
const PALETTE = ["#3b82f6", "#ea580c", "#10a37f", "#8b5cf6", "#e11d48", "#0891b2", "#a16207", "#94a3b8"] as const;
const STROKES = ["solid", [7, 4], [2, 3], [12, 3, 2, 3]] as const;
/** Taken over by the page's style, as is LINE. */
const MUTED = "#64748b";
const LINE = "#e2e8f0";
const WIDTH = 1040;
const PLOT_HEIGHT = 300;
const LEGEND_ROW = 22;
const LEGEND_COLUMNS = 4;
/** More points do not show, and make the page large. */
const MOST_POINTS = 1000;

/** Points as means of neighbours, at most 1,000 of them. A break in the line stays one. */
export function thinPoints(points: readonly ChartPoint[], most: number = MOST_POINTS): readonly ChartPoint[] {
  const size = Math.ceil(points.length / most);
  if (size <= 1) return points;
  return Array.from({ length: Math.ceil(points.length / size) }, (_, i): ChartPoint => {
    const bucket = points.slice(i * size, (i + 1) * size);
    const values = bucket.flatMap(([, y]) => (y === null ? [] : [y]));
    const x = bucket.reduce((sum, point) => sum + point[0], 0) / bucket.length;
    return [x, values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length];
  });
}

/** Loads echarts. @throws MissingPeerError where it is not installed */
export async function loadCharts(): Promise<ChartMaker> {
  const [{ LineChart }, { GridComponent, LegendComponent, MarkLineComponent }, { init, use }, { SVGRenderer }] = await Promise.all([
    import("echarts/charts"), import("echarts/components"), import("echarts/core"), import("echarts/renderers"),
  ]).catch((cause: unknown) => {
    const code = (cause as { readonly code?: unknown }).code;
    if (code !== "ERR_MODULE_NOT_FOUND" && code !== "MODULE_NOT_FOUND") throw cause;
    throw new MissingPeerError("echarts", "the charts of reports", { cause });
  });
  use([LineChart, GridComponent, LegendComponent, MarkLineComponent, SVGRenderer]);
  const axis = (name: string, nameGap: number): object => ({
    type: "value", scale: true, name, nameGap, nameLocation: "middle", nameTextStyle: { color: MUTED }, axisLabel: { color: MUTED },
    axisLine: { lineStyle: { color: LINE } }, axisTick: { show: false }, splitLine: { lineStyle: { color: LINE } },
  });
  return {
    lines(lines, { x, y, fromY, toY, toX, marks = [] }) {
      const rows = lines.length < 2 ? 0 : Math.ceil(lines.length / LEGEND_COLUMNS);
      const legendHeight = rows * LEGEND_ROW;
      const height = PLOT_HEIGHT + legendHeight + 72;
      const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
      // Columns of their own: widths of texts, which echarts would set entries by, are guesses without a browser.
      const columns = rows === 0 ? 0 : Math.ceil(lines.length / rows);
      const legends = Array.from({ length: columns }, (_, column) => ({
        data: lines.slice(column * rows, (column + 1) * rows).map(({ name }) => name), orient: "vertical",
        left: 60 + column * ((WIDTH - 60) / LEGEND_COLUMNS), top: 0, itemGap: LEGEND_ROW - 14, itemWidth: 30, textStyle: { color: MUTED },
        icon: "path://M0 4h30v3H0z",
      }));
      const markLine = {
        silent: true, symbol: "none", label: { show: false }, animation: false,
        lineStyle: { color: "#dc2626", width: 1, type: "dashed", opacity: 0.55 },
        data: marks.map((mark) => ({ xAxis: mark })),
      };
      try {
        chart.setOption({
          animation: false, textStyle: { fontFamily: "system-ui, sans-serif" },
          grid: { left: 72, right: 24, top: legendHeight + 16, height: PLOT_HEIGHT },
          legend: legends,
          xAxis: {
            ...axis(x, 30), splitLine: { show: false },
            ...(toX === undefined ? {} : { min: 0, max: toX, axisLabel: { color: MUTED, showMaxLabel: false } }),
          },
          yAxis: { ...axis(y, 50), ...(fromY === undefined ? {} : { min: fromY }), ...(toY === undefined ? {} : { max: toY }) },
          series: lines.map(({ name, points }, i) => ({
            name, type: "line", data: thinPoints(points), color: PALETTE[i % PALETTE.length]!,
            showSymbol: points.length === 1,
            lineStyle: { width: 1.75, type: STROKES[Math.floor(i / PALETTE.length) % STROKES.length] },
            ...(i === 0 && marks.length > 0 ? { markLine } : {}),
          })),
        });
        // Its style is about pointers over lines, which do nothing here.
        return chart.renderToSVGString().replace("<svg ", '<svg class="chart" role="img" ').replaceAll(/<style[^>]*>[^]*?<\/style>/g, "");
      } finally {
        chart.dispose();
      }
    },
  };
}
