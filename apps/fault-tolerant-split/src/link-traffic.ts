import { mkdirSync, writeFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** Messages of one direction. */
export interface DirectionTraffic {
  readonly messages: number;
  /** As encoded, without the transport's frames. */
  readonly bytes: number;
  /** The same values in float32. */
  readonly float32Bytes: number;
}

/** Hidden states forward, their gradients back. */
export interface LinkTraffic {
  readonly activation: DirectionTraffic;
  readonly gradient: DirectionTraffic;
}

const nothing: DirectionTraffic = { messages: 0, bytes: 0, float32Bytes: 0 };

function add(a: DirectionTraffic, b: DirectionTraffic): DirectionTraffic {
  return { messages: a.messages + b.messages, bytes: a.bytes + b.bytes, float32Bytes: a.float32Bytes + b.float32Bytes };
}

/** A process that is killed takes what it counted since with it. */
const WRITE_EVERY = 16;

/** Counts one process's messages into a file of its own. */
export class TrafficCounter {
  readonly #path: string;
  #traffic: LinkTraffic = { activation: nothing, gradient: nothing };
  #uncounted = 0;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#path = join(folder, `${process.pid}-${Date.now()}.json`);
    process.on("exit", () => {
      if (this.#uncounted > 0) this.#write();
    });
  }

  count(kind: keyof LinkTraffic, bytes: number, float32Bytes: number): void {
    this.#traffic = { ...this.#traffic, [kind]: add(this.#traffic[kind], { messages: 1, bytes, float32Bytes }) };
    this.#uncounted++;
    if (this.#uncounted >= WRITE_EVERY) this.#write();
  }

  #write(): void {
    this.#uncounted = 0;
    writeFileSync(this.#path, JSON.stringify(this.#traffic));
  }
}

/** All processes' messages. A file that a kill broke in the middle is left out. */
export async function readTraffic(folder: string): Promise<LinkTraffic> {
  let total: LinkTraffic = { activation: nothing, gradient: nothing };
  for (const file of await readdir(folder)) {
    const text = await readFile(join(folder, file), "utf8");
    try {
      const { activation, gradient } = JSON.parse(text) as LinkTraffic;
      total = { activation: add(total.activation, activation), gradient: add(total.gradient, gradient) };
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  return total;
}
