import { rmSync } from "node:fs";
import { rmdir } from "node:fs/promises";
import { interruption, interruptible, note } from "@frugal/language-model/command-line";
import { Command } from "commander";
import { MecefoError, SettingsError } from "../errors.ts";
import { slotName } from "../grid/grid.ts";
import { runWorker } from "../runtime/run-worker.ts";
import { readToken } from "./run-arguments.ts";

interface WorkerArguments {
  readonly join: string;
  readonly slot?: string;
  readonly index?: string;
  readonly stages?: string;
  readonly listen: string;
  readonly advertise?: string;
  readonly tokenFile?: string;
  readonly allowFaults: boolean;
}

/** The slot of a worker that is known by a number, as those of a Kubernetes Indexed Job are. */
function slotOf({ slot, index, stages }: WorkerArguments): string | undefined {
  if (index === undefined) return slot;
  const [number, width] = [Number(index), Number(stages)];
  if (!Number.isInteger(number) || number < 0 || !Number.isInteger(width) || width < 1) {
    throw new SettingsError(`--index ${index} with --stages ${stages}: give two whole numbers`);
  }
  return slotName({ pipeline: Math.floor(number / width), stage: number % width });
}

/** A worker whose launcher was killed without a chance to end it ends by itself. */
function endWithLauncher(launcher: number, socketFolder: string | undefined): void {
  const timer = setInterval(() => {
    if (process.ppid === launcher) return;
    note("whoever launched this worker has ended, and the leader with it");
    // Nobody else is left to do it.
    if (socketFolder !== undefined) rmSync(socketFolder, { recursive: true, force: true });
    process.exit(1);
  }, LAUNCHER_CHECK);
  timer.unref();
}

/** Milliseconds between two looks at whether the launcher is still there. */
const LAUNCHER_CHECK = 500;

async function work(given: WorkerArguments): Promise<void> {
  const token = await readToken(given.tokenFile);
  if (token === undefined) throw new SettingsError("give the run's secret: in the variable MECEFO_TOKEN, or with --token-file");
  const { MECEFO_LAUNCHER: launcher, MECEFO_SOCKETS: socketFolder } = process.env;
  // Lines that nobody reads any more, as with NATS when the launcher has ended, are no reason to end.
  process.stderr.on("error", () => {});
  // Without the leader in its launcher there is nothing to do. With NATS workers go on.
  if (launcher !== undefined && !given.join.startsWith("nats:")) endWithLauncher(Number(launcher), socketFolder);
  // Ctrl-C in a terminal reaches every process of the run: whoever launched the workers decides when they end.
  const outcome = await interruptible(() => runWorker({
    join: given.join, token, slot: slotOf(given), listen: given.listen, socketFolder, advertise: given.advertise, allowFaults: given.allowFaults,
    log: note,
    ...(launcher === undefined && { signal: interruption }),
  }));
  // With NATS a run goes on without its launcher, who would have removed the folder of sockets.
  if (socketFolder !== undefined && process.ppid !== Number(launcher)) await rmdir(socketFolder).catch(() => undefined); // not empty: others need it
  if (outcome.kind === "failed") throw new MecefoError(`the run failed: ${outcome.reason}`);
}

/** `mecefo worker`. */
export function workerCommand(): Command {
  return new Command("worker")
    .description("Take part in a run: one process for each slot of the grid, wherever it runs.")
    .requiredOption("--join <url>", "unix:/path, tcp://host:port, or nats://host:4222[,…]/<run>")
    .option("--slot <slot>", 'to ask for, e.g. "p0s1" (default: any that is free)')
    .option("--index <number>", "instead of --slot: the slot's number, pipeline by pipeline (with --stages)")
    .option("--stages <count>", "of the grid, for --index")
    .option("--listen <address>", 'for peers: "unix:" (one machine) or tcp://host:port', "unix:")
    .option("--advertise <host>", "that peers reach it by, where it listens on 0.0.0.0")
    .option("--token-file <file>", "the run's secret (or the variable MECEFO_TOKEN)")
    .option("--allow-faults", "let the leader bring faults about, for chaos tests", false)
    .action((given: WorkerArguments) => work(given));
}
