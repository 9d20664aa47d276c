import type { TransportFault } from "./transport.ts";

/** What of the injected faults falls on outgoing frames: they are held back, or a bit of them is flipped. */
export class FaultInjector {
  #delay = 0;
  #slowUntil = 0;
  #corruptFrames = 0;

  /** Takes note of a fault that falls on frames. */
  inject(fault: Exclude<TransportFault, { kind: "cut" }>): void {
    if (fault.kind === "corrupt") {
      this.#corruptFrames += fault.frames;
    } else {
      this.#delay = fault.delayMilliseconds;
      this.#slowUntil = performance.now() + fault.durationMilliseconds;
    }
  }

  /** When a frame that is handed over now may be written, on the clock of `performance.now()`. */
  notBefore(): number {
    const now = performance.now();
    return now < this.#slowUntil ? now + this.#delay : 0;
  }

  /** The frame as it is to be written: itself, or a copy with one bit flipped in the middle. */
  mangle(header: Uint8Array, payload: Uint8Array): [header: Uint8Array, payload: Uint8Array] {
    if (this.#corruptFrames === 0) return [header, payload];
    this.#corruptFrames--;
    if (payload.byteLength === 0) return [withFlippedBit(header), payload];
    return [header, withFlippedBit(payload)];
  }
}

function withFlippedBit(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  const middle = copy.byteLength >> 1;
  copy[middle] = copy[middle]! ^ 1;
  return copy;
}
