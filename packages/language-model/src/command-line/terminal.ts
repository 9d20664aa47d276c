import { SingleBar } from "cli-progress";

/** One line of JSON on stdout. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** A line for people, on stderr, so that stdout holds results alone. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Shows how far something has come: a bar on a terminal, otherwise a line now and then; on stderr. */
export interface Progress {
  update(value: number, detail?: string): void;
  /** A line that stays, above the bar. */
  line(text: string): void;
  stop(): void;
}

const SECONDS_BETWEEN_LINES = 5;

/** @param options `silent` shows nothing, for `--json`; `initial` is where a resumed task stands */
export function startProgress(
  what: string, total: number, { silent = false, initial = 0 }: { readonly silent?: boolean; readonly initial?: number } = {},
): Progress {
  if (silent) return { update() {}, line() {}, stop() {} };
  return process.stderr.isTTY ? barProgress(what, total, initial) : lineProgress(what, total);
}

function barProgress(what: string, total: number, initial: number): Progress {
  const bar = new SingleBar({
    format: `${what} {bar} {percentage} % {detail}`, stream: process.stderr, barsize: 24, hideCursor: true, clearOnComplete: true,
    gracefulExit: false,
  });
  bar.start(total, initial, { detail: "" });
  return {
    update: (value, detail = "") => bar.update(value, { detail }),
    line(text) {
      process.stderr.write(`\r\u001B[K${text}\n`);
      bar.render();
    },
    stop: () => bar.stop(),
  };
}

function lineProgress(what: string, total: number): Progress {
  let last = performance.now();
  return {
    update(value, detail = "") {
      const now = performance.now();
      if (value < total && now - last < SECONDS_BETWEEN_LINES * 1000) return;
      last = now;
      note(`${what}: ${Math.floor((100 * value) / total)} % ${detail}`.trimEnd());
    },
    line: note,
    stop() {},
  };
}
