import { createHash } from "node:crypto";
import type { Job } from "./job.ts";

/** JSON with the keys of every object in order and absent values left out: equal values give equal texts. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, entry: unknown) => {
    if (typeof entry !== "object" || entry === null || Array.isArray(entry)) return entry;
    return Object.fromEntries(Object.entries(entry).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/** SHA-256 of a job in hexadecimal, whatever the order of its keys: the ticket of its workers. */
export function jobHash(job: Job): string {
  return createHash("sha256").update(canonicalJson(job)).digest("hex");
}
