import { setThreads, type DeviceName } from "@frugal/tensor-core";
import { InvalidArgumentError, Option } from "commander";
import type { WeightPrecision } from "../model/load-model.ts";

/** Where a command's model lives. */
export type CommandDevice = Extract<DeviceName, "cpu" | "webgpu">;

const precisions = ["file", "float32", "float16", "int8", "uint4"] as const satisfies readonly WeightPrecision[];
const devices = ["cpu", "webgpu"] as const satisfies readonly CommandDevice[];

/** Reads an integer from `least` on, or to `greatest`. */
export function integer(least: number, greatest: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least && value <= greatest) return value;
    throw new InvalidArgumentError(`Give an integer from ${least} ${greatest === Number.MAX_SAFE_INTEGER ? "on" : `to ${greatest}`}.`);
  };
}

/** Reads a number between two bounds, both included. */
export function numberBetween(least: number, greatest: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= least && value <= greatest) return value;
    throw new InvalidArgumentError(`Give a number from ${least} to ${greatest}.`);
  };
}

/** Gathers an option that may be given several times. */
export function collect(value: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), value];
}

/** `--precision`. */
export function precisionOption(): Option {
  return new Option("--precision <precision>", "how weight matrices are held in memory").choices(precisions).default("file");
}

/** `--device`. */
export function deviceOption(): Option {
  const help = 'where the model runs; "webgpu" needs the package webgpu and a driver';
  return new Option("--device <device>", help).choices(devices).default("cpu");
}

/** `--threads`. */
export function threadsOption(): Option {
  return new Option("--threads <count>", "CPU threads (default: all cores)").argParser(integer(1));
}

/** Applies `--threads`. */
export function applyThreads(count: number | undefined): void {
  if (count !== undefined) setThreads(count);
}
