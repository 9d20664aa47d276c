/**
 * `npm start`: every section in turn, then one self-contained report. Ctrl-C ends the current section early and still writes it; a
 * second one exits at once.
 */
import { cpus } from "node:os";
import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { createProgress } from "./progress.ts";
import { renderReport, type SectionResult } from "./report/html.ts";
import { sections } from "./sections/index.ts";

const reportFolder = new URL("../../../report/", import.meta.url);
const startedAt = new Date();
const progress = createProgress();
const interruption = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (interruption.signal.aborted) process.exit(130);
    progress.line("\n  finishing early; press Ctrl-C again to exit at once");
    interruption.abort();
  });
}

const results: SectionResult[] = [];
for (const { title, packageName, run } of sections) {
  if (interruption.signal.aborted) break;
  progress.line(`\n${title}`);
  const started = performance.now();
  let blocks: SectionResult["blocks"] = [];
  let failure: string | undefined;
  try {
    blocks = await run({ progress, signal: interruption.signal });
  } catch (error) {
    progress.stop();
    // A section that was told to stop may end by throwing the abort; anything else is a failure of the job.
    if (!interruption.signal.aborted) {
      failure = error instanceof Error ? error.message : String(error);
      progress.line(`  failed: ${failure}`);
      process.exitCode = 1;
    }
  }
  results.push({ title, packageName, seconds: (performance.now() - started) / 1000, blocks, ...(failure !== undefined && { failure }) });
}

const processor = cpus()[0]?.model.trim() ?? "unknown processor";
const machine = `${cpus().length} × ${processor}, Node ${process.version}`;
const html = renderReport({ startedAt, machine, interrupted: interruption.signal.aborted }, results);
await mkdir(reportFolder, { recursive: true });
const file = new URL("index.html", reportFolder);
await writeFile(file, html);
progress.line(`\nReport: ${fileURLToPath(file)} (${((Date.now() - startedAt.getTime()) / 1000).toFixed(0)} s in all)`);
if (interruption.signal.aborted) process.exitCode = 130;
