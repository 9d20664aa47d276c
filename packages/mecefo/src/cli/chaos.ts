import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { integer, interruptible, interruption, note, numberBetween, printJson } from "@frugal/language-model/command-line";
import { Command, InvalidArgumentError } from "commander";
import { faultKinds, type FaultKind } from "../chaos/fault-schedule-format.ts";
import { createFaultSchedule } from "../chaos/fault-schedule.ts";
import { readFaults, type FaultSource } from "../chaos/replayed-faults.ts";
import { attachedTarget } from "../chaos/attached-target.ts";
import { Chaos } from "../chaos/run-chaos.ts";
import { judgeSoak, type SoakVerdict } from "../chaos/soak-verdict.ts";
import { MecefoError, SettingsError } from "../errors.ts";
import { parseGrid, slotName, slotsOf, type Grid } from "../grid/grid.ts";
import { fetchJob } from "../membership/fetch-job.ts";
import { observeCluster } from "../membership/observe-cluster.ts";
import { startLocalNats } from "../membership/nats/local-cluster.ts";
import { parseJoinUrl } from "../membership/join-url.ts";
import { followRun } from "./follow-run.ts";
import { addRunOptions, readToken, trainingOptions, type RunArguments } from "./run-arguments.ts";

interface ChaosArguments extends RunArguments {
  readonly faults: number;
  readonly mtbf: number;
  readonly mttr: number;
  readonly faultSeed: number;
  readonly kinds: Partial<Record<FaultKind, number>>;
  readonly slots?: readonly string[];
  readonly strikeStages: boolean;
  readonly hangLimit: number;
  readonly replay?: string;
  readonly join?: string;
  readonly localNats?: number;
  readonly killNats: boolean;
}

function readKinds(text: string): Partial<Record<FaultKind, number>> {
  const kinds: Partial<Record<FaultKind, number>> = {};
  for (const part of text.split(",")) {
    const [, kind, weight = "1"] = /^([a-z]+)(?:=([\d.]+))?$/.exec(part.trim()) ?? [];
    if (kind === undefined || !faultKinds.includes(kind as FaultKind)) {
      throw new InvalidArgumentError(`Give kinds of ${faultKinds.join(", ")} with weights, e.g. kill=2,cut=1.`);
    }
    kinds[kind as FaultKind] = Number(weight);
  }
  return kinds;
}

/** The verdict in lines. */
function linesOf(verdict: SoakVerdict): string[] {
  const kinds = Object.entries(verdict.faultsByKind).map(([kind, count]) => `${count} ${kind}`).join(", ");
  const milliseconds = (value: number | null): string => (value === null ? "none" : `${value.toFixed(0)} ms`);
  const { faults, seconds, steps, epochs, hangs, divergences, lostBatches, duplicatedBatches, rollbacks, recoveries } = verdict;
  const [median, longest] = [milliseconds(verdict.medianRecoveryMilliseconds), milliseconds(verdict.longestRecoveryMilliseconds)];
  return [
    `${verdict.passed ? "passed" : "FAILED"}: ${faults} faults (${kinds}) in ${seconds.toFixed(0)} s, ${steps} steps, ${epochs} epochs`,
    `  hangs ${hangs}, divergences ${divergences}, lost batches ${lostBatches}, duplicated ${duplicatedBatches}, rollbacks ${rollbacks}`,
    `  the log is ${verdict.isWhole ? "whole" : "NOT whole: the run's end, a step or a hash is missing in it"}; `
      + `recoveries that nobody told of: ${verdict.unloggedRecoveries}`,
    `  ${recoveries} recoveries: median ${median}, longest ${longest}; longest pause between steps ${milliseconds(verdict.longestPauseMilliseconds)}`,
    ...verdict.violations.map((violation) => `  ${violation}`),
  ];
}

/** Steps of a soak: it ends when its faults do. */
const PLENTY_OF_STEPS = 1_000_000;

/** A server that was killed is started again after so many milliseconds. */
const NATS_REPAIR = 10_000;

async function scheduleOf(given: ChaosArguments, grid: Grid): Promise<FaultSource> {
  if (given.replay !== undefined) return await readFaults(given.replay);
  return createFaultSchedule({
    seed: given.faultSeed, faults: given.faults, kinds: given.kinds, meanTimeBetweenFaults: given.mtbf, meanTimeToRepair: given.mttr,
    slots: given.slots ?? slotsOf(grid).map(slotName), keepStages: !given.strikeStages,
  });
}

/** Strikes a run that others started. */
async function strikeElsewhere(given: ChaosArguments, url: string): Promise<void> {
  const token = await readToken(given.tokenFile);
  if (token === undefined) throw new SettingsError("give the run's secret: in the variable MECEFO_TOKEN, or with --token-file");
  const target = parseJoinUrl(url);
  const { grid } = await fetchJob(target, token);
  const observer = await observeCluster(target, token);
  try {
    const schedule = await scheduleOf(given, grid);
    const bringer = new Chaos({
      schedule, hangLimit: given.hangLimit,
      onFault: (fault) => {
        note(`fault: ${JSON.stringify(fault)}`);
      },
    });
    observer.onEvent((event) => {
      bringer.observe(event);
    });
    bringer.begin(observer.state?.members.map(({ slot }) => slotName(slot)) ?? []);
    const report = await interruptible(() => bringer.run(attachedTarget(observer), interruption));
    if (given.json) printJson(report);
    else {
      const { faults, hangs, longestPause } = report;
      note(`${faults.length} faults, ${hangs} hangs, longest pause ${longestPause.toFixed(0)} ms; the run's own log says what came of them`);
    }
    if (report.hangs > 0) throw new MecefoError("no step was taken for too long");
  } finally {
    await observer.close();
  }
}

async function chaos(given: ChaosArguments): Promise<void> {
  if (given.join !== undefined) return await strikeElsewhere(given, given.join);
  if (given.killNats && given.localNats !== 3) throw new SettingsError("--kill-nats needs --local-nats 3: of fewer servers none can be spared");
  if (given.localNats === undefined) return await soak(given, {});
  const name = `chaos-${process.pid}`;
  const cluster = await startLocalNats({ size: given.localNats });
  try {
    const strikeServer = async (): Promise<void> => {
      // The one that matters most.
      const server = (await cluster.leaderOf(`KV_mecefo_${name}`).catch(() => undefined)) ?? 0;
      note(`fault: kill nats-server ${server} of ${cluster.servers.length}`);
      await cluster.kill(server);
      await sleep(NATS_REPAIR);
      await cluster.restart(server);
      note(`nats-server ${server} is back`);
    };
    const control = `nats://${cluster.servers.map((server) => server.replace("nats://", "")).join(",")}`;
    await soak(given, { name, control, ...(given.killNats && { strikeServer }) });
  } finally {
    await cluster.stop();
  }
}

/** What differs where the control plane is NATS. */
interface SoakControl {
  readonly name?: string;
  readonly control?: string;
  /** Called once, when half of the faults are done. */
  readonly strikeServer?: () => Promise<void>;
}

async function soak(given: ChaosArguments, { strikeServer, ...where }: SoakControl): Promise<void> {
  const options = { ...(await trainingOptions({ ...given, grid: given.grid ?? "2x2", steps: given.steps ?? PLENTY_OF_STEPS })), ...where };
  const schedule = await scheduleOf(given, parseGrid(given.grid ?? "2x2"));
  let serverStruck: Promise<void> | undefined;
  const bringer = new Chaos({
    schedule, hangLimit: given.hangLimit,
    onFault: ({ index }) => {
      if (index === Math.floor(given.faults / 2)) serverStruck = strikeServer?.();
    },
  });
  let report: Awaited<ReturnType<Chaos["run"]>> | undefined;
  const result = await followRun({ ...options, allowFaults: true, onEvent: (event) => bringer.observe(event) }, {
    silent: given.json,
    meanwhile: async (run) => {
      report = await bringer.run(run);
    },
  });
  await serverStruck;
  await writeFile(join(given.output, "faults.json"), `${JSON.stringify(report!.faults)}\n`);
  const verdict = judgeSoak(result, report!);
  const serversKilled = serverStruck === undefined ? 0 : 1;
  if (given.json) printJson({ ...verdict, serversKilled, seed: given.faultSeed });
  else for (const line of linesOf(verdict)) note(line);
  if (serversKilled > 0 && !given.json) note("  one nats-server of three was killed as well");
  if (!verdict.passed) throw new MecefoError(`the soak failed; the log is in ${given.output}/events.jsonl`);
}

/** `mecefo chaos`. */
export function chaosCommand(): Command {
  return addRunOptions(new Command("chaos"))
    .description("Train while workers are killed, stopped, cut off, slowed down and their frames corrupted, and judge what comes of it.")
    .option("--faults <count>", "to bring about", integer(1, 1_000_000), 200)
    .option("--mtbf <ms>", "mean time between two faults", numberBetween(1, 1e9), 600)
    .option("--mttr <ms>", "mean time until a killed worker is started again", numberBetween(0, 1e9), 300)
    .option("--fault-seed <number>", "same seed, same faults", integer(0), 0)
    .option("--kinds <list>", "with weights", readKinds, readKinds("kill=3,stop=1,cut=2,slow=2,corrupt=2"))
    .option("--slots <slots...>", "that may be struck (default: all)")
    .option("--strike-stages", "also strike the last worker of a stage: training then goes back to a checkpoint", false)
    .option("--replay <file>", "bring the faults of an earlier soak about again (faults.json in its output folder)")
    .option("--join <url>", "strike a run that was started elsewhere (with --allow-faults), instead of one of its own")
    .option("--local-nats <servers>", "start so many nats-servers here (1 or 3), and use them as the control plane", integer(1, 3))
    .option("--kill-nats", "kill one of three nats-servers as well, halfway", false)
    .option("--hang-limit <ms>", "without a step: a hang", numberBetween(1000, 1e9), 60_000)
    .action((given: ChaosArguments) => chaos(given));
}
