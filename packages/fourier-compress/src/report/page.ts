/** A part of a report. */
export type ReportPart =
  | { readonly kind: "paragraph"; readonly text: string }
  | { readonly kind: "table"; readonly columns: readonly string[]; readonly rows: readonly (readonly string[])[] }
  /** An SVG of our own making; it goes into the page as it is. */
  | { readonly kind: "chart"; readonly title: string; readonly svg: string };

/** A report's section. */
export interface ReportSection {
  readonly title: string;
  readonly parts: readonly ReportPart[];
}

/** A report's page. */
export interface ReportPage {
  readonly title: string;
  /** What was done, when, with what. */
  readonly subtitle: string;
  readonly sections: readonly ReportSection[];
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

function renderPart(part: ReportPart): string {
  switch (part.kind) {
    case "paragraph":
      return `<p>${escape(part.text)}</p>`;
    case "table": {
      const cells = (row: readonly string[], tag: string): string =>
        `<tr>${row.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join("")}</tr>`;
      const body = part.rows.map((row) => cells(row, "td")).join("");
      return `<div class="wide"><table><thead>${cells(part.columns, "th")}</thead><tbody>${body}</tbody></table></div>`;
    }
    case "chart":
      return `<figure><figcaption>${escape(part.title)}</figcaption>${part.svg}</figure>`;
  }
}

const style = `
:root { color-scheme: light; --ink: #0f172a; --muted: #64748b; --line: #e2e8f0; }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.6 system-ui, sans-serif; color: var(--ink); background: #f8fafc; }
main { max-width: 1160px; margin: 0 auto; padding: 48px 24px 96px; }
h1 { font-size: 2rem; margin: 0 0 4px; } header p { color: var(--muted); margin: 0 0 32px; }
section { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 24px 28px; margin: 0 0 24px; }
h2 { font-size: 1.25rem; margin: 0 0 8px; }
figure { margin: 20px 0; } figure svg { width: 100%; height: auto; }
figcaption { color: var(--muted); font-size: .875rem; margin-bottom: 6px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .8125rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 0 5px 14px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { color: var(--muted); font-weight: 500; white-space: normal; vertical-align: bottom; }
`;

/** A self-contained HTML page. */
export function renderPage({ title, subtitle, sections }: ReportPage): string {
  const body = sections
    .map((section) => `<section><h2>${escape(section.title)}</h2>${section.parts.map(renderPart).join("\n")}</section>`)
    .join("\n");
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title><style>${style}</style></head>
<body><main><header><h1>${escape(title)}</h1><p>${escape(subtitle)}</p></header>
${body}
</main></body></html>
`;
}
