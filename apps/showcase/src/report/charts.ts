import { BarChart, LineChart } from "echarts/charts";
import { GridComponent, LegendComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

use([BarChart, LineChart, GridComponent, LegendComponent, SVGRenderer]);

const palette = ["#2563eb", "#ea580c", "#059669", "#7c3aed"];
const muted = "#64748b";
const legend = { top: 0, itemGap: 24, textStyle: { color: muted } };

/** A named series of points. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Drawn as separate marks. Default: a line. */
  readonly marks?: boolean;
  /** Marks without a line between them. */
  readonly isLoose?: boolean;
}

function render(option: object, height: number): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width: 720, height });
  chart.setOption({ animation: false, color: palette, textStyle: { fontFamily: "system-ui, sans-serif" }, ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

function axis(name: string, extra: object = {}): object {
  return {
    type: "value",
    name,
    nameLocation: "middle",
    nameGap: 34,
    nameTextStyle: { color: muted },
    axisLabel: { color: muted },
    scale: true,
    splitLine: { lineStyle: { color: "#e2e8f0" } },
    ...extra,
  };
}

/** Lines over a numeric axis, as an SVG string. */
export function lineChart(series: readonly Series[], labels: { readonly x: string; readonly y: string }): string {
  return render(
    {
      grid: { left: 60, right: 24, top: 36, bottom: 54 },
      legend,
      xAxis: axis(labels.x, { splitLine: { show: false } }),
      yAxis: axis(labels.y, { nameGap: 42 }),
      series: series.map(({ name, points, isLoose = false, marks = isLoose }) => ({
        name, type: "line", data: points, showSymbol: marks, symbolSize: 8, lineStyle: { width: isLoose ? 0 : marks ? 1 : 2 }, sampling: undefined,
      })),
    },
    320,
  );
}

/** Bars by category, as an SVG string. */
export function barChart(
  categories: readonly string[],
  series: readonly { readonly name: string; readonly values: readonly number[] }[],
  label: string,
): string {
  return render(
    {
      grid: { left: 60, right: 24, top: 36, bottom: 36 },
      legend,
      xAxis: { type: "category", data: categories, axisLabel: { color: muted } },
      yAxis: axis(label, { nameGap: 42, scale: false }),
      series: series.map(({ name, values }) => ({
        name, type: "bar", data: values, barMaxWidth: 40,
        label: { show: true, position: "top", color: muted, formatter: ({ value }: { value: number }) => value.toFixed(0) },
      })),
    },
    300,
  );
}
