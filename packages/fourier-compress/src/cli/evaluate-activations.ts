import { createHash } from "node:crypto";
import { interruption, note, startProgress } from "@frugal/language-model/command-line";
import { readCodecTable } from "../calibration/table-file.ts";
import { readActivationsFolder } from "../evaluation/activations-folder.ts";
import { calibrateActivations } from "../evaluation/calibrate-activations.ts";
import { compareReconstruction, reconstructionMarkdown } from "../evaluation/reconstruction-comparison.ts";
import type { EvaluationResults } from "../report/evaluation-report.ts";
import type { EvaluateArguments } from "./evaluate-arguments.ts";
import { EvaluationFile } from "./evaluation-file.ts";

/** SHA-256 of numbers, in hexadecimal. */
export function digestOf(...values: readonly (NodeJS.ArrayBufferView | string)[]): string {
  const hash = createHash("sha256");
  for (const value of values) hash.update(value);
  return hash.digest("hex").slice(0, 16);
}

/** `evaluate --activations`: calibrates on the folder's calibration rows, measures on its prompts. */
export async function evaluateActivations(
  given: EvaluateArguments & { readonly activations: string },
): Promise<{ readonly results: EvaluationResults; readonly markdown: string; readonly complete: boolean }> {
  const set = await readActivationsFolder(given.activations, given.block === undefined ? {} : { block: given.block });
  const limited = given.limit === undefined ? set : { ...set, prompts: set.prompts.slice(0, given.limit) };
  if (!given.json && given.table === undefined) {
    note(`calibrating on ${set.calibration.length / set.hiddenSize} rows of width ${set.hiddenSize}`);
  }
  const table = given.table === undefined ? await calibrateActivations(set, { signal: interruption }) : await readCodecTable(given.table);
  const file = await EvaluationFile.open(given.resume, {
    activations: digestOf(...limited.prompts.map(({ rows }) => rows)), block: set.block, table: table.hash, allocation: given.allocation,
  });
  // Opened by loading it; nothing else needs the kernels.
  if (given.device === "webgpu") await (await import("@frugal/tensor-core/webgpu")).webgpu();
  const progress = startProgress("measuring", 1, { silent: given.json });
  try {
    const reconstruction = await compareReconstruction(limited, table, {
      ...(given.codecs === undefined ? {} : { codecs: given.codecs }), ...(given.ratios === undefined ? {} : { ratios: given.ratios }),
      allocation: given.allocation, device: given.device, signal: interruption, done: [...file.reconstruction],
      async onRow(row, index, count) {
        file.reconstruction.push(row);
        await file.save();
        progress.update(index / count, `${row.codec}${row.ratio === undefined ? "" : ` ${row.ratio}x`}`);
      },
    });
    return { results: { reconstruction }, markdown: reconstructionMarkdown(reconstruction), complete: reconstruction.complete };
  } finally {
    progress.stop();
  }
}
