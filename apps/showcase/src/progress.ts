import { SingleBar } from "cli-progress";

/** Progress of one piece of work: a bar on a terminal, plain lines elsewhere. */
export interface Progress {
  /** Starts a bar over `total` units; `label` names the work. */
  start(label: string, total: number): void;
  /** Units done so far, with a short note (a rate, a loss). */
  update(done: number, note?: string): void;
  /** Ends the bar. */
  stop(): void;
  /** A line of its own. */
  line(text: string): void;
  /** Text as it comes, without a line break. */
  write(text: string): void;
}

/** @param stream where to draw; a bar only if it is a terminal */
export function createProgress(stream: NodeJS.WriteStream = process.stdout): Progress {
  return stream.isTTY ? terminalProgress(stream) : plainProgress(stream);
}

function terminalProgress(stream: NodeJS.WriteStream): Progress {
  let bar: SingleBar | undefined;
  return {
    start(label, total) {
      bar = new SingleBar({
        format: `  ${label} {bar} {percentage}% {note}`,
        hideCursor: true,
        stream,
        barsize: 30,
        clearOnComplete: false,
      });
      bar.start(total, 0, { note: "" });
    },
    update: (done, note = "") => bar?.update(done, { note }),
    stop() {
      bar?.stop();
      bar = undefined;
    },
    line: (text) => void stream.write(`${text}\n`),
    write: (text) => void stream.write(text),
  };
}

/** A line at every tenth, so that a log stays readable. */
function plainProgress(stream: NodeJS.WriteStream): Progress {
  let name = "";
  let size = 1;
  let tenth = 0;
  return {
    start(label, total) {
      [name, size, tenth] = [label, total, 0];
    },
    update(done, note = "") {
      const reached = Math.floor((done / size) * 10);
      if (reached <= tenth) return;
      tenth = reached;
      stream.write(`  ${name} ${reached * 10}% ${note}\n`);
    },
    stop: () => {},
    line: (text) => void stream.write(`${text}\n`),
    write: (text) => void stream.write(text),
  };
}
