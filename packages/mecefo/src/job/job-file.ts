import { readBoundedJson, replaceFile } from "../files.ts";
import { FormatError, MecefoError } from "../errors.ts";
import { checkJob } from "./create-job.ts";
import type { Job } from "./job.ts";

/** A job is a page of text. */
const LARGEST_JOB_BYTES = 1 << 20;

/**
 * Reads a job that `writeJob` wrote.
 * @throws FormatError naming the file if it is not there, too large, no JSON or no valid job
 */
export async function readJob(path: string): Promise<Job> {
  const value = await readBoundedJson(path, LARGEST_JOB_BYTES, "Write one with writeJob");
  try {
    return checkJob(value);
  } catch (cause) {
    if (!(cause instanceof MecefoError)) throw cause;
    throw new FormatError(path, `is no valid job: ${cause.message}`, { cause });
  }
}

/** Writes a job; a file of that name is replaced in one step. */
export async function writeJob(path: string, job: Job): Promise<void> {
  await replaceFile(path, `${JSON.stringify(job, null, 2)}\n`);
}
