import { EventQueue } from "./event-queue.ts";

/** How messages share a link: one after another, or all at once at equal rates (as many TCP streams come to). */
export type LinkSharing = "fifo" | "fair";

/**
 * A link of a fixed rate that messages wait for. Both disciplines are one: work is measured in bits served to each message present, and a
 * message ends when its share has come (fair), or when all bits before it and its own have (first in, first out).
 */
export class SharedLink<Message> {
  readonly #bitsPerSecond: number;
  readonly #sharing: LinkSharing;
  readonly #ends = new EventQueue<Message>();
  /** Ends in the link's own clock: bits served to each (fair) or to all (fifo) since the beginning. */
  readonly #order: EventQueue<number> = new EventQueue();
  #served = 0;
  #lastEnd = 0;
  #now = 0;
  #busySeconds = 0;

  constructor(bitsPerSecond: number, sharing: LinkSharing) {
    this.#bitsPerSecond = bitsPerSecond;
    this.#sharing = sharing;
  }

  /** Seconds in which anything was on the link. */
  get busySeconds(): number {
    return this.#busySeconds;
  }

  get waiting(): number {
    return this.#ends.size;
  }

  get #rate(): number {
    return this.#sharing === "fair" ? this.#bitsPerSecond / this.#ends.size : this.#bitsPerSecond;
  }

  /** When the next message has arrived whole, if none is added before; Infinity without one. */
  get nextArrival(): number {
    return this.#ends.size === 0 ? Infinity : this.#now + Math.max(0, this.#order.nextTime - this.#served) / this.#rate;
  }

  /** Lets time pass. No message may end on the way: callers stop at `nextArrival`. */
  advance(time: number): void {
    if (this.#ends.size > 0) {
      this.#served += (time - this.#now) * this.#rate;
      this.#busySeconds += time - this.#now;
    }
    this.#now = time;
  }

  send(time: number, bits: number, message: Message): void {
    this.advance(time);
    const end = this.#sharing === "fair" ? this.#served + bits : Math.max(this.#served, this.#lastEnd) + bits;
    this.#lastEnd = end;
    this.#order.add(end, end);
    this.#ends.add(end, message);
  }

  /** Takes out the message that arrives at `time`, which is `nextArrival`. */
  receive(time: number): Message | undefined {
    this.advance(time);
    // Exactly its end, whatever rounding made of the sum.
    this.#served = this.#order.take() ?? this.#served;
    return this.#ends.take();
  }
}
