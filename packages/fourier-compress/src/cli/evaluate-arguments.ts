import type { WeightPrecision } from "@frugal/language-model";
import { InvalidArgumentError } from "commander";
import { comparedCodec } from "../evaluation/compared-codecs.ts";
import type { RateAllocation } from "../evaluation/equal-bytes.ts";

/** What `fourier-compress evaluate` has been told. */
export interface EvaluateArguments {
  readonly activations?: string;
  readonly block?: number;
  readonly model?: string;
  readonly text?: string;
  readonly sequences?: string;
  readonly questions?: readonly string[];
  readonly calibration?: string;
  readonly split: number;
  readonly codecs?: readonly string[];
  readonly ratios?: readonly number[];
  readonly allocation: RateAllocation;
  readonly table?: string;
  readonly limit?: number;
  readonly window: number;
  readonly leakage?: number | true;
  readonly fisher: boolean;
  readonly tokenizer?: string;
  readonly precision: WeightPrecision;
  readonly device: "cpu" | "webgpu";
  readonly threads?: number;
  readonly report?: string;
  readonly resume?: string;
  readonly json: boolean;
}

/** Reads "4,7.6,10": numbers > 0. */
export function numberList(text: string): number[] {
  const values = text.split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
  if (values.every((value) => value > 0 && Number.isFinite(value))) return values;
  throw new InvalidArgumentError("Give numbers > 0 with commas between them, as 4,7.6,10.");
}

/** Reads "klt,channel,fourier-hermitian:elements". */
export function codecList(text: string): string[] {
  const keys = text.split(",").map((part) => part.trim());
  try {
    return keys.map((key) => comparedCodec(key).key);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
