import type { MultipleChoiceComparison } from "../evaluation/multiple-choice.ts";
import { multipleChoiceMarkdown } from "../evaluation/multiple-choice.ts";
import { perplexityMarkdown, type PerplexityComparison } from "../evaluation/perplexity-comparison.ts";
import { reconstructionMarkdown, type ReconstructionComparison } from "../evaluation/reconstruction-comparison.ts";
import type { ChartLine, ChartMaker } from "./charts.ts";
import { partsOf } from "./markdown-parts.ts";
import { renderPage, type ReportSection } from "./page.ts";

/** What an evaluation gave. */
export interface EvaluationResults {
  readonly reconstruction?: ReconstructionComparison;
  readonly perplexity?: PerplexityComparison;
  readonly multipleChoice?: readonly MultipleChoiceComparison[];
}

/** Which lines share a colour. */
function familyOf(codec: string): string {
  if (codec === "channel" || codec === "klt" || codec === "hadamard") return "quantisers";
  if (codec.startsWith("fourier")) return "Fourier";
  if (codec === "cosine") return "cosine";
  if (codec.startsWith("pca")) return "principal components";
  if (codec === "top-k") return "top-k";
  if (["svd", "qr", "fwsvd", "asvd", "svd-llm"].includes(codec)) return "low rank";
  return "fixed";
}

/** A line a codec over the ratio of bytes to float16; codecs of one ratio are a point. */
function linesOf<Row extends { readonly codec: string; readonly label: string }>(
  rows: readonly Row[], point: (row: Row) => readonly [x: number, y: number] | undefined,
): ChartLine[] {
  return [...new Set(rows.map(({ codec }) => codec))].flatMap((codec) => {
    const own = rows.filter((row) => row.codec === codec);
    const points = own.flatMap((row) => {
      const at = point(row);
      return at !== undefined && at.every(Number.isFinite) ? [at] : [];
    });
    points.sort(([a], [b]) => a - b);
    return points.length === 0 ? [] : [{ name: own[0]!.label, family: familyOf(codec), points }];
  });
}

/** Perplexities that rise by more than this factor would press all others to the bottom of the chart; they are left to the table. */
const SHOWN_RISE = 100;

/** A self-contained HTML page with the tables of an evaluation and its curves: error and perplexity over the true ratio of bytes. */
export function renderEvaluationReport(
  results: EvaluationResults, charts: ChartMaker, { title, subtitle }: { readonly title: string; readonly subtitle: string },
): string {
  const sections: ReportSection[] = [];
  const { reconstruction, perplexity, multipleChoice = [] } = results;
  const ratio = "bytes of float16 / bytes sent, headers counted";
  if (reconstruction !== undefined) {
    const lines = linesOf(reconstruction.results, ({ result }) => result && [result.byteRatioFloat16, result.relativeError]);
    const axes = { x: ratio, y: "relative error", logX: 2 } as const;
    const svg = charts.lines(lines, axes);
    sections.push({
      title: "Reconstruction",
      parts: [{ kind: "chart", title: "Relative error over the byte ratio", svg }, ...partsOf(reconstructionMarkdown(reconstruction))],
    });
  }
  if (perplexity !== undefined) {
    const lines = linesOf(perplexity.results, ({ traffic, perplexityRise, perplexity: value }) =>
      traffic === undefined || perplexityRise! > SHOWN_RISE ? undefined : [traffic.byteRatioFloat16, value!],
    );
    const svg = charts.lines(lines, { x: ratio, y: "perplexity", logX: 2, logY: 2 });
    sections.push({
      title: "Perplexity",
      parts: [
        { kind: "chart", title: `Perplexity over the byte ratio; what is over ${SHOWN_RISE} times the model's own is in the table`, svg },
        ...partsOf(perplexityMarkdown(perplexity)),
      ],
    });
  }
  for (const comparison of multipleChoice) {
    const lines = linesOf(comparison.results, ({ traffic, agreement }) => traffic && [traffic.byteRatioFloat16, agreement!]);
    const svg = charts.lines(lines, { x: ratio, y: "next-token agreement", logX: 2 });
    sections.push({
      title: comparison.dataset,
      parts: [{ kind: "chart", title: "Agreement with the model without codec", svg }, ...partsOf(multipleChoiceMarkdown(comparison))],
    });
  }
  return renderPage({ title, subtitle, sections });
}
