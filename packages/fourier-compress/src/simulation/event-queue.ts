/** Values in order of their time, the earlier added first among equals: a binary heap. */
export class EventQueue<Value> {
  readonly #heap: { readonly time: number; readonly order: number; readonly value: Value }[] = [];
  #added = 0;

  get size(): number {
    return this.#heap.length;
  }

  /** Time of the next value; Infinity without one. */
  get nextTime(): number {
    return this.#heap[0]?.time ?? Infinity;
  }

  add(time: number, value: Value): void {
    const heap = this.#heap;
    const entry = { time, order: this.#added++, value };
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(entry, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  /** Takes the next value out; undefined when there is none. */
  take(): Value | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined) return undefined;
    if (heap.length > 0) {
      let at = 0;
      for (;;) {
        let child = 2 * at + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && this.#isBefore(heap[child + 1]!, heap[child]!)) child++;
        if (!this.#isBefore(heap[child]!, last)) break;
        heap[at] = heap[child]!;
        at = child;
      }
      heap[at] = last;
    }
    return first.value;
  }

  #isBefore(a: { readonly time: number; readonly order: number }, b: { readonly time: number; readonly order: number }): boolean {
    return a.time < b.time || (a.time === b.time && a.order < b.order);
  }
}
