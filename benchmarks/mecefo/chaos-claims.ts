/** Soaks by the command that users have: real processes that are killed, stopped, cut off, slowed down and sent broken frames. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { text } from "node:stream/consumers";
import type { SoakVerdict } from "@frugal/mecefo";
import type { Claim, Measured } from "../src/check.ts";
import type { Effort } from "../src/rounds.ts";
import { inTemporaryFolder, isQuick } from "./runs.ts";

const command = fileURLToPath(new URL("./cli.js", import.meta.resolve("@frugal/mecefo")));
/** Longer than any soak takes that ends, and what it has to stop in order when asked to. */
const limitMilliseconds = 8 * 60_000;
const farewellMilliseconds = 20_000;

async function soak(effort: Effort, seed: number, more: readonly string[]): Promise<Measured> {
  const faults = isQuick(effort) ? 20 : 200;
  return await inTemporaryFolder(async (folder) => {
    const flags = [
      "chaos", "--grid", "2x2", "--model", "nano", "--sequence-length", "64", "--faults", `${faults}`, "--mtbf", "500", "--mttr", "300",
      "--fault-seed", `${seed}`, "--output", `${folder}/run`, "--json", ...more,
    ];
    const child = spawn(process.execPath, [command, ...flags], { stdio: ["ignore", "pipe", "pipe"] });
    // The first asks it to stop, the second ends it and its workers at once.
    const interrupts = [limitMilliseconds, limitMilliseconds + farewellMilliseconds].map((after) => setTimeout(() => child.kill("SIGINT"), after));
    const ended = once(child, "exit");
    const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
    for (const timer of interrupts) clearTimeout(timer);
    if (output === "") throw new Error(`mecefo chaos gave no verdict within ${limitMilliseconds / 60_000} minutes: ${errors.slice(-500)}`);
    const verdict = JSON.parse(output) as SoakVerdict & { readonly serversKilled?: number };
    if (more.includes("--kill-nats") && verdict.serversKilled !== 1) throw new Error("no nats-server was killed");
    return judge(verdict, faults);
  });
}

function judge(verdict: SoakVerdict & { readonly serversKilled?: number }, faults: number): Measured {
  const { hangs, divergences, lostBatches, duplicatedBatches, violations, unloggedRecoveries, passed } = verdict;
  if (verdict.faults !== faults) throw new Error(`${verdict.faults} of ${faults} faults were brought about before the run ended`);
  const found = hangs + divergences + lostBatches + duplicatedBatches + unloggedRecoveries;
  const kinds = Object.entries(verdict.faultsByKind).map(([kind, count]) => `${count} ${kind}`).join(", ");
  const milliseconds = (value: number | null): string => (value === null ? "none" : `${Math.round(value)} ms`);
  return {
    // What else the verdict holds against the run counts as well.
    value: passed ? found : Math.max(1, found),
    note:
      `${verdict.faults} faults (${kinds})${verdict.serversKilled ? " and one of three nats-servers killed" : ""} in ${Math.round(verdict.seconds)} s, ${verdict.steps} steps, each hashed; hangs ${hangs}, `
      + `divergences ${divergences}, batches lost ${lostBatches}, duplicated ${duplicatedBatches}, recoveries without a line in the log `
      + `${unloggedRecoveries}; `
      + `${verdict.recoveries} recoveries, median ${milliseconds(verdict.medianRecoveryMilliseconds)}, longest `
      + `${milliseconds(verdict.longestRecoveryMilliseconds)}, longest pause ${milliseconds(verdict.longestPauseMilliseconds)}`
      + (passed ? "" : `; FAILED ${violations.slice(0, 3).join(" ")}`),
  };
}

const hasNatsServer = (): boolean => spawnSync("nats-server", ["--version"], { stdio: "ignore" }).status === 0;

/** Of all five kinds. */
export const chaosClaims: readonly Claim[] = [
  {
    id: "chaos-200-faults", unit: "hangs, divergences, lost or duplicated batches", target: 0, better: "smaller",
    measure: (effort) => soak(effort, 2026, []),
  },
  {
    id: "chaos-nats", unit: "hangs, divergences, lost or duplicated batches", target: 0, better: "smaller",
    measure: async (effort) => (
      hasNatsServer() ? await soak(effort, 2027, ["--local-nats", "3", "--kill-nats"]) : { skipped: "nats-server is not installed" }
    ),
  },
];
