/** A part of a report. */
export type ReportPart =
  | { readonly kind: "paragraph"; readonly text: string }
  | {
    readonly kind: "table"; readonly columns: readonly string[]; readonly rows: readonly (readonly string[])[];
    /** Columns of text rather than figures, besides the first. */
    readonly textColumns?: readonly number[];
    /** Columns of one width, whose cells break: for comparing. */
    readonly isEven?: boolean;
  }
  /** Figures that are read first. */
  | { readonly kind: "figures"; readonly figures: readonly { readonly label: string; readonly value: string; readonly isBad?: boolean }[] }
  /** An SVG of our own making; it goes into the page as it is. */
  | { readonly kind: "chart"; readonly title: string; readonly svg: string; readonly legend?: readonly LegendEntry[] };

/** A colour and what it stands for; the colour is one of the page's classes. */
export interface LegendEntry {
  readonly className: string;
  readonly label: string;
}

/** A report's section. */
export interface ReportSection {
  readonly title: string;
  readonly parts: readonly ReportPart[];
}

/** A report's page. */
export interface ReportPage {
  readonly title: string;
  readonly subtitle: string;
  readonly sections: readonly ReportSection[];
}

/** Text for HTML and SVG. */
export function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

function renderPart(part: ReportPart): string {
  switch (part.kind) {
    case "paragraph":
      return `<p>${escapeHtml(part.text)}</p>`;
    case "table": {
      const classOf = (column: number): string => (part.textColumns?.includes(column) === true ? ' class="text"' : "");
      const cells = (row: readonly string[], tag: string): string =>
        `<tr>${row.map((cell, i) => `<${tag}${classOf(i)}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
      const body = part.rows.map((row) => cells(row, "td")).join("");
      const table = `<table${part.isEven === true ? ' class="even"' : ""}>`;
      return `<div class="wide" tabindex="0">${table}<thead>${cells(part.columns, "th")}</thead><tbody>${body}</tbody></table></div>`;
    }
    case "figures": {
      const items = part.figures.map(({ label, value, isBad }) =>
        `<div${isBad === true ? ' class="bad"' : ""}><dt>${escapeHtml(label)}</dt><dd>${escapeHtml(value)}</dd></div>`);
      return `<dl>${items.join("")}</dl>`;
    }
    case "chart": {
      const entries = (part.legend ?? []).map(({ className, label }) => `<li><i class="${className}"></i>${escapeHtml(label)}</li>`);
      const legend = entries.length === 0 ? "" : `<ul class="legend">${entries.join("")}</ul>`;
      const caption = `<figcaption>${escapeHtml(part.title)}</figcaption>`;
      return `<figure aria-label="${escapeHtml(part.title)}">${caption}${legend}<div class="wide">${part.svg}</div></figure>`;
    }
  }
}

/** Of reports and of the live page: surfaces, text, and the states of cells, light and dark. */
export const paletteStyle = `
:root { color-scheme: light dark; --ink: #0f172a; --muted: #5b6b82; --line: #e2e8f0; --surface: #fff; --ground: #f8fafc; --accent: #2563eb;
  --healthy: #16a34a; --neighbour: #d97706; --healing: #2563eb; --idle: #94a3b8; --failed: #dc2626; --bad: #b91c1c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e2e8f0; --muted: #94a3b8; --line: #2a3850; --surface: #131c2e; --ground: #0b1120; --accent: #60a5fa;
    --healthy: #22c55e; --neighbour: #f59e0b; --healing: #60a5fa; --idle: #64748b; --failed: #f87171; --bad: #fca5a5; }
}
`;

// The charts' library writes colours into its SVG: text and grid lines are taken over by the page's, so that one SVG suits both schemes.
const style = `${paletteStyle}
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.6 system-ui, sans-serif; color: var(--ink); background: var(--ground); }
main { max-width: 1160px; margin: 0 auto; padding: 48px 24px 96px; }
h1 { font-size: 2rem; line-height: 1.25; margin: 0 0 4px; } header p { color: var(--muted); margin: 0 0 32px; }
section { background: var(--surface); border: 1px solid var(--line); border-radius: 12px; padding: 24px 28px; margin: 0 0 24px; }
h2 { font-size: 1.25rem; margin: 0 0 8px; }
figure { margin: 24px 0; } figure svg { display: block; width: 100%; height: auto; }
figure .chart { min-width: 640px; }
figcaption { font-weight: 600; font-size: .9375rem; margin-bottom: 6px; }
figure svg [fill="#64748b"] { fill: var(--muted); } figure svg [stroke="#e2e8f0"] { stroke: var(--line); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; margin: 0 0 8px; padding: 0; color: var(--muted);
  font-size: .8125rem; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.healthy { fill: var(--healthy); background: var(--healthy); } .neighbour { fill: var(--neighbour); background: var(--neighbour); }
.healing { fill: var(--healing); background: var(--healing); } .idle { fill: var(--idle); background: var(--idle); }
.failed { fill: var(--failed); background: var(--failed); } .fault { fill: var(--ink); background: var(--ink); }
.mixer { fill: var(--accent); opacity: .75; } .mixer.low { fill: var(--neighbour); opacity: 1; }
.mixer.none { fill: var(--failed); opacity: 1; }
.tick { fill: var(--muted); font: 12px system-ui, sans-serif; } .rule { stroke: var(--line); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 18px 16px; margin: 12px 0 20px; }
dt { color: var(--muted); font-size: .8125rem; line-height: 1.3; }
dd { margin: 0; font-size: 1.375rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.bad dd { color: var(--bad); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .8125rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 0 5px 14px; border-bottom: 1px solid var(--line); white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th.text, td.text { text-align: left; } td.text { white-space: normal; min-width: 140px; }
.even { table-layout: fixed; min-width: 560px; } .even td { white-space: normal; } .even th:first-child { width: 30%; }
th { color: var(--muted); font-weight: 500; white-space: normal; vertical-align: bottom; }
@media (max-width: 640px) { main { padding: 24px 12px 48px; } section { padding: 18px 16px; } h1 { font-size: 1.5rem; } }
@media print { section { break-inside: avoid; } }
`;

/** A self-contained HTML page. */
export function renderPage({ title, subtitle, sections }: ReportPage): string {
  const body = sections
    .map((section) => `<section><h2>${escapeHtml(section.title)}</h2>${section.parts.map(renderPart).join("\n")}</section>`)
    .join("\n");
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title><style>${style}</style></head>
<body><main><header><h1>${escapeHtml(title)}</h1><p>${escapeHtml(subtitle)}</p></header>
${body}
</main></body></html>
`;
}
