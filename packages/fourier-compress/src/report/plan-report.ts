import { markdownTable, percent, shortNumber } from "../evaluation/markdown.ts";
import { recommendRates, type SplitPlan } from "../planner/plan-splits.ts";
import type { ChartLine, ChartMaker } from "./charts.ts";
import { partsOf } from "./markdown-parts.ts";
import { renderPage } from "./page.ts";

/** A plan as Markdown: the best rate at each split, then everything that was measured. */
export function planMarkdown(plan: SplitPlan, mostRise: number): string {
  const recommended = recommendRates(plan, mostRise).map(({ splitBlock, point }) => [
    `${splitBlock} of ${plan.blockCount}`, point?.label ?? "none measured",
    point === undefined ? "" : shortNumber(point.traffic!.byteRatioFloat16, 2),
    point === undefined ? "" : percent(point.perplexityRise!), point === undefined ? "" : percent(point.agreement!),
  ]);
  const measured = plan.points.flatMap(({ splitBlock, label, ratio, traffic, perplexity, perplexityRise, agreement }) =>
    traffic === undefined
      ? []
      : [[
          String(splitBlock), label, ratio === undefined ? "fixed" : `${ratio}x`, shortNumber(traffic.byteRatioFloat16, 2),
          shortNumber(traffic.byteRatioFloat32, 2), shortNumber(traffic.elementRatio, 2), shortNumber(traffic.relativeError),
          shortNumber(perplexity!), percent(perplexityRise!), percent(agreement!),
        ]],
  );
  return [
    `Largest measured ratio with a perplexity rise of at most ${percent(mostRise)}; ` +
      `perplexity without codec ${shortNumber(plan.perplexity)}.`,
    markdownTable(["blocks on the device", "codec", "bytes to float16", "rise", "agreement"], recommended),
    "All points.",
    markdownTable(
      [
        "split", "codec", "target", "bytes to float16", "bytes to float32", "elements", "relative error", "perplexity", "rise", "agreement",
      ],
      measured,
    ),
  ].join("\n\n");
}

function linesOf(plan: SplitPlan, valueOf: (point: SplitPlan["points"][number]) => number | undefined): ChartLine[] {
  const keys = [...new Set(plan.points.map(({ splitBlock, codec }) => `${splitBlock} ${codec}`))];
  return keys.flatMap((key) => {
    const own = plan.points.filter(({ splitBlock, codec }) => `${splitBlock} ${codec}` === key);
    const { splitBlock, codec } = own[0]!;
    const points = own.flatMap((point) => {
      const value = valueOf(point);
      return point.traffic === undefined || value === undefined ? [] : [[point.traffic.byteRatioFloat16, value] as const];
    });
    points.sort(([a], [b]) => a - b);
    return points.length === 0 ? [] : [{ name: `split ${splitBlock}, ${codec}`, family: `split ${splitBlock}`, points }];
  });
}

/** A self-contained HTML page with the rate–quality curves of every split. */
export function renderPlanReport(
  plan: SplitPlan, charts: ChartMaker,
  { title, subtitle, mostRise }: { readonly title: string; readonly subtitle: string; readonly mostRise: number },
): string {
  const x = "bytes of float16 / bytes sent, headers counted";
  const rise = charts.lines(
    linesOf(plan, ({ perplexityRise }) => (perplexityRise === undefined ? undefined : 100 * perplexityRise)),
    { x, y: "perplexity rise, %" },
  );
  const agreement = charts.lines(linesOf(plan, ({ agreement: value }) => value), { x, y: "next-token agreement" });
  const [summary, recommended, all, measured] = partsOf(planMarkdown(plan, mostRise));
  return renderPage({
    title, subtitle,
    sections: [
      {
        title: "Rate and quality at every split",
        parts: [
          summary!, recommended!, { kind: "chart", title: "Perplexity rise over the byte ratio", svg: rise },
          { kind: "chart", title: "Agreement with the model without codec", svg: agreement },
        ],
      },
      { title: "Everything measured", parts: [all!, measured!] },
    ],
  });
}
