import type { ReportBlock } from "../section.ts";

/** A section as it came out. */
export interface SectionResult {
  readonly title: string;
  readonly packageName: string;
  readonly seconds: number;
  readonly blocks: readonly ReportBlock[];
  /** Why it ended early, if it did. */
  readonly failure?: string;
}

/** Facts for the report's head. */
export interface ReportHead {
  readonly startedAt: Date;
  readonly machine: string;
  readonly interrupted: boolean;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

function renderBlock(block: ReportBlock): string {
  switch (block.kind) {
    case "paragraph":
      return `<p>${escape(block.text)}</p>`;
    case "quote":
      return `<figure class="quote"><figcaption>${escape(block.label)}</figcaption><blockquote>${escape(block.text)}</blockquote></figure>`;
    case "figures":
      return `<dl class="figures">${block.figures
        .map(
          ({ label, value, note }) =>
            `<div><dt>${escape(label)}</dt><dd>${escape(value)}${note ? `<small>${escape(note)}</small>` : ""}</dd></div>`,
        )
        .join("")}</dl>`;
    case "table": {
      const cells = (row: readonly string[], tag: string): string =>
        `<tr>${row.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join("")}</tr>`;
      const body = block.rows.map((row) => cells(row, "td")).join("");
      return `<div class="wide"><table><thead>${cells(block.columns, "th")}</thead><tbody>${body}</tbody></table></div>`;
    }
    case "chart":
      return `<figure class="chart"><figcaption>${escape(block.title)}</figcaption>${block.svg}</figure>`;
  }
}

const style = `
:root { color-scheme: light dark; --ink: #0f172a; --muted: #64748b; --line: #e2e8f0; --accent: #2563eb; --ground: #f8fafc; --surface: #fff; --quote: #f1f5f9; --bad: #b91c1c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e2e8f0; --muted: #94a3b8; --line: #263347; --accent: #60a5fa; --ground: #0b1120; --surface: #131c2e; --quote: #1a2539; --bad: #f87171; }
  .chart [stroke="#e2e8f0"] { stroke: var(--line); } .chart [fill="#64748b"] { fill: var(--muted); } .chart [fill="#fff"] { fill: var(--surface); }
}
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.6 system-ui, sans-serif; color: var(--ink); background: var(--ground); }
main { max-width: 820px; margin: 0 auto; padding: 48px 24px 96px; }
h1 { font-size: 2rem; margin: 0 0 4px; } header p { color: var(--muted); margin: 0 0 32px; }
section { background: var(--surface); border: 1px solid var(--line); border-radius: 12px; padding: 24px 28px; margin: 0 0 24px; }
h2 { font-size: 1.25rem; margin: 0; } .meta { color: var(--muted); font-size: .875rem; margin: 0 0 16px; }
.figures { display: flex; flex-wrap: wrap; gap: 12px 36px; margin: 16px 0; } .figures dt { color: var(--muted); font-size: .8125rem; }
.figures dd { margin: 0; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; } .figures small { display: block; font-size: .8125rem; font-weight: 400; color: var(--muted); }
figure { margin: 20px 0; } figcaption { color: var(--muted); font-size: .875rem; margin-bottom: 6px; }
blockquote { margin: 0; padding: 12px 16px; border-left: 3px solid var(--accent); background: var(--quote); border-radius: 0 8px 8px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.chart svg { width: 100%; height: auto; } .failure { color: var(--bad); }
@media (max-width: 600px) { main { padding: 24px 12px 64px; } section { padding: 18px 16px; } }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; } td:first-child { white-space: nowrap; } th { font-weight: 600; font-size: .875rem; } th, td { text-align: left; vertical-align: top; padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); }
`;

/** The whole report as one self-contained HTML page. */
export function renderReport(head: ReportHead, sections: readonly SectionResult[]): string {
  const body = sections
    .map(
      ({ title, packageName, seconds, blocks, failure }) =>
        `<section><h2>${escape(title)}</h2><p class="meta">@frugal/${escape(packageName)} · ${seconds.toFixed(1)} s</p>${blocks.map(renderBlock).join("\n")}` +
        `${failure ? `<p class="failure">${escape(failure)}</p>` : ""}</section>`,
    )
    .join("\n");
  const note = head.interrupted ? " · interrupted, so incomplete" : "";
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Frugal report</title><style>${style}</style></head>
<body><main><header><h1>Frugal</h1><p>${escape(head.startedAt.toISOString().slice(0, 16).replace("T", " "))} UTC · ${escape(head.machine)}${note}</p></header>
${body}
</main></body></html>
`;
}
