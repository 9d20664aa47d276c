import { readFile, stat, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { note, printJson } from "@frugal/language-model/command-line";
import { Command } from "commander";
import { FormatError } from "../errors.ts";
import { jobSchema, type Job } from "../job/job.ts";
import { readEvents } from "../report/event-log.ts";
import { renderRunReport, summaryTable, type ReportedRun } from "../report/run-report.ts";
import { summarizeRun } from "../report/run-summary.ts";

interface ReportArguments {
  readonly output?: string;
  readonly title?: string;
  readonly json: boolean;
}

const MAXIMUM_JOB_BYTES = 1 << 22;

/** A run folder's job.json; undefined where there is none. @throws FormatError */
async function readJob(path: string): Promise<Job | undefined> {
  const size = await stat(path).then((stats) => stats.size, (error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (size === undefined) return undefined;
  if (size > MAXIMUM_JOB_BYTES) throw new FormatError(path, `${size} bytes are too many for a job: ${MAXIMUM_JOB_BYTES} at most`);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw new FormatError(path, `no JSON: ${(cause as Error).message}`, { cause });
  }
  const parsed = jobSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new FormatError(path, `no job: ${issue.path.join(".")}: ${issue.message}`);
}

/** A run folder, read. */
export interface RunFolder extends ReportedRun {
  readonly folder: string;
  readonly job?: Job;
}

/**
 * Reads run folders: events.jsonl and, where it is there, job.json. Runs are named by their jobs' strategies where these differ, otherwise
 * by their folders. @throws FormatError
 */
export async function readRunFolders(folders: readonly string[]): Promise<RunFolder[]> {
  const read = await Promise.all(folders.map(async (folder) => {
    const { events, brokenLastLine } = await readEvents(join(folder, "events.jsonl"));
    if (brokenLastLine !== undefined) {
      note(`${join(folder, "events.jsonl")}: the last line (${brokenLastLine.line}) was cut off, as by a kill; it is left out`);
    }
    return { folder, events, job: await readJob(join(folder, "job.json")) };
  }));
  const strategies = new Set(read.map(({ job }) => job?.strategy));
  const byStrategy = !strategies.has(undefined) && strategies.size === read.length;
  return read.map(({ folder, events, job }) => ({
    folder, events, name: byStrategy ? job!.strategy : basename(resolve(folder)), ...(job === undefined ? {} : { job }),
  }));
}

async function report(folders: readonly string[], { output, title, json }: ReportArguments): Promise<void> {
  const runs = await readRunFolders(folders);
  const summaries = runs.map(({ name, folder, events, job }) => ({ name, folder, summary: summarizeRun(events, job) }));
  if (output !== undefined) {
    await writeFile(output, await renderRunReport(runs, title === undefined ? {} : { title }));
    note(`wrote ${output}`);
  }
  if (json) {
    printJson(summaries.map(({ name, folder, summary }) => ({ name, folder, ...summary })));
    return;
  }
  const { columns, rows } = summaryTable(summaries);
  const widths = columns.map((column, i) => Math.max(column.length, ...rows.map((row) => row[i]!.length)));
  for (const row of [columns, ...rows]) process.stdout.write(`${row.map((cell, i) => cell.padEnd(widths[i]!)).join("  ").trimEnd()}\n`);
}

/** `mecefo report`. */
export function reportCommand(): Command {
  return new Command("report")
    .description("Sum up runs from their logs: several, e.g. of different strategies, side by side and with their losses on one chart.")
    .argument("<folders...>", "run folders, with events.jsonl and job.json")
    .option("--output <file>", "write an HTML page (needs the package echarts)")
    .option("--title <text>", "the page's heading")
    .option("--json", "print the figures as one JSON array", false)
    .action((folders: string[], given: ReportArguments) => report(folders, given));
}
