/**
 * `npm run bench -- tensor-core --browser [--json] [--quick] [--only=<regex>]`: tensor-core's WebGPU backend and those of other libraries
 * in the same headless Chromium, each in a page of its own. Whatever a library computes is compared with tensor-core's CPU result before
 * it is timed.
 */
import { rmSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium, type Page } from "playwright-core";
import { findChromium } from "../../scripts/chromium.ts";
import { disagreement, tolerance } from "../src/agreement.ts";
import { describeMachine, type Machine } from "../src/machine.ts";
import { median } from "../src/measure.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Result } from "../src/result.ts";
import { terminalTable } from "../src/table.ts";
import { bundlePages } from "./bundle.ts";
import { prepareOperation } from "./pages/frugal-tasks.ts";
import { serve } from "./server.ts";
import { browserWorkloads, type BrowserWorkload } from "./workloads.ts";

interface Contender {
  readonly name: string;
  /** File under `pages/`. */
  readonly page: string;
  readonly package: string;
}

const ours: Contender = { name: "frugal webgpu", page: "frugal", package: "@frugal/tensor-core" };
const contenders: readonly Contender[] = [
  ours,
  { name: "jax-js webgpu", page: "jax-js", package: "@jax-js/jax" },
  { name: "tfjs-backend-webgpu", page: "tfjs", package: "@tensorflow/tfjs-backend-webgpu" },
  { name: "onnxruntime-web webgpu", page: "onnxruntime", package: "onnxruntime-web" },
];

const warning = "software adapter: proves nothing about speed, only that the results are right";
const patience = 120_000;

const { values: options } = parseArgs({
  allowPositionals: true,
  options: {
    browser: { type: "boolean", default: true },
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "" },
  },
});

/** Gives up on a page that hangs. */
async function within<Value>(promise: Promise<Value>, what: string): Promise<Value> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>(
    (_, reject) => (timer = setTimeout(() => reject(new Error(`${what} took longer than ${patience / 1000} s`)), patience)),
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split("\n", 1)[0]!.replace(/^page\.evaluate: (Error: )?/, "");

async function expectedResult({ task }: BrowserWorkload): Promise<readonly number[]> {
  const { operation, dispose } = prepareOperation(task, "cpu");
  const result = operation();
  const values = [...(await result.data("float32"))];
  result.dispose();
  dispose();
  return values;
}

/** Largest difference without spreading large arrays over arguments. */
function largestDifference(expected: readonly number[], actual: readonly number[]): number {
  if (expected.length !== actual.length) return Infinity;
  let worst = 0;
  const part = 10_000;
  const scale = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1e-30);
  for (let at = 0; at < expected.length; at += part) {
    worst = Math.max(worst, disagreement([scale, ...expected.slice(at, at + part)], [scale, ...actual.slice(at, at + part)]));
  }
  return worst;
}

/** Rates of one workload, and why contenders have none. */
async function measure(
  workload: BrowserWorkload,
  pages: ReadonlyMap<Contender, Page>,
  notOpened: ReadonlyMap<Contender, string>,
): Promise<Result & { readonly wrong: readonly string[] }> {
  const expected = await expectedResult(workload);
  const absent = new Map(notOpened);
  const wrong: string[] = [];
  const ready = new Map<Contender, Page>();
  for (const [contender, page] of pages) {
    try {
      const actual = await within(
        page.evaluate((task) => globalThis.benchmark.prepare(task), workload.task),
        "preparing",
      );
      if (actual === null) {
        absent.set(contender, "has no such operation");
        continue;
      }
      const difference = largestDifference(expected, actual);
      if (!(difference <= tolerance)) {
        wrong.push(contender.name);
        throw new Error(`WRONG: differs from the CPU by ${difference.toPrecision(2)} of the largest value`);
      }
      ready.set(contender, page);
    } catch (error) {
      absent.set(contender, firstLine(error));
    }
  }
  const seconds = new Map<Contender, number[]>([...ready.keys()].map((contender) => [contender, []]));
  for (let round = 0; round < (options.quick ? 1 : 5); round++) {
    for (const [contender, page] of ready) {
      if (absent.has(contender)) continue;
      try {
        const time = await within(
          page.evaluate((budget) => globalThis.benchmark.measure(budget), options.quick ? 0.05 : 0.3),
          "measuring",
        );
        seconds.get(contender)!.push(time);
      } catch (error) {
        absent.set(contender, firstLine(error));
      }
    }
  }
  for (const [contender, page] of ready) if (!absent.has(contender)) await page.evaluate(() => globalThis.benchmark.release());
  const rate = (contender: Contender): number => Number((workload.work / median(seconds.get(contender)!)).toPrecision(4));
  const rated = [...ready.keys()].filter((contender) => !absent.has(contender));
  const peers = Object.fromEntries(rated.filter((contender) => contender !== ours).map((contender) => [contender.name, rate(contender)]));
  const own = rated.includes(ours) ? rate(ours) : 0;
  const best = Math.max(...Object.values(peers));
  return {
    id: workload.id,
    unit: workload.unit,
    ours: own,
    peers,
    ratio: Number.isFinite(best) ? Number((own / best).toPrecision(4)) : null,
    yardsticks: {},
    absent: Object.fromEntries([...absent].map(([{ name }, reason]) => [name, reason])),
    wrong,
  };
}

const machine: Machine = await describeMachine();
const pagesFolder = await bundlePages(contenders.map(({ page }) => page));
const { address, server } = await serve({
  pages: pagesFolder,
  onnxruntime: dirname(fileURLToPath(import.meta.resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm"))),
});
const { executablePath, environment } = await findChromium();
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--enable-unsafe-webgpu"],
  env: { ...(process.env as Record<string, string>), ...environment },
});

const results: (Result & { readonly wrong: readonly string[] })[] = [];
const pages = new Map<Contender, Page>();
const notOpened = new Map<Contender, string>();
const versions: Record<string, string> = {};
let adapter = "not said";
try {
  for (const contender of contenders) {
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(error.message));
    try {
      versions[contender.name] = packageVersion(contender.package);
      await page.goto(`${address}/${contender.page}.html`);
      await within(
        page.waitForFunction(() => globalThis.benchmark !== undefined),
        "loading",
      );
      const opened = await within(
        page.evaluate(() => globalThis.benchmark.open()),
        "opening",
      );
      if (contender === ours) adapter = opened.adapter;
      pages.set(contender, page);
    } catch (error) {
      notOpened.set(contender, errors[0] ?? firstLine(error));
      console.error(`${contender.name}: ${errors[0] ?? firstLine(error)}`);
    }
  }
  for (const workload of browserWorkloads(options.quick).filter(({ id }) => new RegExp(options.only).test(id))) {
    const result = await measure(workload, pages, notOpened);
    results.push(result);
    for (const [name, reason] of Object.entries(result.absent)) console.error(`  ${workload.id}: no ${name}, it ${reason}`);
    if (!options.json) console.error(terminalTable([result])[1]);
  }
} finally {
  await browser.close();
  server.close();
  rmSync(pagesFolder, { recursive: true });
}

const software = /swiftshader|llvmpipe|software/i.test(adapter);
if (options.json) {
  console.log(
    JSON.stringify(
      {
        package: "tensor-core",
        machine: { ...machine, adapter, browser: browser.version() },
        ...(software && { warning }),
        versions,
        results,
      },
      undefined,
      2,
    ),
  );
} else {
  console.log(`Chromium ${browser.version()}, ${adapter}${software ? `; ${warning}` : ""}`);
  console.log(terminalTable(results).join("\n"));
}
// Ours must be there and right; peers are what they are.
process.exit(results.every((result) => result.ours > 0) && results.length > 0 ? 0 : 1);
