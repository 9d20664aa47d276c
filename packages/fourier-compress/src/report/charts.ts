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
  /** Default linear. */
  readonly logX?: boolean;
  readonly logY?: boolean;
}

/** Draws charts as SVG strings. */
export interface ChartMaker {
  lines(lines: readonly ChartLine[], axes: ChartAxes): string;
}

const PALETTE = ["#2563eb", "#ea580c", "#059669", "#7c3aed", "#64748b", "#be123c", "#0891b2", "#a16207"] as const;
const STROKES = ["solid", [7, 4], [2, 3], [12, 3, 2, 3], [4, 2], [1, 2]] as const;
const SYMBOLS = ["circle", "rect", "triangle", "diamond", "emptyCircle", "emptyRect"] as const;
const MUTED = "#64748b";

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
  const axis = (name: string, isLogarithmic: boolean | undefined, nameGap: number): object => ({
    type: isLogarithmic ? "log" : "value", name, nameGap, nameLocation: "middle", nameTextStyle: { color: MUTED },
    axisLabel: { color: MUTED }, splitLine: { lineStyle: { color: "#e2e8f0" } }, scale: true,
  });
  return {
    lines(lines, axes) {
      const families = [...new Set(lines.map(({ family }) => family))];
      const legendRows = Math.ceil(lines.length / 2);
      const height = 340 + 20 * legendRows;
      const chart = init(null, null, { renderer: "svg", ssr: true, width: 880, height });
      try {
        chart.setOption({
          animation: false, textStyle: { fontFamily: "system-ui, sans-serif" },
          grid: { left: 72, right: 24, top: 16, height: 270 },
          legend: {
            top: 336, left: 40, width: 800, itemGap: 8, itemWidth: 42, textStyle: { color: MUTED, width: 330, overflow: "truncate" },
            formatter: (name: string) => name.padEnd(1),
          },
          xAxis: axis(axes.x, axes.logX, 30),
          yAxis: axis(axes.y, axes.logY, 48),
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
