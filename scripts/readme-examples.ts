/** A runnable block of a Markdown document; `line` is that of its first line of code, from 1. */
export interface Example {
  readonly document: string;
  readonly line: number;
  readonly code: string;
  /** Whether it runs only where there is a WebGPU adapter. */
  readonly needsWebGpu: boolean;
}

/** The blocks fenced as ```ts run, and as ```ts run webgpu. Throws for a fence that is never closed. */
export function extractExamples(document: string, markdown: string): Example[] {
  const examples: Example[] = [];
  let open: { line: number; code: string[]; needsWebGpu: boolean } | undefined;
  for (const [index, line] of markdown.split(/\r?\n/).entries()) {
    if (open === undefined) {
      const fence = /^```ts\s+run(\s+webgpu)?\s*$/.exec(line);
      if (fence) open = { line: index + 2, code: [], needsWebGpu: fence[1] !== undefined };
    } else if (/^```\s*$/.test(line)) {
      examples.push({ document, line: open.line, code: open.code.join("\n"), needsWebGpu: open.needsWebGpu });
      open = undefined;
    } else {
      open.code.push(line);
    }
  }
  if (open) throw new Error(`${document}:${open.line - 1}: the example is never closed`);
  return examples;
}
