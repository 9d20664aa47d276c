import type { RunEvent } from "./run-event.ts";
import type { ControlPlane, Leadership } from "./membership.ts";

/** A leader that can be asked to end the run in order, with a checkpoint. */
export type StoppableLeadership = Leadership & { requestStop?(): void };

/** Makes what leads, from a control plane and from where it tells of events. It reads the state and goes on from there. */
export type CreateLeadership =
  (plane: ControlPlane, publishEvent: (event: RunEvent) => void) => StoppableLeadership | Promise<StoppableLeadership>;

/** How often time is let pass for a leader, in milliseconds. */
export const leadershipTickInterval = 50;

/** Keeps a leader going: makes it, lets time pass for it, makes another when the record was changed under it. */
export class LeadershipHost {
  readonly #create: () => Promise<StoppableLeadership>;
  readonly #tickInterval: number;
  #leadership: StoppableLeadership | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(
    create: CreateLeadership, plane: ControlPlane, publishEvent: (event: RunEvent) => void, tickInterval: number = leadershipTickInterval,
  ) {
    this.#create = async () => await create(plane, publishEvent);
    this.#tickInterval = tickInterval;
  }

  /** Who leads; undefined while nobody does. */
  get leadership(): StoppableLeadership | undefined {
    return this.#leadership;
  }

  /** Makes a leader, in the place of the one there is. */
  async start(): Promise<void> {
    this.#end();
    const leadership = await this.#create();
    if (this.#closed) {
      leadership.close();
      return;
    }
    this.#leadership = leadership;
    this.#timer = setInterval(() => this.#leadership?.tick(), this.#tickInterval);
  }

  /** Asks the leader to end the run in order. False: there is none, or it cannot. */
  requestStop(): boolean {
    if (this.#leadership?.requestStop === undefined) return false;
    this.#leadership.requestStop();
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#end();
  }

  #end(): void {
    clearInterval(this.#timer);
    this.#leadership?.close();
    this.#leadership = undefined;
  }
}
