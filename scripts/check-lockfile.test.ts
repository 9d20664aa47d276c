import { describe, expect, it } from "vitest";
import { findLockfileProblems } from "./check-lockfile.ts";

describe("findLockfileProblems", () => {
  it("finds optional dependencies beside the dependent and above it", () => {
    expect(findLockfileProblems({
      "": { version: "1.0.0" },
      "node_modules/tool": { version: "1.0.0", optionalDependencies: { "@tool/linux": "1.0.0", "@tool/darwin": "1.0.0" } },
      "node_modules/@tool/linux": { version: "1.0.0" },
      "node_modules/tool/node_modules/@tool/darwin": { version: "1.0.0" },
      "node_modules/a/node_modules/tool": { version: "2.0.0", optionalDependencies: { "@tool/linux": "1.0.0" } },
    })).toEqual([]);
  });

  it("reports a platform the registry dropped, also where npm left an empty entry", () => {
    expect(findLockfileProblems({
      "node_modules/tool": { version: "1.0.0", optionalDependencies: { "@tool/win32": "1.0.0", "@tool/darwin": "1.0.0" } },
      "node_modules/@tool/win32": {},
    })).toEqual([
      "node_modules/tool@1.0.0: optional dependency @tool/win32 has no entry",
      "node_modules/tool@1.0.0: optional dependency @tool/darwin has no entry",
    ]);
  });

  it("reports a registry host, not a workspace link", () => {
    expect(findLockfileProblems({
      "node_modules/a": { version: "1.0.0", resolved: "https://registry.example/a.tgz" },
      "node_modules/b": { link: true, resolved: "packages/b" },
    })).toEqual(["node_modules/a: names a host, https://registry.example/a.tgz"]);
  });
});
