import { DeviceError, TensorError } from "@frugal/tensor-core";
import { LanguageModelError } from "../errors.ts";

/** Exit status after Ctrl-C, as shells have it. */
const INTERRUPTED = 130;

/** A command that ended early because of Ctrl-C, after it has put its things in order. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

const controller = new AbortController();

/** Aborts on the first Ctrl-C or SIGTERM inside `interruptible`. */
export const interruption: AbortSignal = controller.signal;

function interrupt(): void {
  if (controller.signal.aborted) process.exit(INTERRUPTED);
  controller.abort(new Interrupted("interrupted"));
}

/**
 * Runs work that lets the event loop turn and watches `interruption`: inside, the first Ctrl-C or SIGTERM is a request, the second ends the
 * process at once. Outside, where work may block for long, signals end the process as they do by default: a handler would not be called.
 */
export async function interruptible<Result>(run: () => Promise<Result>): Promise<Result> {
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.on(signal, interrupt);
  try {
    return await run();
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
  }
}

/** Resolves when the work is asked to end. Inside `interruptible`. */
export function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    if (interruption.aborted) resolve();
    else interruption.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** A class of errors that explain themselves. */
type ErrorClass = abstract new (...values: never[]) => Error;

function isExpected(error: unknown, expected: readonly ErrorClass[]): error is Error {
  if ([LanguageModelError, TensorError, DeviceError, ...expected].some((kind) => error instanceof kind)) return true;
  // What the system says about files and addresses.
  return error instanceof Error && "syscall" in error;
}

let isEndedBySignal = false;

/** For commands that run until they are told to stop: their exit status is 0 then. */
export function endBySignal(): void {
  isEndedBySignal = true;
}

/**
 * Runs a command and sets the exit status: 0, 1 after an error (one line for those that have an explanation, a stack for the rest), 130
 * after Ctrl-C.
 * @param name of the command, before its errors
 * @param expected errors that explain themselves, beside those of tensor-core and language-model
 */
export async function runToEnd(name: string, run: () => Promise<unknown>, expected: readonly ErrorClass[] = []): Promise<void> {
  // A closed pipe (`| head`) is the reader's wish to stop.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  try {
    await run();
    if (interruption.aborted && !isEndedBySignal) process.exitCode = INTERRUPTED;
  } catch (error) {
    if (error instanceof Interrupted || (interruption.aborted && error instanceof Error && error.name === "AbortError")) {
      process.exitCode = INTERRUPTED;
      return;
    }
    process.exitCode = 1;
    const text = isExpected(error, expected)
      ? error.message.replaceAll(/\s*\n\s*/g, " ")
      : error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(`${name}: ${text}\n`);
  }
}
