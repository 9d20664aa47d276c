import { nodeModule } from "@frugal/tensor-core/node";
import { z } from "zod";
import { EvaluationDataError } from "../errors.ts";

/** Token ids to calibrate and to measure on. */
export interface TokenSequences {
  readonly calibration: readonly (readonly number[])[];
  readonly test: readonly (readonly number[])[];
}

const LIMITS = { bytes: 256 * 2 ** 20, sequences: 100_000, tokens: 1_000_000 } as const;

const sequences = z.array(z.array(z.int().min(0).max(2 ** 31 - 1)).min(2).max(LIMITS.tokens)).max(LIMITS.sequences);
const fileSchema = z.object({ calibration: sequences.default([]), test: sequences.min(1) });

/** Text of a file of at most `limit` bytes. @throws EvaluationDataError for larger ones; what the system says of others */
export async function readBoundedText(path: string, limit: number = LIMITS.bytes): Promise<string> {
  const { readFile, stat } = nodeModule("node:fs/promises");
  const { size } = await stat(path);
  if (size > limit) throw new EvaluationDataError(`${path}: ${size} bytes are more than the ${limit} that are read`);
  return await readFile(path, "utf8");
}

/**
 * Reads `{ "calibration": number[][], "test": number[][] }`, token ids with the begin token first.
 * @throws EvaluationDataError for files that are something else
 */
export async function readTokenSequences(path: string): Promise<TokenSequences> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readBoundedText(path));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new EvaluationDataError(`${path} is not JSON: ${cause.message}`, { cause });
  }
  const file = fileSchema.safeParse(parsed);
  if (file.success) return file.data;
  const problem = z.prettifyError(file.error).replaceAll("\n", " ").slice(0, 500);
  throw new EvaluationDataError(`${path}: expected { "calibration": [[ids]], "test": [[ids]] }: ${problem}`);
}

/**
 * Cuts a text's tokens into sequences, each with the begin token first where there is one.
 * @param length tokens of a sequence at most, its begin token included
 */
export function cutTokens(ids: readonly number[], length: number, beginToken: number | undefined): number[][] {
  const body = beginToken !== undefined && ids[0] === beginToken ? ids.slice(1) : ids;
  const begin = beginToken === undefined ? [] : [beginToken];
  const step = Math.max(1, length - begin.length);
  const cut: number[][] = [];
  for (let at = 0; at < body.length; at += step) {
    const sequence = [...begin, ...body.slice(at, at + step)];
    if (sequence.length >= 2) cut.push(sequence);
  }
  return cut;
}
