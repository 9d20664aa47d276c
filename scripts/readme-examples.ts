/** A runnable block of a Markdown document; `line` is that of its first line of code, from 1. */
export interface Example {
  readonly document: string;
  readonly line: number;
  readonly code: string;
}

/** The blocks fenced as ```ts run. Throws for a fence that is never closed. */
export function extractExamples(document: string, markdown: string): Example[] {
  const examples: Example[] = [];
  let open: { line: number; code: string[] } | undefined;
  for (const [index, line] of markdown.split(/\r?\n/).entries()) {
    if (open === undefined) {
      if (/^```ts\s+run\s*$/.test(line)) open = { line: index + 2, code: [] };
    } else if (/^```\s*$/.test(line)) {
      examples.push({ document, line: open.line, code: open.code.join("\n") });
      open = undefined;
    } else {
      open.code.push(line);
    }
  }
  if (open) throw new Error(`${document}:${open.line - 1}: the example is never closed`);
  return examples;
}
