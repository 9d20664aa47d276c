import { describe, expect, it } from "vitest";
import { extractExamples } from "./readme-examples.ts";

describe("extractExamples", () => {
  it("takes only blocks marked to run, with the line of their first code", () => {
    const markdown = "# Title\n\n```ts run\nconst a = 1;\nconsole.log(a);\n```\n\n```ts\nnot this\n```\n\n```ts run\nb();\n```\n";
    expect(extractExamples("README.md", markdown)).toEqual([
      { document: "README.md", line: 4, code: "const a = 1;\nconsole.log(a);" },
      { document: "README.md", line: 13, code: "b();" },
    ]);
  });

  it("refuses an unclosed block", () => {
    expect(() => extractExamples("README.md", "```ts run\na();\n")).toThrow("README.md:1: the example is never closed");
  });
});
