/** Claims about the WebGPU backend, on software adapters: they show that it is right, not that it is fast. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findChromium } from "../../scripts/chromium.ts";
import { prepareLane, type LaneName, type WebGpuLane } from "../../scripts/webgpu-adapters.ts";
import type { Claim, Measured } from "../src/check.ts";
import type { GenerateReport, LeakReport } from "./webgpu-child.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const child = fileURLToPath(new URL("webgpu-child.ts", import.meta.url));

interface Ended {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

/** Runs a Node program to its end; one that does not end is killed, together with what it started. @throws Error after `minutes` */
async function runNode(args: readonly string[], environment: Readonly<Record<string, string>>, minutes: number): Promise<Ended> {
  const started = spawn(process.execPath, args, {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
    // A group of its own: test runners have children.
    detached: process.platform !== "win32",
  });
  let [output, errors] = ["", ""];
  started.stdout.setEncoding("utf8").on("data", (text: string) => (output = (output + text).slice(-100_000)));
  started.stderr.setEncoding("utf8").on("data", (text: string) => (errors = (errors + text).slice(-4000)));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    if (process.platform === "win32") started.kill("SIGKILL");
    else process.kill(-started.pid!, "SIGKILL");
  }, minutes * 60_000);
  const status = await new Promise<number | null>((resolve, reject) => {
    started.once("error", reject);
    started.once("close", resolve);
  });
  clearTimeout(timer);
  if (late) throw new Error(`did not end within ${minutes} minutes: ${errors.trim().split("\n").at(-1)}`);
  return { status, output, errors };
}

/** As much of vitest's JSON report as is read. */
interface VitestReport {
  readonly numTotalTests: number;
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

/** Tests that did not pass, skipped ones and files that did not load included. @throws Error when nothing ran */
function notPassed({ status, errors }: Ended, file: string): Measured {
  let report: VitestReport;
  try {
    report = JSON.parse(readFileSync(file, "utf8")) as VitestReport;
  } catch {
    throw new Error(`no test report (status ${status}): ${errors.trim().split("\n").slice(-3).join(" ")}`);
  }
  if (report.numTotalTests === 0) throw new Error("no test ran");
  const others = report.numTotalTests - report.numPassedTests;
  const broken = report.testResults.filter(
    (result) => result.status === "failed" && result.assertionResults.every((test) => test.status === "passed"),
  );
  const failing = report.testResults
    .filter((result) => result.status === "failed" || result.assertionResults.some((test) => test.status !== "passed"))
    .map((result) => result.name.split("/").at(-1)!);
  // Errors outside tests fail a run too.
  const outside = status !== 0 && others === 0 && broken.length === 0 ? 1 : 0;
  return {
    value: others + broken.length + outside,
    note:
      `${report.numPassedTests} of ${report.numTotalTests} passed in ${report.testResults.length} files` +
      (failing.length > 0 ? `; look at ${failing.slice(0, 5).join(", ")}` : ""),
  };
}

async function withReport(run: (file: string) => Promise<Ended>): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "frugal-verify-"));
  const file = join(folder, "report.json");
  try {
    return notPassed(await run(file), file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const reporters = (file: string): string[] => ["--reporter=json", `--outputFile=${file}`];

/** The lane, or why there is none: then nothing is claimed. */
async function findLane(
  names: readonly LaneName[],
): Promise<{ readonly name: LaneName; readonly lane: WebGpuLane } | { readonly skipped: string }> {
  const reasons: string[] = [];
  for (const name of names) {
    try {
      return { name, lane: await prepareLane(name) };
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  return { skipped: reasons.join("; ") };
}

async function laneSuite(name: LaneName): Promise<Measured> {
  const found = await findLane([name]);
  if ("skipped" in found) return found;
  return await withReport((file) => runNode([`${root}scripts/webgpu-tests.ts`, name, ...reporters(file)], {}, 45));
}

async function chromiumSuite(): Promise<Measured> {
  try {
    await findChromium();
  } catch (error) {
    return { skipped: error instanceof Error ? error.message : String(error) };
  }
  // Of the browser project, the files about WebGPU.
  return await withReport((file) =>
    runNode([`${root}node_modules/vitest/vitest.mjs`, "run", "--project", "browser", ...reporters(file), "webgpu"], {}, 45),
  );
}

/** Runs the child on lavapipe, or SwiftShader where there is no Mesa. */
async function onLane<Report>(
  task: "generate" | "leak",
): Promise<{ readonly report: Report; readonly lane: string } | { readonly skipped: string }> {
  const found = await findLane(["lavapipe", "swiftshader"]);
  if ("skipped" in found) return found;
  const { name, lane } = found;
  const environment = { ...lane.environment, FRUGAL_WEBGPU_LANE: name, FRUGAL_WEBGPU_MODULE: lane.modulePath };
  const { status, output, errors } = await runNode([child, task], environment, 10);
  if (status !== 0)
    throw new Error(
      `ended with status ${status}: ${
        errors
          .trim()
          .split("\n")
          .find((line) => line.includes("Error")) ?? errors.slice(-200)
      }`,
    );
  return { report: JSON.parse(output) as Report, lane: name };
}

type Generation = { readonly report: GenerateReport; readonly lane: string } | { readonly skipped: string };
let generation: Promise<Generation> | undefined;

/** One run for two claims. */
async function generated(judge: (report: GenerateReport, lane: string) => Measured): Promise<Measured> {
  generation ??= onLane<GenerateReport>("generate");
  const result = await generation;
  return "skipped" in result ? result : judge(result.report, result.lane);
}

async function leak(): Promise<Measured> {
  const result = await onLane<LeakReport>("leak");
  if ("skipped" in result) return result;
  const { afterOperations, afterCycles, operations, cycles, grownMebibytes } = result.report;
  return {
    value: Math.abs(afterOperations) + Math.abs(afterCycles),
    note:
      `${operations} operations, ${cycles} devices opened and destroyed ` +
      `(process grew by ${grownMebibytes.toFixed(0)} MiB); ${result.lane}`,
  };
}

/** Fewer than 15. */
const submissionsTarget = 14;

export const webgpuClaims: readonly Claim[] = [
  ...(["lavapipe", "swiftshader"] as const).map((lane): Claim => ({
    id: `webgpu-op-suite-${lane}`,
    unit: "tests that did not pass",
    target: 0,
    better: "smaller",
    measure: () => laneSuite(lane),
  })),
  { id: "webgpu-op-suite-chromium", unit: "tests that did not pass", target: 0, better: "smaller", measure: chromiumSuite },
  {
    id: "webgpu-stories15m-golden",
    unit: "share of the text",
    target: 1,
    better: "larger",
    measure: () => generated(({ matchingShare }, lane) => ({ value: matchingShare, note: lane })),
  },
  {
    id: "webgpu-submits-per-token",
    unit: "submissions",
    target: submissionsTarget,
    better: "smaller",
    measure: () =>
      generated(({ mostSubmissions, meanSubmissions, tokens }, lane) => ({
        value: mostSubmissions,
        note: `most for one of ${tokens} tokens, ${meanSubmissions.toFixed(1)} in the mean; ${lane}`,
      })),
  },
  {
    id: "webgpu-leak",
    unit: "allocations left",
    target: 0,
    better: "smaller",
    measure: leak,
  },
];
