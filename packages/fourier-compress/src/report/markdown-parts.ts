import { markdownCells } from "../evaluation/markdown.ts";
import type { ReportPart } from "./page.ts";

/** Markdown of a comparison as parts of a page: paragraphs and tables. */
export function partsOf(markdown: string): ReportPart[] {
  return markdown.split("\n\n").map((block): ReportPart => {
    const table = markdownCells(block);
    return table === undefined ? { kind: "paragraph", text: block } : { kind: "table", ...table };
  });
}
