/** A table in Markdown; bars in cells are escaped. */
export function markdownTable(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(columns), line(columns.map((_, index) => (index === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

/** A number in few characters: errors and ratios beside one another. */
export function shortNumber(value: number, digits: number = 3): string {
  if (!Number.isFinite(value)) return String(value);
  if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 10 ** -digits)) return value.toExponential(2);
  if (Math.abs(value) >= 1000) return value.toFixed(0);
  return value.toFixed(Math.max(0, digits - (Math.abs(value) >= 100 ? 2 : Math.abs(value) >= 10 ? 1 : 0)));
}

/** A share as a percentage. */
export function percent(share: number, digits: number = 1): string {
  return `${(100 * share).toFixed(digits)} %`;
}

/** The cells of a table that `markdownTable` made; undefined for other text. */
export function markdownCells(
  text: string,
): { readonly columns: readonly string[]; readonly rows: readonly (readonly string[])[] } | undefined {
  const lines = text.split("\n");
  if (lines.length < 2 || !lines.every((line) => line.startsWith("| ") && line.endsWith(" |"))) return undefined;
  const cells = (line: string): string[] => line.slice(2, -2).split(" | ").map((cell) => cell.replaceAll("\\|", "|"));
  return { columns: cells(lines[0]!), rows: lines.slice(2).map(cells) };
}

/** Why rows of a comparison could not be measured, as a list; nothing where all could. */
export function unavailableMarkdown(
  rows: readonly { readonly label: string; readonly ratio?: number; readonly unavailable?: string }[],
): string[] {
  const missing = rows.filter(({ unavailable }) => unavailable !== undefined);
  if (missing.length === 0) return [];
  const reasons = [...new Set(missing.map(({ label, unavailable }) => `${label}: ${unavailable}`))].map((reason) => {
    const ratios = missing.flatMap(({ label, ratio, unavailable }) =>
      ratio !== undefined && reason === `${label}: ${unavailable}` ? [`${ratio}x`] : [],
    );
    return `- ${reason}${ratios.length === 0 ? "" : ` (${ratios.join(", ")})`}`;
  });
  return ["Not measured:", reasons.join("\n")];
}
