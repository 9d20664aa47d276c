import { MembershipError } from "../errors.ts";
import type { WorkerReport } from "./worker-report.ts";

/** Most bytes of a report as JSON: what is larger belongs on the data plane. */
export const largestReport: number = 512 << 10;

/** The report as JSON. @throws MembershipError when it is too large to be told */
export function encodeReport(report: WorkerReport): string {
  const text = JSON.stringify(report);
  const bytes = Buffer.byteLength(text);
  if (bytes > largestReport) {
    throw new MembershipError(
      `a "${report.kind}" report of ${bytes} bytes; the control plane carries at most ${largestReport}. Use fewer microbatches per `
      + "worker, or leave the captured energy out",
    );
  }
  return text;
}
