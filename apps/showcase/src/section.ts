import type { Progress } from "./progress.ts";

/** A drawing or text of the report; text is escaped when it is written. */
export type ReportBlock =
  | { readonly kind: "paragraph"; readonly text: string }
  /** Verbatim text, e.g. what a model wrote. */
  | { readonly kind: "quote"; readonly label: string; readonly text: string }
  /** Large numbers side by side. */
  | { readonly kind: "figures"; readonly figures: readonly { readonly label: string; readonly value: string; readonly note?: string }[] }
  | { readonly kind: "table"; readonly columns: readonly string[]; readonly rows: readonly (readonly string[])[] }
  /** An SVG drawn by charts.ts. */
  | { readonly kind: "chart"; readonly title: string; readonly svg: string };

/** What a section is given. */
export interface SectionContext {
  readonly progress: Progress;
  /** Aborted by Ctrl-C: stop soon and return what there is. */
  readonly signal: AbortSignal;
}

/** One package's part of the main job. A package adds a file to `sections/` and a line to `sections/index.ts`. */
export interface Section {
  readonly title: string;
  /** Package it shows. */
  readonly packageName: string;
  /** Does the work on real input and describes it. */
  run(context: SectionContext): Promise<readonly ReportBlock[]>;
}
