import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { playwright } from "@vitest/browser-playwright";
import { defineConfig, type TestProjectConfiguration } from "vitest/config";
import { findChromium } from "./scripts/chromium.ts";

const everywhere = ["packages/*", "apps/*"];
const tests = (suffix: string): string[] => everywhere.map((folder) => `${folder}/src/**/*${suffix}`);
const notUnit = ["**/node_modules/**", "**/dist/**", ...["integration", "browser", "webgpu"].flatMap((kind) => tests(`.${kind}.test.ts`))];

const projects: TestProjectConfiguration[] = [
  {
    extends: true,
    test: { name: "unit", include: [...tests(".test.ts"), "scripts/**/*.test.ts"], exclude: notUnit, testTimeout: 30_000 },
  },
  {
    extends: true,
    test: { name: "integration", include: tests(".integration.test.ts"), testTimeout: 180_000, hookTimeout: 180_000 },
  },
];

/** Some projects exist only when asked for by name. */
const isAskedFor = (name: string): boolean =>
  process.argv.some((argument, index, all) => argument === `--project=${name}` || (argument === name && all[index - 1] === "--project"));

/** Functions of a module as commands for pages, the command's context last: they run in Node, which loads the module at the first call. */
function nodeCommands(path: string, names: readonly string[]): Record<string, (context: unknown, ...parameters: unknown[]) => Promise<unknown>> {
  const url = new URL(path, import.meta.url).href;
  return Object.fromEntries(names.map((name) => [
    name,
    async (context, ...parameters) => {
      const module = (await import(url)) as Record<string, (...given: unknown[]) => unknown>;
      return await module[name]!(...parameters, context);
    },
  ]));
}

// Needs the environment that `npm run test:webgpu` gives.
if (isAskedFor("webgpu")) {
  projects.push({
    extends: true,
    test: {
      name: "webgpu",
      include: tests(".webgpu.test.ts"),
      setupFiles: [fileURLToPath(new URL("scripts/webgpu-patient-polling.ts", import.meta.url))],
      // Software drivers take up to a second to compile a shader.
      testTimeout: 180_000,
      hookTimeout: 180_000,
    },
  });
}

// Other runs should not need, or unpack, a browser.
if (isAskedFor("browser")) {
  const { executablePath, environment } = await findChromium();
  const root = fileURLToPath(new URL(".", import.meta.url));
  // Optional test data beside the repository: outside the server's root, so that it has to be let in.
  const sharedData = fileURLToPath(new URL("../shared/data", import.meta.url));
  const hasSharedData = existsSync(sharedData);
  projects.push({
    extends: true,
    // Cross-origin isolation gives the page SharedArrayBuffer, and so threads.
    server: {
      headers: { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" },
      fs: { allow: hasSharedData ? [root, sharedData] : [root] },
    },
    test: {
      name: "browser",
      include: tests(".browser.test.ts"),
      provide: {
        sharedData: {
          ...(hasSharedData ? { path: `/@fs/${sharedData.replace(/^\//, "")}` } : {}),
          isRequired: Boolean(process.env["CI"]),
        },
      },
      testTimeout: 180_000,
      hookTimeout: 180_000,
      browser: {
        enabled: true,
        headless: true,
        screenshotFailures: false,
        provider: playwright({
          launchOptions: {
            executablePath,
            // SwiftShader, the GPU of a machine without one, takes seconds to compile the zeros that the extension asks for.
            args: [
              "--no-sandbox",
              "--enable-unsafe-webgpu",
              "--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension",
            ],
            env: { ...(process.env as Record<string, string>), ...environment },
          },
        }),
        instances: [{ browser: "chromium" }],
        commands: {
          ...nodeCommands("packages/fourier-compress/src/client/node-half.testing.ts", [
            "startNodeHalf", "dropConnections", "writeInNode", "nodeHalfStatistics", "stopNodeHalf",
          ]),
          ...nodeCommands("apps/split-chat/src/drive-page.testing.ts", ["driveSplitChat"]),
        },
      },
    },
  });
}

export default defineConfig({
  test: {
    // Worker threads and native modules want processes of their own; two, because tests use threads themselves.
    pool: "forks",
    maxWorkers: 2,
    projects,
  },
});
