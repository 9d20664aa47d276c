import { integer, note, numberBetween, printJson } from "@frugal/language-model/command-line";
import { Command, InvalidArgumentError } from "commander";
import { faultKinds, type FaultKind } from "../chaos/fault-schedule-format.ts";
import { createFaultSchedule } from "../chaos/fault-schedule.ts";
import { Chaos } from "../chaos/run-chaos.ts";
import { judgeSoak, type SoakVerdict } from "../chaos/soak-verdict.ts";
import { MecefoError } from "../errors.ts";
import { parseGrid, slotName, slotsOf } from "../grid/grid.ts";
import { followRun } from "./follow-run.ts";
import { addRunOptions, trainingOptions, type RunArguments } from "./run-arguments.ts";

interface ChaosArguments extends RunArguments {
  readonly faults: number;
  readonly mtbf: number;
  readonly mttr: number;
  readonly faultSeed: number;
  readonly kinds: Partial<Record<FaultKind, number>>;
  readonly slots?: readonly string[];
  readonly strikeStages: boolean;
  readonly hangLimit: number;
}

function readKinds(text: string): Partial<Record<FaultKind, number>> {
  const kinds: Partial<Record<FaultKind, number>> = {};
  for (const part of text.split(",")) {
    const [, kind, weight = "1"] = /^([a-z]+)(?:=([\d.]+))?$/.exec(part.trim()) ?? [];
    if (kind === undefined || !faultKinds.includes(kind as FaultKind)) throw new InvalidArgumentError(`Give kinds of ${faultKinds.join(", ")} with weights, e.g. kill=2,cut=1.`);
    kinds[kind as FaultKind] = Number(weight);
  }
  return kinds;
}

/** The verdict in lines. */
function linesOf(verdict: SoakVerdict): string[] {
  const kinds = Object.entries(verdict.faultsByKind).map(([kind, count]) => `${count} ${kind}`).join(", ");
  const milliseconds = (value: number | null): string => (value === null ? "none" : `${value.toFixed(0)} ms`);
  return [
    `${verdict.passed ? "passed" : "FAILED"}: ${verdict.faults} faults (${kinds}) in ${verdict.seconds.toFixed(0)} s, ${verdict.steps} steps, ${verdict.epochs} epochs`,
    `  hangs ${verdict.hangs}, divergences ${verdict.divergences}, lost batches ${verdict.lostBatches}, duplicated ${verdict.duplicatedBatches}, rollbacks ${verdict.rollbacks}`,
    `  ${verdict.recoveries} recoveries: median ${milliseconds(verdict.medianRecoveryMilliseconds)}, longest ${milliseconds(verdict.longestRecoveryMilliseconds)}; `
      + `longest pause between steps ${milliseconds(verdict.longestPauseMilliseconds)}`,
    ...verdict.violations.map((violation) => `  ${violation}`),
  ];
}

/** Steps of a soak: it ends when its faults do. */
const PLENTY_OF_STEPS = 1_000_000;

async function chaos(given: ChaosArguments): Promise<void> {
  const options = await trainingOptions({ ...given, grid: given.grid ?? "2x2", steps: given.steps ?? PLENTY_OF_STEPS });
  const schedule = createFaultSchedule({
    seed: given.faultSeed, faults: given.faults, kinds: given.kinds, meanTimeBetweenFaults: given.mtbf, meanTimeToRepair: given.mttr,
    slots: given.slots ?? slotsOf(parseGrid(given.grid ?? "2x2")).map(slotName), keepStages: !given.strikeStages,
  });
  const bringer = new Chaos({ schedule, hangLimit: given.hangLimit });
  let report: Awaited<ReturnType<Chaos["run"]>> | undefined;
  const result = await followRun({ ...options, allowFaults: true, onEvent: (event) => bringer.observe(event) }, {
    silent: given.json,
    meanwhile: async (run) => {
      report = await bringer.run(run);
    },
  });
  const verdict = judgeSoak(result, report!);
  if (given.json) printJson({ ...verdict, seed: given.faultSeed, schedule: schedule.settings });
  else for (const line of linesOf(verdict)) note(line);
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
    .option("--hang-limit <ms>", "without a step: a hang", numberBetween(1000, 1e9), 60_000)
    .action((given: ChaosArguments) => chaos(given));
}
