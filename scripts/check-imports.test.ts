import { describe, expect, it } from "vitest";
import { allowedImports, findCycles, importsOf } from "./check-imports.ts";

describe("importsOf", () => {
  it("tells value, type and dynamic imports apart", () => {
    const source = `
      import { a } from "./a.ts";
      import type { B } from "./b.ts";
      import { type C } from "./c.ts";
      import { type D, d } from "./d.ts";
      export * from "./e.ts";
      export type { F } from "./f.ts";
      import "./g.ts";
      const h = await import("./h.ts");
      let i: import("./i.ts").I;
    `;
    expect(importsOf("x.ts", source)).toEqual([
      { specifier: "./a.ts", kind: "value" },
      { specifier: "./b.ts", kind: "type" },
      { specifier: "./c.ts", kind: "type" },
      { specifier: "./d.ts", kind: "value" },
      { specifier: "./e.ts", kind: "value" },
      { specifier: "./f.ts", kind: "type" },
      { specifier: "./g.ts", kind: "value" },
      { specifier: "./h.ts", kind: "dynamic" },
      { specifier: "./i.ts", kind: "type" },
    ]);
  });
});

describe("findCycles", () => {
  it("finds a cycle behind an entry, and a module that imports itself", () => {
    expect(findCycles(new Map([["a", ["b"]], ["b", ["c"]], ["c", ["b"]], ["d", ["d"]]]))).toEqual([["b", "c"], ["d"]]);
  });

  it("accepts a diamond", () => {
    expect(findCycles(new Map([["a", ["b", "c"]], ["b", ["d"]], ["c", ["d"]], ["d", []]]))).toEqual([]);
  });
});

describe("allowedImports", () => {
  it("lets methods see the foundations but not each other", () => {
    expect(allowedImports("@frugal/tensor-core")).toEqual([]);
    expect(allowedImports("@frugal/language-model")).toEqual(["@frugal/tensor-core"]);
    expect(allowedImports("@frugal/mecefo")).toEqual(["@frugal/tensor-core", "@frugal/language-model"]);
    expect(allowedImports("@frugal/cuda-tutor")).toEqual(["@frugal/tensor-core"]);
  });
});
