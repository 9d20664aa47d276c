import { describe, expect, it } from "vitest";
import { markdownCells, markdownTable, percent, shortNumber, unavailableMarkdown } from "../evaluation/markdown.ts";
import type { PerplexityComparison } from "../evaluation/perplexity-comparison.ts";
import type { ReconstructionComparison } from "../evaluation/reconstruction-comparison.ts";
import { simulateFigure7 } from "../simulation/figure-7.ts";
import { sweepClients } from "../simulation/saturation.ts";
import { loadCharts, MissingPeerError } from "./charts.ts";
import { renderEvaluationReport } from "./evaluation-report.ts";
import { renderPage } from "./page.ts";
import { clientsMarkdown, figure7Markdown, renderSimulationReport } from "./simulation-report.ts";

const measured = {
  relativeError: 0.1, messages: 1, tokens: 10, bytes: 100, elementRatio: 1, byteRatioFloat16: 4, byteRatioFloat32: 8, encodeMilliseconds: 1,
  decodeMilliseconds: 2,
};
const reconstruction: ReconstructionComparison = {
  activations: "mine <&>", block: 1, hiddenSize: 20, rows: 10, prompts: 1, tableHash: "0", meanOnlyError: 0.9, complete: true,
  results: [
    { codec: "klt", label: "KLT", ratio: 4, result: measured },
    { codec: "klt", label: "KLT", ratio: 8, result: { ...measured, byteRatioFloat16: 8, relativeError: 0.2 } },
    { codec: "svd", label: "SVD", ratio: 4, result: { ...measured, byteRatioFloat16: 4.5 } },
    { codec: "fwsvd", label: "FWSVD", ratio: 4, unavailable: "no gradients" },
  ],
};
const perplexity: PerplexityComparison = {
  splitBlock: 1, tokens: 9, sequences: 1, perplexity: 3, complete: true,
  results: [{ codec: "klt", label: "KLT", ratio: 4, traffic: measured, perplexity: 3.1, perplexityRise: 0.03, agreement: 0.9, leakage: 1 }],
};

describe("Markdown", () => {
  it("makes tables that are read back", () => {
    const table = markdownTable(["a", "b"], [["x|y", "1"], ["", "2"]]);
    expect(table).toBe("| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n|  | 2 |");
    expect(markdownCells(table)).toEqual({ columns: ["a", "b"], rows: [["x|y", "1"], ["", "2"]] });
    expect(markdownCells("words")).toBeUndefined();
  });

  it("keeps numbers short", () => {
    expect([0, 0.12345, 1.5, 12.345, 123.45, 12345.6, 1e7, 1e-5, Infinity].map((value) => shortNumber(value))).toEqual([
      "0.000", "0.123", "1.500", "12.35", "123.5", "12346", "1.00e+7", "1.00e-5", "Infinity",
    ]);
    expect(percent(0.1234)).toBe("12.3 %");
  });

  it("says once why rows are missing", () => {
    const rows = [4, 8].map((ratio) => ({ label: "FWSVD", ratio, unavailable: "no gradients" }));
    expect(unavailableMarkdown(rows)).toEqual(["Not measured:", "- FWSVD: no gradients (4x, 8x)"]);
    expect(unavailableMarkdown([{ label: "KLT" }])).toEqual([]);
  });
});

describe("reports", () => {
  it("draw curves into one page that needs nothing else", async () => {
    const page = renderEvaluationReport({ reconstruction, perplexity }, await loadCharts(), { title: "T <script>", subtitle: "s" });
    expect(page).toContain("<title>T &lt;script&gt;</title>");
    expect(page).toContain("mine &lt;&amp;&gt;");
    expect(page.match(/<svg/g)!.length).toBe(2);
    expect(page).not.toMatch(/<script|src=|href=/);
    expect(page).toContain("0.100 (4.50x)");
    expect(page).toContain("no gradients");
  });

  it("show a simulation and what is wrong with Figure 7", async () => {
    const settings = {
      linkBitsPerSecond: 1e9, tokens: 8, hiddenSize: 64, bytesPerValue: 2, ratio: 1, accelerators: 1, requestSeconds: 0.01,
      thinkSeconds: 0.1,
    };
    const results = sweepClients(settings, [1, 10]);
    expect(clientsMarkdown(results).split("\n").length).toBe(4);
    const figure7 = simulateFigure7();
    expect(figure7Markdown(figure7)).toContain("cannot both hold");
    const groups = [{ title: "G", curves: [{ name: "c", family: "f", results }] }];
    const page = renderSimulationReport(groups, await loadCharts(), { title: "T", subtitle: "s", figure7 });
    expect(page.match(/<svg/g)!.length).toBe(2);
    expect(page.match(/<tr>/g)!.length).toBe(1 + figure7.length);
  });

  it("escape what they are given", () => {
    const page = renderPage({ title: "t", subtitle: "s", sections: [{ title: "<b>", parts: [{ kind: "paragraph", text: 'a "<i>"' }] }] });
    expect(page).toContain("<h2>&lt;b&gt;</h2><p>a &quot;&lt;i&gt;&quot;</p>");
  });

  it("name the package that is missing", () => {
    expect(new MissingPeerError("echarts", "the charts of reports").message).toBe(
      "the charts of reports need the package echarts, which is not installed: npm install echarts",
    );
  });
});
