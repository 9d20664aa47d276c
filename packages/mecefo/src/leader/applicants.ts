import { formatGrid, parseSlot, slotName, slotsOf, type Grid, type Slot } from "../grid/grid.ts";
import type { Member } from "../membership/cluster-state.ts";
import type { Hello } from "../membership/worker-report.ts";

/** Who asks to join waits for the end of the step in flight, but no longer than this many milliseconds. */
const JOIN_PATIENCE = 2000;

/** Workers that ask for a place in the grid. Times are milliseconds of one monotonic clock, given by the caller. */
export class Applicants {
  readonly #grid: Grid;
  readonly #jobHash: string;
  readonly #waiting = new Map<string, { readonly hello: Hello; readonly at: number }>();

  /** @param jobHash of the run's job: workers with another are refused */
  constructor(grid: Grid, jobHash: string) {
    this.#grid = grid;
    this.#jobHash = jobHash;
  }

  /** Takes note of a worker. @returns why it is refused, if it is */
  add(hello: Hello, now: number): string | undefined {
    const { id, jobHash, wanted } = hello;
    if (this.#waiting.has(id)) return undefined;
    if (wanted !== undefined && !slotsOf(this.#grid).some((slot) => slotName(slot) === wanted)) {
      return `there is no slot ${wanted} in ${formatGrid(this.#grid)}`;
    }
    if (jobHash !== this.#jobHash) return `it was started with another job (${jobHash.slice(0, 12)})`;
    this.#waiting.set(id, { hello, at: now });
    return undefined;
  }

  /** It has a place, or is gone. */
  delete(id: string): void {
    this.#waiting.delete(id);
  }

  /** When a worker asked; undefined for one that does not. */
  askedAt(id: string): number | undefined {
    return this.#waiting.get(id)?.at;
  }

  /** Slots that are asked for by name. */
  get wanted(): string[] {
    return [...this.#waiting.values()].flatMap(({ hello }) => hello.wanted ?? []);
  }

  /** Whether somebody has waited long enough. */
  isImpatient(now: number): boolean {
    return [...this.#waiting.values()].some(({ at }) => now - at >= JOIN_PATIENCE);
  }

  /** Who gets a place now: in the slot it wants, else in the first that nobody wants. Who finds none waits. */
  placed(taken: readonly Slot[]): Member[] {
    const free = new Set(slotsOf(this.#grid).map(slotName));
    for (const slot of taken) free.delete(slotName(slot));
    const wishes = new Set(this.wanted);
    const anyFree = (): string | undefined => [...free].find((name) => !wishes.has(name)) ?? [...free][0];
    const members: Member[] = [];
    const hellos = [...this.#waiting.values()].map(({ hello }) => hello);
    const isChoosy = ({ wanted }: Hello): boolean => wanted !== undefined;
    for (const { id, address, pid, hostname, wanted } of [...hellos.filter(isChoosy), ...hellos.filter((hello) => !isChoosy(hello))]) {
      const name = wanted ?? anyFree();
      if (name === undefined || !free.delete(name)) continue;
      members.push({ id, address, pid, hostname, slot: parseSlot(name), holdings: [] });
    }
    return members;
  }
}
