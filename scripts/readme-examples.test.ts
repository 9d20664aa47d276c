import { describe, expect, it } from "vitest";
import { extractExamples } from "./readme-examples.ts";

describe("extractExamples", () => {
  it("takes only blocks marked to run, with the line of their first code", () => {
    const markdown = "# Title\n\n```ts run\nconst a = 1;\nconsole.log(a);\n```\n\n```ts\nnot this\n```\n\n```ts run\nb();\n```\n";
    expect(extractExamples("README.md", markdown)).toEqual([
      { document: "README.md", line: 4, code: "const a = 1;\nconsole.log(a);", needsWebGpu: false },
      { document: "README.md", line: 13, code: "b();", needsWebGpu: false },
    ]);
  });

  it("tells which blocks need a WebGPU adapter", () => {
    expect(extractExamples("README.md", "```ts run webgpu\na();\n```\n\n```ts run wrong\nb();\n```\n")).toEqual([
      { document: "README.md", line: 2, code: "a();", needsWebGpu: true },
    ]);
  });

  it("refuses an unclosed block", () => {
    expect(() => extractExamples("README.md", "```ts run\na();\n")).toThrow("README.md:1: the example is never closed");
  });
});
